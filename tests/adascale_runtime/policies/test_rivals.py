"""Policies to compare with: what they do, that replays repeat them, and that the oracle is never beaten."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime import loop
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.policies import rivals
from adascale_runtime.policies.policy import POLICIES, Option, Settings, State, check_policy, find
from adascale_runtime.policies.replay import replay, would_take_ms
from adascale_runtime.policies.state import observe
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.events import FORMAT, Event, Header
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session

SETTINGS = Settings()
TABLE = (Option("full", 0.9, 1.0), Option("half", 0.8, 0.5), Option("tiny", 0.6, 0.1))
BUDGET = Budget(latency_ms=1.2)
LIVE = sorted(set(POLICIES) - set(rivals.REPLAY_ONLY))


@pytest.mark.parametrize(
    ("context", "branch"),
    [
        (Context(0.0), "full"),
        (Context(0.0, cpu_load=0.39), "full"),
        (Context(0.0, cpu_load=0.4), "half"),
        (Context(0.0, cpu_load=0.79), "half"),
        (Context(0.0, cpu_load=0.8), "tiny"),
        (Context(0.0, cpu_load=1.0), "tiny"),
        (Context(0.0, cpu_load=0.1, battery=0.19), "tiny"),
        (Context(0.0, cpu_load=0.1, battery=0.19, charging=False), "tiny"),
        (Context(0.0, cpu_load=0.1, battery=0.19, charging=True), "full"),
        (Context(0.0, cpu_load=0.1, battery=0.2), "full"),
    ],
)
def test_threshold_does_what_its_table_says(context, branch):
    for state in (State(), State(branch="half")):
        for table in itertools.permutations(TABLE):
            assert POLICIES["threshold"](context, BUDGET, table, state, SETTINGS).branch == branch


def test_threshold_on_one_branch():
    for load in (None, 0.5, 0.9):
        assert (
            POLICIES["threshold"](Context(0.0, cpu_load=load), BUDGET, TABLE[1:2], State(), SETTINGS).branch == "half"
        )


def test_epsilon_greedy_explores_now_and_then_and_else_takes_the_best_mean():
    chosen = [
        POLICIES["epsilon-greedy"](Context(round(number * 0.00137, 6)), BUDGET, TABLE, State(), SETTINGS)
        for number in range(20_000)
    ]
    explored = [decision.branch for decision in chosen if decision.reason == "explores"]
    assert len(explored) / len(chosen) == pytest.approx(rivals.EPSILON, abs=0.01)
    for option in TABLE:
        assert explored.count(option.id) / len(explored) == pytest.approx(1 / 3, abs=0.06)
    assert {decision.branch for decision in chosen if decision.reason == "best mean"} == {"full"}


def test_epsilon_greedy_learns_of_each_branch_by_itself():
    state = State()
    for step in range(100):
        state = observe(state, TABLE[0], 1.5, step * 1e-3, SETTINGS)  # too slow
    times = [Context(round(0.2 + number * 0.00137, 6)) for number in range(200)]
    chosen = [POLICIES["epsilon-greedy"](context, BUDGET, TABLE, state, SETTINGS) for context in times]
    assert {d.branch for d in chosen if d.reason != "explores"} == {"half"}
    for step in range(30):
        state = observe(state, TABLE[0], 1.0, 0.5 + step * 1e-3, SETTINGS)  # explored again, and fast enough
    assert {POLICIES["epsilon-greedy"](c, BUDGET, TABLE, state, SETTINGS).branch for c in times[:5]} == {"full"}
    hopeless = [POLICIES["epsilon-greedy"](c, Budget(latency_ms=0.01), TABLE, state, SETTINGS) for c in times]
    assert {d.branch for d in hopeless if d.reason != "explores"} == {"tiny"}


def test_the_oracle_serves_in_replays_only(healthy):
    assert rivals.REPLAY_ONLY == ("oracle",)
    check_policy("oracle")
    with pytest.raises(BadInput, match="replay"):
        POLICIES["oracle"](Context(0.0), BUDGET, TABLE, State(), SETTINGS)
    with pytest.raises(BadInput, match="replay"):
        Session(healthy, Budget(latency_ms=1000.0), policy="oracle")


# --- on traces


def trace(bundle, rows, budget, table=TABLE):
    """A trace of those (branch, slowdown, stall in ms, pause in s, context, absent)."""
    now, recorded = 0.0, []
    for index, slowdown, stall_ms, pause_s, context, absent in rows:
        option = table[index % len(table)]
        latency_ms = round(option.latency_ms * slowdown + stall_ms, 4)
        begun, now = now, round(now + pause_s + latency_ms / 1e3, 6)
        recorded.append(
            Event(
                time_s=begun,
                ended_s=now,
                branch=option.id,
                reason="recorded",
                switched=False,
                decide_ms=0.01,
                switch_ms=0.01,
                latency_ms=latency_ms,
                base_ms=option.latency_ms,
                slowdown=slowdown,
                kept=budget.latency_ms is None or latency_ms <= budget.latency_ms,
                context=context,
                absent=tuple(o.id for o in table if o.id in absent and o.id != option.id),
            )
        )
    header = Header(
        FORMAT, bundle.digest, budget.limits(), "cpu", 1, "2026-01-01T00:00:00+00:00",
        {o.id: codec.to_json(o) for o in table}, codec.to_json(SETTINGS),
    )  # fmt: skip
    return header, recorded


rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.floats(0.8, 4.0),
        st.just(0.0) | st.floats(0, 20),
        st.floats(0, 0.5),
        st.none()
        | st.builds(
            Context,
            time_s=st.just(0.0),
            cpu_load=st.none() | st.floats(0, 1),
            runnable=st.none() | st.integers(0, 20),
            cores=st.just(4),
            battery=st.none() | st.floats(0, 1),
        ),
        st.sets(st.sampled_from(["full", "half"])),
    ),
    max_size=40,
)
limits = st.builds(Budget, st.none() | st.floats(0.11, 5.0), min_accuracy=st.none() | st.sampled_from([0.6, 0.7, 0.9]))


@settings(max_examples=60, deadline=None)
@given(rows, limits)
def test_the_oracle_keeps_at_least_as_many_deadlines_as_any_policy(healthy, recorded, budget):
    header, events = trace(healthy, recorded, budget)
    try:
        best = replay(healthy, header, events, budget, "oracle")
    except BadInput:  # no branch keeps that budget even on an idle device: the same for every policy
        for name in LIVE:
            with pytest.raises(BadInput):
                replay(healthy, header, events, budget, name)
        return
    for name in LIVE:
        other = replay(healthy, header, events, budget, name)
        assert all(ours.kept >= theirs.kept for ours, theirs in zip(best, other, strict=True))
        accuracy = {option.id: option.accuracy for option in TABLE}
        for ours, theirs in zip(best, other, strict=True):  # nor does it answer worse where both keep everything
            enough = budget.min_accuracy is None or accuracy[theirs.branch] >= budget.min_accuracy
            if theirs.kept and enough:
                assert accuracy[ours.branch] >= accuracy[theirs.branch]


@settings(max_examples=40, deadline=None)
@given(rows, limits, st.sampled_from(sorted(POLICIES)))
def test_replays_repeat_themselves_and_take_only_what_is_there(healthy, recorded, budget, name):
    header, events = trace(healthy, recorded, budget)
    try:
        first = replay(healthy, header, events, budget, name)
    except BadInput:
        return
    assert first == replay(healthy, header, events, budget, name)
    state_less = [dataclasses.replace(e, branch="", reason="", switched=False, slowdown=0.0) for e in first]
    assert [e.time_s for e in state_less] == [e.time_s for e in events]
    for number, (event, was) in enumerate(zip(first, events, strict=True)):
        assert event.latency_ms == would_take_ms(was, find(TABLE, event.branch), number) > 0
        assert name == "oracle" or event.branch not in was.absent
        in_time = budget.latency_ms is None or event.latency_ms <= budget.latency_ms
        good = budget.min_accuracy is None or find(TABLE, event.branch).accuracy >= budget.min_accuracy
        assert event.kept == (in_time and good)
        assert set(event.broken) == {*([] if in_time else ["latency_ms"]), *([] if good else ["min_accuracy"])}


def test_replaying_a_replay_changes_nothing(healthy):
    rng = random.Random(0)
    recorded = [(rng.randrange(3), rng.uniform(0.9, 1.2), 0.0, 0.01, None, set()) for _ in range(300)]
    header, events = trace(healthy, recorded, BUDGET)
    for name in LIVE:
        once = replay(healthy, header, events, BUDGET, name)
        assert [e.branch for e in replay(healthy, header, once, BUDGET, name)] == [e.branch for e in once]


def test_stalls_meet_long_runs_more_often(healthy):
    option = {o.id: o for o in TABLE}
    _, events = trace(healthy, [(0, 1.0, 6.0, 0.0, None, set())] * 1000, BUDGET)
    hit = sum(would_take_ms(event, option["half"], n) > 3 for n, event in enumerate(events))
    assert hit == pytest.approx(500, abs=2)  # half as long, met half as often
    hit = sum(would_take_ms(event, option["tiny"], n) > 3 for n, event in enumerate(events))
    assert hit == pytest.approx(100, abs=2)
    assert all(would_take_ms(event, option["full"], n) == event.latency_ms for n, event in enumerate(events))


@pytest.mark.parametrize("name", LIVE)
def test_a_run_of_every_policy_comes_back_bit_for_bit(healthy, image, tmp_path, name):
    budget, path = Budget(latency_ms=1000.0), tmp_path / "t.jsonl"
    with Session(healthy, budget, policy=name) as session, loop.writer(path) as write:
        loop.run(session, zip(itertools.repeat(image), itertools.repeat(0), strict=False), 0.5, write)
    header, recorded = traces.read(path)
    assert replay(healthy, header, recorded, budget, name) == recorded


def test_a_trace_without_branches_is_a_sentence(healthy):
    header, events = trace(healthy, [], BUDGET)
    with pytest.raises(BadInput, match="names no branches"):
        replay(healthy, dataclasses.replace(header, table={}), events, BUDGET, "adaptive")
    assert replay(healthy, header, [], BUDGET, "oracle") == []
