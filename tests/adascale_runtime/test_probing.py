"""What a session measures when it opens, on a device whose speed is drawn: a simulation with a clock of its own."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime import probing
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.measuring.anchors import Anchors
from adascale_runtime.policies import policy
from adascale_runtime.policies.limits import Option, Settings
from adascale_runtime.policies.state import begin, observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.pace import Pace
from adascale_runtime.seams.records import Context
from profiling import wander
from profiling.wander import Course

#: Latencies and anchors at full speed, in ms.
TRUE = {"full": 1.0, "half": 0.5, "tiny": 0.1}
FULL = {"float": 0.04, "integer": 0.03, "memory": 0.05}
ANCHORS = {"full": "float", "half": "integer", "tiny": "float"}
ENGINE = "cpu", 1
SETTINGS = Settings()


class Device:
    """A device on a course, with a clock that runs while it works."""

    def __init__(self, along: Course, second: float = 0.0, seed: int = 0) -> None:
        self.along, self.now, self.rng = along, second, random.Random(seed)

    def take(self, ms: float) -> float:
        """What work takes now that takes ``ms`` at full speed."""
        taken = ms / self.along.at(self.now) * self.rng.uniform(0.98, 1.02)
        self.now += taken / 1e3
        return taken

    def runners(self, failing: str = "") -> dict[str, Any]:
        return {key: Runner(self, ms, key == failing) for key, ms in TRUE.items()}

    def probed(self, anchored: bool = True, failing: str = "") -> probing.Probe:
        return probing.probe(self.runners(failing), Looks(self) if anchored else None, clock=lambda: self.now)


class Runner:
    def __init__(self, device: Device, ms: float, fails: bool) -> None:
        self.device, self.ms, self.fails, self.count = device, ms, fails, 0

    def zeros(self) -> int:
        return 0

    def __call__(self, x: int) -> None:
        self.count += 1
        if self.fails and self.count > 3:
            raise AdaScaleError("LiteRT failed to run the branch.")
        self.device.take(self.ms)


class Looks(Anchors):
    """Anchors on the simulated device, which take thirteen runs of each at a look."""

    def __init__(self, device: Device) -> None:
        super().__init__({})
        self.device, self.paces = device, 0

    def pace(self, run: int) -> Pace:
        self.paces += 1
        told = {kind: self.device.take(ms * 13) / 13 for kind, ms in FULL.items()}
        return Pace(run, told["float"], told["integer"], told["memory"], self.device.now)


def away(found: dict[str, float], factor: float = 1.0) -> float:
    """How far the worst latency is from the true one at ``1/factor`` of full speed, as a factor of 1 or more."""
    return max(math.exp(abs(math.log(found[key] / (ms * factor)))) for key, ms in TRUE.items())


seconds = st.floats(0, 60)
seeds = st.integers(0, 1000)


@given(seeds, seconds)
def test_the_table_is_that_of_the_usual_speed_whenever_it_is_measured(seed: int, second: float) -> None:
    probed = Device(wander.course(61, seed), second, seed).probed()
    assert away(probing.latencies(probed, ANCHORS, FULL)) < 1.1
    slower = {kind: ms / 0.8 for kind, ms in FULL.items()}  # another usual speed, another table
    assert away(probing.latencies(probed, ANCHORS, slower), 1 / 0.8) < 1.1


@given(st.floats(0.6, 1.0))
def test_without_anchors_it_is_that_of_the_moment(speed: float) -> None:
    probed = Device(wander.steady(speed)).probed(anchored=False)
    assert probed.paces == {} == probed.took()
    assert away(probing.latencies(probed, dict.fromkeys(TRUE), {}), 1 / speed) < 1.02
    assert away(probing.latencies(probed, ANCHORS, FULL), 1 / speed) < 1.02
    assert probing.slowdowns(probed, [(ENGINE, "float")], FULL) == {}


@given(st.floats(0.6, 1.0))
def test_where_nothing_is_known_this_moment_is_as_any_other(speed: float) -> None:
    probed = Device(wander.steady(speed)).probed()
    usual = probing.usual_of({}, probed.took())
    assert usual == probed.took()
    assert away(probing.latencies(probed, ANCHORS, usual), 1 / speed) < 1.05
    assert probing.slowdowns(probed, [(ENGINE, "float")], usual)[ENGINE] == pytest.approx(1.0, abs=0.05)


def test_the_usual_is_the_median_of_openings() -> None:
    openings = {"float": (0.04, 0.05, 0.04, 0.041), "memory": (1.0,)}
    assert probing.usual_of(openings, {"float": 0.08, "integer": 0.3}) == {"float": 0.041, "integer": 0.3}


def test_a_step_in_the_middle_of_opening_is_seen() -> None:
    course = Course((0.0, 0.05), (1.0, 0.6))
    probed = Device(course).probed()
    assert away(probing.latencies(probed, ANCHORS, FULL)) < 1.2
    told = probing.slowdowns(probed, [(ENGINE, "float"), (ENGINE, "integer"), (("gpu", 1), None)], FULL)
    assert set(told) == {ENGINE} and told[ENGINE] == pytest.approx(1 / 0.6, rel=0.2)


def test_what_no_anchor_tells_of_is_as_it_was_seen() -> None:
    probed = Device(wander.steady(0.6)).probed()
    found = probing.latencies(probed, {**ANCHORS, "half": None}, FULL)
    assert found["half"] == pytest.approx(0.5 / 0.6, rel=0.05) and found["full"] == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("anchored", [True, False])
def test_a_branch_that_fails_has_no_entry(anchored: bool) -> None:
    probed = Device(wander.steady(1.0)).probed(anchored, failing="full")
    assert set(probed.latency_ms) == {"half", "tiny"} and set(probed.paces) == ({"half", "tiny"} if anchored else set())


def test_looks_are_a_small_share_of_opening() -> None:
    device = Device(wander.steady(1.0))
    looks = Looks(device)
    probing.probe(device.runners(), looks, clock=lambda: device.now)
    spent_s = looks.paces * 13 * sum(FULL.values()) / 1e3
    assert 5 <= looks.paces <= 10 and spent_s < 0.15 * device.now


# --- what a session makes of it

OPTIONS = {"full": 0.9, "half": 0.8, "tiny": 0.6}


def opened(device: Device, anchored: bool) -> tuple[policy.Table, policy.State]:
    """The table and the state with which a session begins on a device that usually runs at full speed."""
    probed = device.probed(anchored)
    found = probing.latencies(probed, ANCHORS, FULL)
    told = probing.slowdowns(probed, [(ENGINE, ANCHORS[key]) for key in found], FULL)
    table = tuple(Option(key, OPTIONS[key], ms) for key, ms in found.items())
    return table, begin({}, {engine: (slowdown, 0.0) for engine, slowdown in told.items()})


def served(device: Device, budget: Budget, seconds: float) -> list[tuple[float, str, float]]:
    """When, by which option and in how many ms each input is answered by a session with anchors."""
    table, state = opened(device, anchored=True)
    begun, seen = device.now, []
    while device.now - begun < seconds:
        context = Context(device.now - begun, cores=2, runnable=0)
        decision = policy.decide(context, budget, table, state, SETTINGS)
        option = policy.find(table, decision.branch)
        assert option is not None
        taken = device.take(TRUE[option.id])
        device.now += max(0.0, 0.02 - taken / 1e3)
        late = budget.latency_ms is not None and taken > budget.latency_ms
        state = observe(
            decision.state, option, taken, device.now - begun, SETTINGS, late=late, context=context
        )  # fmt: skip
        seen.append((device.now - begun, option.id, taken))
    return seen


def test_the_very_first_decision_knows_a_slow_moment() -> None:
    budget = Budget(latency_ms=1.3)
    slow, context = wander.steady(0.6), Context(0.0, cores=2, runnable=0)
    table, state = opened(Device(slow), anchored=True)
    assert policy.decide(context, budget, table, state, SETTINGS).branch == "half"  # full would take 1.67 ms
    assert policy.decide(context, budget, table, begin({}, {}), SETTINGS).branch == "full"  # were it not told
    assert policy.decide(context, budget, *opened(Device(wander.steady(1.0)), True), SETTINGS).branch == "full"


def test_a_slow_moment_is_no_refusal() -> None:
    budget = Budget(latency_ms=1.3, min_accuracy=0.9)
    slow = wander.steady(0.6)
    policy.check_feasible(budget, opened(Device(slow), anchored=True)[0])
    with pytest.raises(BadInput, match="even on an idle device"):
        policy.check_feasible(budget, opened(Device(slow), anchored=False)[0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("before", "after", "right"), [(1.0, 0.6, "half"), (0.6, 1.0, "full"), (0.6, 0.6, "half")])
def test_what_changes_after_opening_is_known_within_a_second(
    before: float, after: float, right: str, seed: int
) -> None:
    """The probe lies in a lucky moment, or an unlucky one, and the device is another right after it."""
    device = Device(wander.steady(before), seed=seed)
    device.probed()
    device = Device(Course((0.0, device.now), (before, after)), seed=seed)
    seen = served(device, Budget(latency_ms=1.3), 2.0)
    settled = [branch for at, branch, _ in seen if at > 1.0]
    assert settled.count(right) >= 0.95 * len(settled), seen
