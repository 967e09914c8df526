from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from adascale_runtime import habits, loop
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.policies.limits import Option
from adascale_runtime.policies.replay import replay, unknown_limits
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session


def record(opened, budget, image, path, before=0):
    with Session(opened, budget) as session, loop.writer(path) as write:
        for _ in range(before):
            session.predict(image)
        loop.run(session, zip(itertools.repeat(image), itertools.repeat(0)), 1.0, write)
    return traces.read(path)


def borderline(opened):
    """A budget so close to a branch's idle latency that ordinary noise makes the policy switch."""
    idle = {option.id: option.latency_ms for option in Session(opened, Budget(latency_ms=1000.0)).table}
    return Budget(latency_ms=1.12 * idle["half"])


def test_a_recorded_run_comes_back_bit_for_bit(healthy, image, tmp_path):
    budget = borderline(healthy)
    header, recorded = record(healthy, budget, image, tmp_path / "t.jsonl")
    assert replay(healthy, header, recorded, budget, "adaptive") == recorded


def test_another_budget_scales_the_recorded_slowdown(healthy, image, tmp_path):
    header, recorded = record(healthy, Budget(latency_ms=1000.0), image, tmp_path / "t.jsonl")
    tiny_ms = header.table["tiny"]["latency_ms"]
    first = replay(healthy, header, recorded, Budget(latency_ms=1.05 * tiny_ms), "static-smallest")
    assert first == replay(healthy, header, recorded, Budget(latency_ms=1.05 * tiny_ms), "static-smallest")
    assert {event.branch for event in first} == {"tiny"}
    for ours, theirs in zip(first, recorded, strict=True):
        stalled = theirs.latency_ms > 1.6 * theirs.base_ms * theirs.slowdown
        if stalled:  # a stall meets a short run less often
            assert ours.latency_ms == pytest.approx(tiny_ms * theirs.slowdown) or ours.latency_ms > tiny_ms
        else:
            assert ours.latency_ms / tiny_ms == pytest.approx(theirs.latency_ms / theirs.base_ms)
        assert ours.correct is None  # what tiny would have answered is not in the trace


def test_a_run_that_lost_a_branch_comes_back(poisoned, image, tmp_path):
    budget = Budget(latency_ms=1000.0)
    header, recorded = record(poisoned, budget, image, tmp_path / "t.jsonl")
    assert replay(poisoned, header, recorded, budget, "adaptive") == recorded


def test_a_run_after_other_predictions_comes_back(healthy, image, tmp_path):
    budget = borderline(healthy)
    header, recorded = record(healthy, budget, image, tmp_path / "t.jsonl", before=50)
    assert replay(healthy, header, recorded, budget, "adaptive") == recorded


def test_a_run_that_began_at_a_slow_moment_comes_back(healthy, image, tmp_path, monkeypatch):
    """What the anchors told stands in the header, and the first decisions depend on it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    budget = borderline(healthy)
    for _ in range(3):
        habits.keep({}, {"float": 0.01})  # the device is usually several times faster
    path = tmp_path / "t.jsonl"
    with Session(healthy, Budget(latency_ms=1000.0)) as session, loop.writer(path) as write:
        session.budget = budget
        loop.run(session, zip(itertools.repeat(image), itertools.repeat(0)), 1.0, write)
    header, recorded = traces.read(path)
    ((engine, (slowdown, time_s)),) = header.told.items()
    assert engine == "cpu x 1" and slowdown > 1.5 and -60 < time_s <= 0
    assert recorded[0].slowdown == pytest.approx(slowdown, rel=0.1)
    assert replay(healthy, header, recorded, budget, "adaptive") == recorded
    ignorant = dataclasses.replace(header, told={})
    assert replay(healthy, ignorant, recorded, budget, "adaptive")[0].slowdown == 1.0


def test_a_trace_without_what_anchors_told_is_read(healthy, image, tmp_path):
    path, budget = tmp_path / "t.jsonl", borderline(healthy)
    with Session(healthy, budget, anchors=False) as session, loop.writer(path) as write:
        loop.run(session, zip(itertools.repeat(image), itertools.repeat(0)), 0.3, write)
    first, *rest = path.read_text().splitlines(keepends=True)
    earlier = json.loads(first)
    assert earlier.pop("told") == {}
    path.write_text(json.dumps(earlier) + "\n" + "".join(rest))
    header, recorded = traces.read(path)
    assert header.told == {} and replay(healthy, header, recorded, budget, "adaptive") == recorded


def test_foreign_traces_and_unknown_policies_are_refused(healthy, image, tmp_path):
    budget = Budget(latency_ms=1000.0)
    header, recorded = record(healthy, budget, image, tmp_path / "t.jsonl")
    with pytest.raises(BadInput, match="another bundle"):
        replay(healthy, dataclasses.replace(header, bundle="0" * 12), recorded, budget, "adaptive")
    with pytest.raises(BadInput, match="nonsense"):
        replay(healthy, header, recorded, budget, "nonsense")


def table(energy_mj: float | None) -> dict[str, object]:
    option = Option("full", 0.9, 1.0, energy_mj=energy_mj, memory_mb=2.0)
    return {"full": codec.to_json(option)}


@pytest.mark.parametrize(
    ("budget", "energy_mj", "context", "missing"),
    [
        (Budget(latency_ms=5, min_accuracy=0.5, memory_mb=3), None, Context(0.0), {}),
        (Budget(temperature_c=60), None, Context(0.0), {"temperature_c": "temperature"}),
        (Budget(temperature_c=60), None, Context(0.0, temperature_c=40.0), {}),
        (Budget(lifetime_h=3), 1.0, Context(0.0), {"lifetime_h": "battery charge"}),
        (Budget(lifetime_h=3), None, Context(0.0, battery=0.5), {"lifetime_h": "energy of any branch"}),
        (Budget(energy_mj=3), None, Context(0.0), {"energy_mj": "energy of any branch"}),
        (Budget(energy_mj=3, power_mw=4), 1.0, Context(0.0), {}),
    ],
)
def test_limits_that_a_trace_tells_nothing_about_are_named(budget, energy_mj, context, missing) -> None:
    header = Header("adascale-events/1", "digest", {}, "cpu", 1, "", table(energy_mj), {})
    event = Event(0.0, 0.1, "full", "", False, 0.1, 0.1, 1.0, 1.0, 1.0, True, context=context)
    later = dataclasses.replace(event, context=None)
    assert unknown_limits(header, [event, later], budget) == missing
    assert set(unknown_limits(header, [], budget)) >= set(missing)


def test_a_limit_that_some_branches_tell_nothing_about_is_named() -> None:
    options = {**table(None), "half": codec.to_json(Option("half", 0.8, 0.5, energy_mj=1.0))}
    header = Header("adascale-events/1", "digest", {}, "cpu", 1, "", options, {})
    assert unknown_limits(header, [], Budget(energy_mj=3)) == {"energy_mj": "energy of 1 of 2 branches"}
