"""The cap of the clock: what was learned at a higher one is stretched, until runs at the new one tell."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.policies.limits import Option, Settings
from adascale_runtime.policies.outlook import view
from adascale_runtime.policies.policy import decide
from adascale_runtime.policies.state import State, observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context

ON, OFF = Settings(), Settings(clock=1.0)
TABLE = tuple(
    Option(name, accuracy, latency_ms, delegate=delegate)
    for delegate in ("cpu", "gpu")
    for name, accuracy, latency_ms in ((f"full-{delegate}", 0.9, 4.0), (f"tiny-{delegate}", 0.6, 1.0))
)
FULL, TINY = TABLE[0], TABLE[1]
caps = st.none() | st.floats(100.0, 5000.0)
runs = st.lists(st.tuples(st.sampled_from(TABLE), st.floats(0.1, 20.0), st.floats(0.0, 2.0), caps), max_size=12)


def at(now: float, cap: float | None) -> Context:
    return Context(now, cores=4, runnable=0, clock_cap_mhz=cap)


def lived(history, settings: Settings = ON, told: bool = True) -> tuple[State, float]:
    state, now = State(), 0.0
    for option, latency_ms, pause_s, cap in history:
        now += pause_s
        state = observe(state, option, latency_ms, now, settings, context=at(now, cap if told else None))
    return state, now


def steady(cap: float, slowdown: float = 1.0, settings: Settings = ON) -> tuple[State, float]:
    return lived([(FULL, FULL.latency_ms * slowdown, 0.02, cap)] * 50, settings)


@given(runs, st.floats(0.0, 3.0), caps)
def test_a_lower_cap_never_promises_more_and_never_more_than_so_many_times_less(history, pause_s, cap):
    state, now = lived(history)
    for engine in (("cpu", 1), ("gpu", 1)):
        here, untold = view(engine, at(now + pause_s, cap), state, ON), view(engine, at(now + pause_s, None), state, ON)
        assert untold.mean * (1 - 1e-12) <= here.mean <= ON.clock * untold.mean * (1 + 1e-12)
        assert untold.upper * (1 - 1e-12) <= here.upper <= ON.clock * untold.upper * (1 + 1e-12)
        if engine[0] == "gpu":  # has a clock of its own
            assert here == untold


@given(runs, st.floats(0.0, 3.0), caps)
def test_switched_off_or_untold_it_changes_nothing_at_all(history, pause_s, cap):
    untold, now = lived(history, ON, told=False)
    assert (untold.caps, untold.cap_mhz) == ({}, 0.0)
    off, _ = lived(history, OFF)
    assert off == untold
    context, budget = at(now + pause_s, cap), Budget(latency_ms=5.0)
    plain = dataclasses.replace(context, clock_cap_mhz=None)
    assert decide(context, budget, TABLE, off, OFF) == decide(plain, budget, TABLE, untold, ON)


def test_half_the_cap_is_twice_the_time_before_anything_ran_at_it():
    state, now = steady(2000.0)
    before, after = (view(FULL.engine, at(now, cap), state, ON) for cap in (2000.0, 1000.0))
    assert (before.mean, after.mean) == (pytest.approx(1.0), pytest.approx(2.0))
    assert view(FULL.engine, at(now, 1000.0), state, OFF).mean == pytest.approx(1.0)
    budget = Budget(latency_ms=6.0)
    cpu = TABLE[:2]
    assert decide(at(now, 2000.0), budget, cpu, state, ON).branch == FULL.id
    assert decide(at(now, 1000.0), budget, cpu, state, ON).branch == TINY.id
    assert decide(at(now, 1000.0), budget, cpu, state, OFF).branch == FULL.id  # it learns by missing


def test_runs_at_the_new_cap_are_believed():
    state, now = steady(2000.0)
    for number in range(1, 101):  # what waits for memory slows down by a fifth only
        context = at(now + 0.02 * number, 1000.0)
        state = observe(state, FULL, 1.2 * FULL.latency_ms, context.time_s, ON, context=context)
    here = view(FULL.engine, at(now + 2.0, 1000.0), state, ON)
    assert here.mean == pytest.approx(1.2, rel=0.05)
    assert sum(state.excesses[FULL.engine].counts) < 1.0  # slower runs are no stalls


def test_what_did_not_run_for_long_is_thought_to_have_its_usual_speed_at_the_usual_cap():
    state, now = steady(2000.0, slowdown=1.3)
    assert view(FULL.engine, at(now + 60.0, 1000.0), state, ON).mean == pytest.approx(2.0, rel=0.01)
    assert view(("cpu", 4), at(now, 500.0), state, ON).mean == ON.clock  # never ran; a quarter would be four times


def test_a_cap_that_is_raised_promises_nothing():
    state, now = steady(1000.0, slowdown=2.0)
    assert view(FULL.engine, at(now, 2000.0), state, ON) == view(FULL.engine, at(now, None), state, ON)
