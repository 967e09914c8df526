"""What goes wrong around a session is told in one sentence or survived: clocks, files, interpreters, meters."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import time

import numpy as np
import pytest

from adascale_runtime import loop
from adascale_runtime.cascade_session import CascadeSession
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines import delegates
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.policies import policy
from adascale_runtime.policies.replay import replay
from adascale_runtime.seams import bundle as bundles
from adascale_runtime.seams import events as traces
from adascale_runtime.seams import predictors as prediction
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session

ROOMY = Budget(latency_ms=1000.0)


def alone(bundle, x):
    return {b.id: delegates.open_branch(bundle, b)(x[None]) for b in bundle.manifest.branches}


@pytest.fixture
def damaged(healthy, tmp_path):
    """A bundle of its own that a test may damage after it was loaded."""
    return bundles.load(shutil.copytree(healthy.root, tmp_path / "damaged"))


# --- energy without what predicts it


def energy_predictors(*engines):
    made = tuple(
        prediction.Predictor("energy_mj", "here", delegate, threads, "fitted", {"one": 1.0}, {}, 3)
        for delegate, threads in engines
    )
    return prediction.Predictors(prediction.FORMAT, made, "2026-01-01T00:00:00+00:00", {})


@pytest.mark.parametrize("limit", ["energy_mj", "power_mw", "lifetime_h"])
def test_a_limit_of_energy_that_nothing_predicts_is_a_sentence(healthy, limit):
    budget = Budget(**{limit: 1000.0})
    for options in ({}, {"predictors": energy_predictors(("cpu", 4))}, {"predictors": energy_predictors()}):
        with pytest.raises(BadInput, match=rf"{limit} needs an energy predictor for cpu with 1 threads.*\.$"):
            Session(healthy, budget, **options)
    with pytest.raises(BadInput, match="cpu with 2 threads"):
        Session(healthy, budget, predictors=energy_predictors(("cpu", 1)), threads=(1, 2))
    with pytest.raises(BadInput, match="reference with 1 threads"):
        Session(healthy, budget, predictors=energy_predictors(("cpu", 1)), delegates=("cpu", "reference"))


def test_limits_of_energy_serve_without_a_battery_or_a_meter(healthy, image):
    class Silent:
        def sample(self, time_s: float) -> Context:
            return Context(time_s)

    budget = Budget(latency_ms=1000.0, energy_mj=1.5, power_mw=1e6, lifetime_h=8.0, temperature_c=60.0)
    with Session(
        healthy, budget, energy_predictors(("cpu", 1)), monitor=Monitor(sampler=Silent()), best_effort=True
    ) as session:
        assert {option.energy_mj for option in session.table} == {1.0}
        for _ in range(3):
            session.predict(image)
        assert session.last.branch == "full" and session.last.kept
    with pytest.raises(BadInput, match="energy_mj"):
        Session(healthy, Budget(energy_mj=0.5), energy_predictors(("cpu", 1)))


# --- clocks


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.jumps = itertools.repeat(0.0)
        self.ahead_s = 0.0

    def __call__(self) -> float:
        self.ahead_s += next(self.jumps)
        return time.monotonic() + self.ahead_s


@pytest.mark.parametrize("jumps", [(-3600.0, 0.0), (3600.0, 0.0), (86400.0, -86400.0, 0.0, 0.0, -1e6, 1e6), (-1e9,)])
def test_a_clock_that_jumps_loses_no_inference_and_the_trace_comes_back(healthy, image, tmp_path, jumps):
    own, clock, path = alone(healthy, image), Clock(), tmp_path / "t.jsonl"
    budget = ROOMY
    with Session(healthy, budget, monitor=Monitor(clock=clock)) as session, loop.writer(path) as write:
        predict, answers = session.predict, []
        session.predict = lambda x, phase=None: answers.append(predict(x, phase)) or answers[-1]
        clock.jumps = itertools.cycle([0.0] * 17 + list(jumps))
        loop.run(session, zip([image] * 200, itertools.repeat(0), strict=False), 60.0, write)
        clock.jumps = itertools.repeat(0.0)
    header, recorded = traces.read(path)
    assert len(answers) == len(recorded) == 200
    for output, event in zip(answers, recorded, strict=True):
        np.testing.assert_array_equal(output, own[event.branch])
        assert event.kept and 0 < event.latency_ms < 1000.0  # measured with another clock
        assert math.isfinite(event.slowdown)
    assert replay(healthy, header, recorded, budget, "adaptive") == recorded


def test_a_cascade_bears_clocks_that_jump(healthy, image):
    clock = Clock()
    with CascadeSession(healthy, ROOMY, monitor=Monitor(clock=clock)) as session:
        clock.jumps = itertools.cycle([0.0, -3600.0, 0.0, 7200.0])
        for _ in range(50):
            assert session.predict(image).shape == (1, 2)
        clock.jumps = itertools.repeat(0.0)
    assert session.last.kept


def test_a_sampler_that_gives_nothing_or_nonsense_is_survived(healthy, image):
    contexts = itertools.cycle(
        [
            Context(0.0),
            Context(-1.0, cpu_load=0.0, runnable=0, cores=0),
            Context(1e12, cpu_load=1.0, runnable=10**9, cores=1, battery=0.0, temperature_c=500.0),
            Context(0.0, cpu_load=0.5, cores=128, temperature_c=-273.0),
        ]
    )

    class Sampler:
        def sample(self, time_s: float) -> Context:
            return next(contexts)

    budget = Budget(latency_ms=1000.0, temperature_c=60.0)
    with Session(healthy, budget, monitor=Monitor(period_s=0.002, sampler=Sampler()), best_effort=True) as session:
        for _ in range(100):
            assert session.predict(image).shape == (1, 2)


# --- files


def test_files_that_go_after_opening_do_not_matter(damaged, image):
    own = alone(damaged, image)
    with Session(damaged, ROOMY) as session:
        shutil.rmtree(damaged.root)
        for _ in range(20):
            np.testing.assert_array_equal(session.predict(image), own["full"])
    assert session.broken == {}


@pytest.mark.parametrize("warm_mb", [None, 1e-6, 1.0])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "a folder"])
def test_a_file_that_goes_before_opening_is_told_and_the_others_serve(damaged, image, warm_mb, damage):
    path = damaged.path("full.tflite")
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with Session(damaged, ROOMY, warm_mb=warm_mb) as session:
        output = session.predict(image)
        assert session.last.branch == "half"
        np.testing.assert_array_equal(output, alone_of(damaged, "half", image))
        assert list(session.broken) == ["full"] and "full.tflite" in session.broken["full"]
        assert [option.id for option in session.table] == ["half", "tiny"]


def alone_of(bundle, branch_id, x):
    return delegates.open_branch(bundle, bundle.manifest.branch(branch_id))(x[None])


def test_a_file_that_goes_before_it_is_opened_again_is_told_and_the_others_serve(damaged, image, monkeypatch, tmp_path):
    def want(context, budget, table, state, settings):
        return policy.settle(policy.find(table, "half") or table[-1], "wanted", state, context)

    monkeypatch.setitem(policy.POLICIES, "want", want)
    with Session(damaged, ROOMY, warm_mb=1e-6, policy="want") as session, loop.writer(tmp_path / "t.jsonl") as write:
        assert session.ready._warm.ready("full") and not session.ready._warm.ready("half")
        shutil.rmtree(damaged.root)
        recorded = loop.run(session, zip([image] * 200, itertools.repeat(0), strict=False), 60.0, write, pace_s=1e-3)
        told = {**session.broken, **session.ready._warm.broken}
    assert len(recorded) == 200 and "half" in told and "half.tflite" in told["half"]
    assert {event.branch for event in recorded} == {"tiny"}
    gone = next(n for n, event in enumerate(recorded) if "half" in event.failed)
    assert all("half" in event.absent for event in recorded[:gone])
    assert not any("half" in event.absent + event.failed for event in recorded[gone + 1 :])
    header, read = traces.read(tmp_path / "t.jsonl")
    assert replay(damaged, header, read, ROOMY, "want") == recorded


def test_without_any_file_opening_is_a_sentence(damaged):
    for path in damaged.root.glob("*.tflite"):
        path.unlink()
    with pytest.raises(AdaScaleError, match="No branch can be opened"):
        Session(damaged, ROOMY)


# --- interpreters


@pytest.fixture
def moody(monkeypatch):
    """A delegate whose interpreters raise, by branch and number of the call."""
    trouble: dict[str, tuple[int, Exception]] = {}
    calls: dict[str, int] = {}

    def open_moody(path, branch, threads, allow_fallback=False):
        runner = delegates.open_cpu(path, branch, threads, allow_fallback)
        invoke = runner.invoke

        def raising(stored):
            calls[branch.id] = calls.get(branch.id, 0) + 1
            after, error = trouble.get(branch.id, (math.inf, RuntimeError()))
            if calls[branch.id] > after:
                raise error
            return invoke(stored)

        runner.invoke = raising
        return runner

    record = dataclasses.replace(delegates.lookup("cpu"), name="moody", open=open_moody)
    monkeypatch.setitem(delegates.DELEGATES, "moody", record)
    return trouble, calls


@pytest.mark.parametrize("error", [RuntimeError("invoke"), ValueError("tensor"), AdaScaleError("The driver is gone.")])
def test_an_interpreter_that_begins_to_raise_is_taken_out_and_the_request_answered(
    healthy, image, moody, error, tmp_path
):
    trouble, calls = moody
    path = tmp_path / "t.jsonl"
    with Session(healthy, ROOMY, delegates=("moody",)) as session, loop.writer(path) as write:
        trouble["full"] = (calls["full"] + 5, error)
        trouble["tiny"] = (calls["tiny"] + 0, error)
        recorded = loop.run(session, zip([image] * 10, itertools.repeat(0), strict=False), 60.0, write)
    assert [event.branch for event in recorded] == ["full"] * 5 + ["half"] * 5
    assert [event.failed for event in recorded] == [()] * 5 + [("full",)] + [()] * 4
    header, read = traces.read(path)
    assert replay(healthy, header, read, ROOMY, "adaptive") == recorded


def test_when_all_interpreters_raise_there_is_a_sentence_again_and_again(healthy, image, moody):
    trouble, calls = moody
    with Session(healthy, ROOMY, delegates=("moody",)) as session:
        trouble.update({name: (0, RuntimeError("dead")) for name in calls})
        for _ in range(2):
            with pytest.raises(AdaScaleError, match=r"\.$"):
                session.predict(image)


def test_an_interpreter_that_never_runs_is_told_when_the_session_opens(healthy, image, moody):
    trouble, _ = moody
    trouble["full"] = (0, RuntimeError("no kernel"))
    with Session(healthy, ROOMY, delegates=("moody",)) as session:
        assert session.broken == {"full": "no kernel"}
        session.predict(image)
        assert session.last.branch == "half"


def test_a_branch_that_fails_on_one_delegate_serves_on_the_other(healthy, image, moody):
    trouble, calls = moody
    with Session(healthy, ROOMY, delegates=("moody", "cpu")) as session:
        trouble.update({name: (0, RuntimeError("the driver is gone")) for name in calls})
        output = session.predict(image)
        assert session.last.branch == "full@cpux1"
        assert {option.delegate for option in session.table} >= {"cpu"}
    np.testing.assert_array_equal(output, alone_of(healthy, "full", image))


def test_inputs_that_are_not_finite_blame_no_branch(healthy, image):
    with Session(healthy, ROOMY) as session:
        for bad in (math.nan, math.inf):
            broken = image.copy()
            broken[0, 0] = bad
            with pytest.raises(BadInput, match="not finite"):
                session.predict(broken)
        session.predict(image)
        assert session.last.branch == "full" and len(session.table) == 3


def test_a_trace_cut_off_by_a_kill_is_read_to_its_last_whole_line(healthy, image, tmp_path):
    path = tmp_path / "t.jsonl"
    with Session(healthy, ROOMY) as session, loop.writer(path) as write:
        recorded = loop.run(session, zip([image] * 20, itertools.repeat(0), strict=False), 60.0, write)
    path.write_bytes(path.read_bytes()[:-40])
    header, read = traces.read(path)
    assert read == recorded[:-1]
    assert replay(healthy, header, read, ROOMY, "adaptive") == read
    with pytest.raises(BadInput, match="another bundle"):
        replay(healthy, dataclasses.replace(header, bundle="0" * 12), read, ROOMY, "oracle")
