"""Latencies at usual speed: the truth is found again under a speed that wanders, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import facts, pace, records, speed
from adascale_runtime.seams.manifest import Cost
from adascale_runtime.seams.pace import KINDS, Pace
from adascale_runtime.seams.records import Context, Energy, Measurement

ANCHOR_MS = {"float": 0.03, "integer": 0.025, "memory": 0.05}


def measurement(latency_ms: Any = (1.0,), paces: Any = (), **changes: Any) -> Measurement:
    nothing = Context(0.0)
    made = Measurement(
        records.FORMAT, "b", "full", "full", "float32", "cpu", 1, {"name": "a phone"}, Cost(1, 1, 1, 1, 1, 1), (),
        tuple(latency_ms), 1, None, None, "none", Energy(None, "none"), None, None, None, nothing, nothing, "",
        paces=tuple(paces),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


class Wandering:
    """A device whose speed wanders between 0.66 and 1 of its best, as slowly as real ones do."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.phases = [self.rng.uniform(0, 2 * math.pi) for _ in range(3)]
        self.now_s = 0.0

    def takes(self, ms: float) -> float:
        """What work that takes so long at full speed takes now; the clock goes on."""
        wave = sum(
            math.sin(2 * math.pi * self.now_s / s + p) for s, p in zip((7.0, 31.0, 90.0), self.phases, strict=True)
        )
        spent = ms / (0.83 + 0.17 * wave / 3) * self.rng.gauss(1, 0.004)
        self.now_s += spent / 1e3
        return spent

    def pace(self, run: int) -> Pace:
        return Pace(run, *(self.takes(ANCHOR_MS[kind]) for kind in KINDS), time_s=self.now_s)

    def cell(self, ms: float, rounds: int, pause_s: float) -> Measurement:
        latencies: list[float] = []
        paces: list[Pace] = []
        for _ in range(rounds):
            self.now_s += self.rng.uniform(0, 2 * pause_s)
            for _ in range(2):
                paces.append(self.pace(len(latencies)))
                latencies += [self.takes(ms) for _ in range(3)]
            paces.append(self.pace(len(latencies)))
        return measurement(latencies, paces, rounds=rounds, branch=f"b{ms}")


@given(st.integers(0, 2**32))
def test_the_truth_is_found_again_whatever_the_speed_was(seed: int) -> None:
    """A cell measured at bad times only: its latency as seen is off, at usual speed it is not."""
    device = Wandering(seed)
    others = [device.cell(ms, 20, 4.0) for ms in (0.3, 2.0, 9.0)]
    first, second = device.cell(1.0, 5, 0.05), device.cell(1.7, 5, 0.05)
    usual = speed.usual([*others, first, second])
    one, two = speed.at_usual(first, usual), speed.at_usual(second, usual)
    assert one.corrected and two.value_ms / one.value_ms == pytest.approx(1.7, rel=0.02)
    known = usual["a phone", ""]["float"].value_ms
    assert one.value_ms == pytest.approx(known / ANCHOR_MS["float"], rel=0.02)
    assert one.low_ms <= one.value_ms <= one.high_ms


def test_without_anchors_it_is_visibly_worse() -> None:
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(40):
        device = Wandering(seed)
        first = device.cell(1.0, 5, 0.05)
        device.now_s += 40.0
        second = device.cell(1.7, 5, 0.05)
        for anchored in (True, False):
            cells = [m if anchored else dataclasses.replace(m, paces=()) for m in (first, second)]
            one, two = (speed.at_usual(m, speed.usual(cells)) for m in cells)
            assert one.corrected is anchored
            errors[anchored].append(abs(two.value_ms / one.value_ms / 1.7 - 1))
    with_them, without = (sorted(errors[anchored])[30] for anchored in (True, False))
    assert with_them < 0.01 < 5 * with_them < without


@given(st.integers(0, 2**32))
def test_the_interval_contains_the_truth_about_as_often_as_it_says(seed: int) -> None:
    rng = random.Random(seed)
    hits = 0
    for _ in range(200):
        low, high = speed.interval([rng.gauss(5, 1) for _ in range(12)])
        hits += low <= 5 <= high
    assert hits >= 178  # of 95 %, by far more than chance


@given(st.integers(1, 400))
def test_order_statistics_are_those_of_the_binomial_distribution(count: int) -> None:
    low, high = speed.interval(range(count))
    left = int(low)
    assert high == count - 1 - left and 0 <= left <= high
    inside = 1 - 2 * sum(math.comb(count, k) for k in range(left + 1)) / 2**count
    assert inside >= 0.95 or left == 0
    if count <= 200 and left + 1 < high - 1:
        assert 1 - 2 * sum(math.comb(count, k) for k in range(left + 2)) / 2**count < 0.95


def test_what_anchors_do_not_tell_is_as_it_was_seen() -> None:
    paces = [Pace(0, 0.03, 0.03, 0.05), Pace(2, 0.06, 0.03, 0.05), Pace(2, 0.03, 0.03, 0.05), Pace(4, 0.03, 0.03, 0.05)]
    plain = measurement((1.5, 1.5, 1.0, 1.0), paces, rounds=2)
    usual = speed.usual([plain])
    assert usual["a phone", ""]["float"].value_ms == 0.03 and speed.at_usual(plain, usual).corrected
    for changes in (
        {"delegate": "gpu"}, {"delegate": "nobody knows"}, {"paces": ()}, {"settings": {"context": "load50"}},
        {"device": {"name": "another"}}, {"settings": {"affinity": "big"}},
        {"paces": tuple(dataclasses.replace(p, float_ms=None) for p in paces)},
    ):  # fmt: skip
        figure = speed.at_usual(dataclasses.replace(plain, **changes), usual)
        assert not figure.corrected and figure.value_ms == 1.25 and (figure.low_ms, figure.high_ms) == (1.0, 1.5)


def test_a_chunk_is_divided_by_the_anchor_around_it() -> None:
    paces = [Pace(0, 0.02), Pace(2, 0.04), Pace(3, None), Pace(3, 0.05), Pace(5, 0.05)]
    m = measurement((3.0, 6.0, 8.0, 5.0, 10.0), paces, rounds=2)
    assert speed.relative(m) == pytest.approx([150, 200, 150])
    assert speed.relative(dataclasses.replace(m, precision="int8")) == []
    seen = speed.seen(m)
    assert seen.value_ms == 6.0 and seen.low_ms == pytest.approx(5.1) and seen.high_ms == pytest.approx(7.9)


def test_each_arithmetic_has_its_anchor() -> None:
    found = [speed.anchor_of("cpu", name) for name in ("float32", "float16", "dynamic", "int8", "qat", "int16x8")]
    assert found == ["float", "float", "integer", "integer", "integer", "integer"]
    assert speed.anchor_of("reference", "x", "float") == "float" and speed.anchor_of("gpu", "float32") is None


def test_how_far_a_device_wandered_leaves_out_what_ran_under_load() -> None:
    paces = [Pace(0, 0.03, 0.02), Pace(1, 0.04, 0.02)]
    idle, loaded = measurement(paces=paces), measurement(paces=paces, settings={"context": "load50"})
    slow = dataclasses.replace(loaded, paces=(Pace(0, 3.0), Pace(1, 3.0)))
    assert speed.wandered([idle, slow]) == speed.wandered([idle])
    low, high = speed.wandered([idle])["a phone", ""]["float"]
    assert low < 1 < high and speed.wandered([idle])["a phone", ""]["integer"] == (1, 1)
    assert speed.wandered([measurement()]) == {}


# --- what comes from outside


BAD = (
    ([Pace(1), Pace(3)], "goes from run 1 to run 3, but there are 3 runs"),
    ([Pace(0), Pace(2)], "but there are 3 runs"),
    ([Pace(0), Pace(2), Pace(1), Pace(3)], "run falls from 2 to 1"),
    ([Pace(0, -1.0), Pace(3)], "float_ms is -1"),
    ([Pace(0), Pace(3, integer_ms=1e12)], "integer_ms is 1e[+]12"),
    ([Pace(0), Pace(3, memory_ms=0.0)], "memory_ms is 0"),
    ([Pace(0, time_s=1e300), Pace(3)], "time_s is 1e[+]300"),
)


@pytest.mark.parametrize(("paces", "why"), BAD)
def test_paces_that_cannot_be_are_refused(paces: list[Pace], why: str) -> None:
    runs = (1.0, 2.0, 3.0)
    for refuse in (
        lambda: pace.check(paces, 3, "it"),
        lambda: facts.verify(facts.Block(runs, paces=tuple(paces)), "it"),
        lambda: records.check(measurement(runs, paces), "it"),
    ):
        with pytest.raises(BadInput, match=f"it.*{why}|not a possible value"):
            refuse()


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
def test_whatever_stands_in_the_place_of_paces_is_refused_or_read(value: Any) -> None:
    told = {"latency_ms": [1.0], "paces": value}
    try:
        fact = facts.check("block", told, "a block")
    except BadInput:
        return
    assert isinstance(fact, facts.Block) and fact.paces == ()


def test_facts_and_files_without_paces_are_read_as_before() -> None:
    assert facts.check("block", {"latency_ms": [1.0]}, "a block") == facts.Block((1.0,))
    old = codec.to_json(measurement())
    del old["paces"]
    assert codec.from_json(Measurement, old, "m").paces == ()
    new = measurement((1.0, 2.0), [Pace(0, 0.1, time_s=5.0), Pace(2, 0.2)])
    assert codec.from_json(Measurement, codec.parse(codec.dump_line(new).encode(), "m"), "m") == new


def test_runs_that_waited_for_a_time_slice_do_not_count() -> None:
    assert speed.level([1.0, 1.1, 0.9, 30.0]) == pytest.approx(1.0)
    assert speed.level([2.0]) == 2.0


def sliced(runs_ms: float, count: int, share: float, rng: random.Random) -> list[float]:
    """Runs one after the other, while something takes a share of about each tenth of a millisecond."""
    now, found = 0.0, []
    taken_at = rng.uniform(0.0, 0.1)
    for _ in range(count):
        left, begun = runs_ms, now
        while taken_at - now < left:
            left -= taken_at - now
            now = taken_at + share * 0.1
            taken_at = now + (1.0 - share) * 0.1 * rng.uniform(0.8, 1.2)
        now += left
        found.append(now - begun)
    return found


@given(st.floats(0.04, 0.5), st.floats(0.05, 0.4), st.integers(0, 2**32))
def test_what_takes_a_share_of_each_moment_slows_short_runs_down_in_proportion(
    runs_ms: float, share: float, seed: int
) -> None:
    """Whose median says nothing until every other run is hit."""
    rng = random.Random(seed)
    latencies: list[float] = []
    paces = []
    for number in range(12):
        groups = [sum(sliced(0.03, 4, share, rng)) / 4 for _ in range(3)]
        paces.append(Pace(len(latencies), speed.level(groups)))
        latencies += sliced(runs_ms, round(8.0 / runs_ms), share, rng) if number < 11 else []
    costs = speed.relative(measurement(latencies, paces))
    assert speed.level(latencies) * (1.0 - share) == pytest.approx(runs_ms, rel=0.06)
    assert records.quantile(costs, 0.5) * 0.03 == pytest.approx(runs_ms, rel=0.15)
