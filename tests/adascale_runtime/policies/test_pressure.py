"""What is learned about a busy device stays within bounds, whatever happens, and grows no bolder from bad news."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.policies import policy, pressure
from adascale_runtime.policies.outlook import tolerance
from adascale_runtime.policies.policy import Option, Settings, State
from adascale_runtime.policies.pressure import Correction, Learning, Window
from adascale_runtime.policies.state import observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context

LEARNING = Learning()
NEW = Correction("a", 0.0, 0.0, 0.0)
latencies = st.floats(1e-3, 1e5)
#: Steps of a clock: mostly small, now and then a jump to another year, forwards or backwards.
steps = st.floats(0, 0.1) | st.floats(-1e9, 1e9)
histories = st.lists(st.tuples(latencies, steps), max_size=60)
idles = st.floats(1e-2, 1e3)
unknown_contexts = st.builds(
    Context,
    time_s=st.floats(-1e9, 1e9),
    cpu_load=st.none() | st.floats(0, 1),
    runnable=st.none() | st.integers(0, 10_000),
    cores=st.none() | st.integers(0, 256),
)
engines = st.tuples(st.sampled_from(["cpu", "reference", "gpu", "npu"]), st.integers(1, 64))


def lived(history, idle_ms, window=pressure.EMPTY, correction=NEW):
    """What is known after those (latency, step of the clock)."""
    now = 0.0
    for latency_ms, step_s in history:
        now += step_s
        window, correction = pressure.seen(window, correction, latency_ms, idle_ms, now, LEARNING)
    return window, correction, now


@given(histories, idles)
def test_estimates_stay_finite_and_in_range(history, idle_ms):
    window, correction, now = lived(history, idle_ms)
    assert all(math.isfinite(value) for value in window)
    assert all(value >= 0 for name, value in window._asdict().items() if name != "time_s")
    ratios = [1.0] + [latency / idle_ms for latency, _ in history]
    assert min(ratios) / 2.001 <= window.mean() <= 2.001 * max(ratios)
    assert 0 <= window.deviation() <= 2.001 * max(ratios)
    assert window.stall_ms() > 0
    assert 0.5 <= correction.factor() <= 2.0
    assert min(ratios) / 2.001 <= correction.recent <= 2.001 * max(ratios)
    assert window.time_s == now
    rate = pressure.stall_rate(window, 0.01, LEARNING)
    assert 0 <= rate < math.inf


@given(histories, idles, latencies, unknown_contexts, st.floats(0.01, 1e4))
def test_what_is_expected_of_a_branch_is_finite_and_its_miss_a_probability(history, idle_ms, other_ms, context, limit):
    ran, other = Option("a", 0.9, idle_ms, energy_mj=1.0), Option("b", 0.8, other_ms)
    state, now = State(), 0.0
    for latency_ms, step_s in history:
        now += step_s
        state = observe(state, ran, latency_ms, now, Settings(), late=latency_ms > limit)
    prospects = policy.Prospects(context, Budget(limit), (ran, other), state, Settings())
    for found in (prospects.of(ran), prospects.of(other)):
        assert 0 < found.expected_ms <= found.bound_ms < math.inf
        assert 0 <= found.miss <= 1
        assert 0 < found.slowdown < math.inf
        assert found.power_mw is None or 0 <= found.power_mw < math.inf
    assert Settings().misses / 2 <= tolerance(state, Settings()) <= 2 * Settings().misses
    assert 0 <= state.late <= state.served


@given(histories, idles, st.floats(1.0, 1000.0))
def test_a_stall_never_lowers_a_bound(history, idle_ms, excess):
    window, correction, now = lived(history, idle_ms)
    expected_ms = idle_ms * window.decayed(now, LEARNING.window_s).mean() * correction.factor()
    usual, _ = pressure.seen(window, correction, expected_ms, idle_ms, now, LEARNING)
    late_ms = (expected_ms * LEARNING.stall + LEARNING.hiccup_ms) * 1.001 * excess
    stalled, kept = pressure.seen(window, correction, late_ms, idle_ms, now, LEARNING)
    assert stalled.stalls == pytest.approx(window.stalls + 1)
    assert pressure.stall_rate(stalled, 0.01, LEARNING) >= pressure.stall_rate(usual, 0.01, LEARNING)
    assert stalled.mean() >= usual.mean() * (1 - 1e-9)
    bound, usual_bound = (w.mean() + LEARNING.caution * w.deviation() for w in (stalled, usual))
    assert bound >= usual_bound * (1 - 1e-6)
    assert kept.factor() == correction.factor()  # a stall says nothing of the branch
    assert kept.recent > correction.recent or expected_ms * 1.6 < correction.recent * idle_ms


windows = st.builds(
    Window,
    weight=st.floats(0, 1e4),
    stalls=st.floats(0, 1e3),
    stalled_ms=st.floats(0, 1e5),
    exposure_ms=st.floats(0, 1e6),
    time_s=st.floats(-1e6, 1e6),
)


@given(windows, st.floats(0, 1), st.floats(0, 100), st.floats(0, 1))
def test_the_rate_grows_with_stalls_and_the_prior_and_falls_with_quiet_running(window, prior, more, more_prior):
    rate = pressure.stall_rate(window, prior, LEARNING)
    more_stalls = window._replace(stalls=window.stalls + more)
    assert pressure.stall_rate(more_stalls, prior, LEARNING) >= rate
    assert pressure.stall_rate(window, prior + more_prior, LEARNING) >= rate
    quiet = window._replace(exposure_ms=window.exposure_ms + more)
    assert pressure.stall_rate(quiet, prior, LEARNING) <= rate


@given(histories, idles, st.floats(0, 1e9), st.floats(0, 10))
def test_clocks_that_jump_back_forget_nothing_and_time_forgets_all(history, idle_ms, back_s, forth_s):
    window, _, now = lived(history, idle_ms)
    before = window.decayed(now - back_s, LEARNING.window_s)
    assert before._replace(time_s=now) == window
    later = window.decayed(now + forth_s, LEARNING.window_s)
    assert later.weight <= window.weight and later.stalls <= window.stalls and later.exposure_ms <= window.exposure_ms
    forgotten = window.decayed(now + 1e6, LEARNING.window_s)
    assert forgotten.mean() == pytest.approx(1.0)
    assert forgotten.deviation() == pytest.approx(0.0, abs=1e-6)
    assert pressure.stall_rate(forgotten, 0.05, LEARNING) == pytest.approx(0.05)


@given(histories, idles, st.floats(0, 2), st.floats(0, 2))
def test_to_wait_twice_is_to_wait_once(history, idle_ms, first_s, second_s):
    window, _, now = lived([(latency, abs(step) % 1) for latency, step in history], idle_ms)
    at_once = window.decayed(now + first_s + second_s, LEARNING.window_s)
    in_two = window.decayed(now + first_s, LEARNING.window_s).decayed(now + first_s + second_s, LEARNING.window_s)
    assert in_two == pytest.approx(at_once, rel=1e-6, abs=1e-12)


@given(st.none() | unknown_contexts, engines)
def test_the_prior_is_total(context, engine):
    assert 0.001 <= pressure.prior_rate(context, *engine) <= 0.301 + 1e-12


@given(unknown_contexts, st.integers(1, 8), st.integers(0, 50), st.floats(0, 1))
def test_the_prior_grows_with_the_crowd(context, threads, more, load):
    rate = pressure.prior_rate(context, "cpu", threads)
    assert pressure.prior_rate(context, "cpu", threads + 1) >= rate
    if context.runnable is not None:
        fuller = dataclasses.replace(context, runnable=context.runnable + more)
        assert pressure.prior_rate(fuller, "cpu", threads) >= rate
    elif context.cpu_load is not None:
        fuller = dataclasses.replace(context, cpu_load=max(load, context.cpu_load))
        assert pressure.prior_rate(fuller, "cpu", threads) >= rate


def test_the_prior_by_example():
    free, crowded = Context(0.0, runnable=0, cores=4), Context(0.0, runnable=16, cores=4)
    assert pressure.prior_rate(free, "cpu", 4) == 0.001
    assert pressure.prior_rate(free, "cpu", 5) > 0.001  # more threads than cores
    assert pressure.prior_rate(crowded, "cpu") == pytest.approx(0.301)
    assert pressure.prior_rate(crowded, "gpu") == 0.001  # processes do not take it away
    for silent in (None, Context(0.0), Context(0.0, cores=4), Context(0.0, runnable=3), Context(0.0, 0.9, 3, cores=0)):
        assert pressure.prior_rate(silent, "cpu") == 0.01


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0, 40.0])
def test_a_lasting_slowdown_is_followed_however_large(factor):
    window, correction, _ = lived([(2.0 * factor, 1e-3)] * 400, 2.0)
    assert window.mean() * correction.factor() == pytest.approx(factor, rel=0.05)


def test_a_hiccup_of_a_short_run_is_no_stall():
    window, correction = pressure.EMPTY, pressure.Correction("a", 0.0, 0.0, 0.0)
    short, _ = pressure.seen(window, correction, 0.2, 0.05, 1.0, LEARNING)  # four times as long, by 0.15 ms
    long, _ = pressure.seen(window, correction, 5.0, 0.05, 1.0, LEARNING)
    assert short.stalls == 0 and long.stalls == 1
    assert pressure.EMPTY.mean() < short.mean() <= LEARNING.stall  # it is a slowdown, bounded
