"""What is learned about a busy device stays within bounds, whatever happens, and grows no bolder from bad news."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.policies import policy, pressure
from adascale_runtime.policies.outlook import tolerance
from adascale_runtime.policies.policy import Option, Settings, State
from adascale_runtime.policies.pressure import Correction, Excesses, Learning, Seen
from adascale_runtime.policies.state import observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context

LEARNING = Learning()
NEW = Seen(pressure.EMPTY, pressure.NONE, pressure.NONE, Correction("a", 0.0, 0.0, 0.0))
latencies = st.floats(1e-3, 1e5)
#: Steps of a clock: mostly small, now and then a jump to another year, forwards or backwards.
steps = st.floats(0, 0.1) | st.floats(-1e9, 1e9)
histories = st.lists(st.tuples(latencies, steps), max_size=60)
idles = st.floats(1e-2, 1e3)
slacks = st.floats(0, 1e4)
unknown_contexts = st.builds(
    Context,
    time_s=st.floats(-1e9, 1e9),
    cpu_load=st.none() | st.floats(0, 1),
    runnable=st.none() | st.integers(0, 10_000),
    cores=st.none() | st.integers(0, 256),
)
engines = st.tuples(st.sampled_from(["cpu", "reference", "gpu", "npu"]), st.integers(1, 64))
levels = st.integers(0, pressure.UNKNOWN)


def counted(lengths, exposure_ms):
    """Excesses of those lengths, in so much running."""
    found = Excesses()
    for length in lengths:
        found = found.with_run(length, 0.0)
    return found.with_run(0.0, exposure_ms)


counts = st.builds(counted, st.lists(st.floats(0, 1e4), max_size=30), st.floats(0, 1e6))


def lived(history, idle_ms, known=NEW):
    """What is known after those (latency, step of the clock)."""
    now = 0.0
    for latency_ms, step_s in history:
        now += step_s
        known = pressure.seen(known, latency_ms, idle_ms, now, LEARNING)
    return known, now


@given(histories, idles)
def test_estimates_stay_finite_and_in_range(history, idle_ms):
    known, now = lived(history, idle_ms)
    window, correction = known.window, known.correction
    numbers = {name: value for name, value in window._asdict().items() if name not in ("time_s", "option")}
    assert all(0 <= value < math.inf for value in numbers.values()) and math.isfinite(window.time_s)
    assert window.others == 0.0  # nothing else ran
    ratios = [1.0] + [latency / idle_ms for latency, _ in history]
    assert min(ratios) / 2.001 <= window.mean() <= 2.001 * max(ratios)
    assert 0 <= window.deviation() <= 3 * max(ratios)
    assert 0.5 <= correction.factor() <= 2.0
    assert min(ratios) / 2.001 <= correction.recent <= 2.001 * max(ratios)
    assert window.time_s == now
    for found in (known.excesses, known.habit):
        assert all(0 <= less <= more for more, less in zip(found.counts, found.counts[1:], strict=False))
        assert 0 <= found.exposure_ms < math.inf
    assert known.habit.exposure_ms <= LEARNING.habit_ms * (1 + 1e-9)


@given(histories, idles, latencies, unknown_contexts, st.floats(0.01, 1e4))
def test_what_is_expected_of_a_branch_is_finite_and_its_miss_a_probability(history, idle_ms, other_ms, context, limit):
    ran, other = Option("a", 0.9, idle_ms, energy_mj=1.0), Option("b", 0.8, other_ms)
    state, now = State(), 0.0
    for latency_ms, step_s in history:
        now += step_s
        state = observe(state, ran, latency_ms, now, Settings(), late=latency_ms > limit, context=context)
    prospects = policy.Prospects(context, Budget(limit), (ran, other), state, Settings())
    for found in (prospects.of(ran), prospects.of(other)):
        assert 0 < found.expected_ms <= found.bound_ms < math.inf
        assert 0 <= found.miss <= 1
        assert 0 < found.slowdown < math.inf
        assert found.power_mw is None or 0 <= found.power_mw < math.inf
    assert Settings().misses / 2 <= tolerance(state, Settings()) <= 2 * Settings().misses
    assert 0 <= state.late <= state.served


@given(histories, st.floats(0.01, 1.0), st.floats(1.0, 1000.0))
def test_a_stalled_run_is_an_excess_and_says_nothing_of_the_branch(history, idle_ms, times):
    known, now = lived(history, idle_ms)
    for _ in range(3):  # the runs just before it are as expected
        usual_ms = idle_ms * known.window.mean() * known.correction.factor()
        known = pressure.seen(known, usual_ms, idle_ms, now, LEARNING)
    own = known.correction.factor()
    bound_ms = idle_ms * own * (known.window.mean() + LEARNING.caution * known.window.deviation())
    usual = pressure.seen(known, bound_ms, idle_ms, now, LEARNING)
    late_ms = max(bound_ms, idle_ms * own * known.window.mean() * LEARNING.stall) * 1.01 * times + 0.01
    late = pressure.seen(known, late_ms, idle_ms, now, LEARNING)
    after = pressure.seen(late, idle_ms * own * known.window.mean(), idle_ms, now, LEARNING)
    found = after.excesses if late.window.open_ms else late.excesses  # a run that is not much longer waits for the next
    assert found.counts[0] == pytest.approx(usual.excesses.counts[0] + 1, abs=0.05 * (1 + usual.excesses.counts[0]))
    assert late.window.mean() >= usual.window.mean() * (1 - 1e-9)
    assert late.correction.factor() == known.correction.factor()


@given(counts, slacks, slacks)
def test_fewer_excesses_are_longer(found, slack_ms, more_ms):
    assert found.counts[0] >= found.longer(slack_ms) >= found.longer(slack_ms + more_ms) >= 0


@given(st.lists(st.floats(pressure.SHORTEST_MS, 15.0), min_size=1, max_size=30), st.integers(0, pressure.LENGTHS - 1))
def test_at_the_lengths_that_are_told_apart_the_count_is_exact(lengths, number):
    length_ms = pressure.SHORTEST_MS * 2.0**number
    assert counted(lengths, 1.0).longer(length_ms) == pytest.approx(sum(one >= length_ms for one in lengths))


@given(counts, counts, levels, slacks, st.floats(0, 100))
def test_the_rate_grows_with_excesses_and_falls_with_quiet_running(window, habit, level, slack_ms, more_ms):
    def rate(lately, usually):
        return pressure.rate(lately, usually, level, slack_ms, LEARNING)

    before = rate(window, habit)
    assert 0 <= before < math.inf
    assert rate(window.with_run(slack_ms + 1, 0.0), habit) >= before
    assert rate(window, habit.with_run(slack_ms + 1, 0.0)) >= before
    assert rate(window.with_run(0.0, more_ms), habit) <= before * (1 + 1e-12)


@given(counts, levels, slacks)
def test_time_leaves_habits_only(window, level, slack_ms):
    """What nothing lately speaks of is as it usually is; and what never ran is as presumed."""
    usual = pressure.rate(pressure.NONE, pressure.NONE, level, slack_ms, LEARNING)
    assert usual == pytest.approx(pressure.presumed(level, slack_ms))
    forgotten = pressure.rate(window, pressure.NONE, level, slack_ms, LEARNING, fresh=0.0)
    assert forgotten == pytest.approx(usual)


@given(histories, idles, st.floats(0, 1e9), st.floats(0, 10))
def test_clocks_that_jump_back_forget_nothing_and_time_forgets_all(history, idle_ms, back_s, forth_s):
    known, now = lived(history, idle_ms)
    window = known.window
    assert window.decayed(now - back_s, LEARNING.window_s)._replace(time_s=now) == window
    assert window.decayed(now + forth_s, LEARNING.window_s).weight <= window.weight
    forgotten = window.decayed(now + 1e6, LEARNING.window_s)
    assert forgotten.mean() == pytest.approx(1.0)
    assert forgotten.deviation() == pytest.approx(0.0, abs=1e-6)


@given(histories, idles, st.floats(0, 2), st.floats(0, 2))
def test_to_wait_twice_is_to_wait_once(history, idle_ms, first_s, second_s):
    known, now = lived([(latency, abs(step) % 1) for latency, step in history], idle_ms)
    at_once = known.window.decayed(now + first_s + second_s, LEARNING.window_s)
    in_two = known.window.decayed(now + first_s, LEARNING.window_s).decayed(now + first_s + second_s, LEARNING.window_s)
    assert in_two[:3] == pytest.approx(at_once[:3], rel=1e-6, abs=1e-12)


@given(st.none() | unknown_contexts, engines)
def test_every_context_has_a_level(context, engine):
    level = pressure.crowding(context, *engine)
    assert 0 <= level <= pressure.UNKNOWN
    assert 0 < pressure.presumed(level, 0.0) < 1


@given(unknown_contexts, st.integers(1, 8), st.integers(0, 50), st.floats(0, 1))
def test_the_level_grows_with_the_crowd(context, threads, more, load):
    level = pressure.crowding(context, "cpu", threads)
    assert pressure.crowding(context, "cpu", threads + 1) >= level
    if context.runnable is not None:
        fuller = dataclasses.replace(context, runnable=context.runnable + more)
        assert pressure.crowding(fuller, "cpu", threads) >= level
    elif context.cpu_load is not None:
        fuller = dataclasses.replace(context, cpu_load=max(load, context.cpu_load))
        assert pressure.crowding(fuller, "cpu", threads) >= level


def test_a_slow_walk_is_a_slowdown_and_a_stall_is_an_excess():
    """A machine that walks from full speed to 0.6 of it has no stalls; one that stalls has no slowdown."""
    rng, walked, stalled, now = random.Random(0), NEW, NEW, 0.0
    for number in range(2000):
        now += 0.005
        speed = 1.0 - 0.4 * number / 2000
        noise = rng.uniform(0.98, 1.02)
        walked = pressure.seen(walked, noise / speed, 1.0, now, LEARNING)
        stalled = pressure.seen(stalled, noise + (6.0 if rng.random() < 0.05 else 0.0), 1.0, now, LEARNING)
    assert walked.window.mean() == pytest.approx(1 / 0.6, rel=0.05)
    assert walked.excesses.longer(0.3) < 0.01
    assert stalled.window.mean() < 1.1
    assert stalled.excesses.longer(3.0) / stalled.excesses.exposure_ms == pytest.approx(0.05, rel=0.5)


def test_a_branch_differs_from_others_only_by_what_both_have_shown():
    """Alone, whatever it takes is the device's speed; beside another, what it takes more is its own."""
    alone, now = NEW, 0.0
    for _ in range(3000):
        now += 0.005
        alone = pressure.seen(alone, 1.3, 1.0, now, LEARNING)
    assert alone.correction.factor() == pytest.approx(1.0)
    assert alone.window.mean() == pytest.approx(1.3, rel=0.02)
    slower = Seen(alone.window, alone.excesses, alone.habit, Correction("b", 0.0, 0.0, 0.0))
    for _ in range(30):
        now += 0.005
        slower = pressure.seen(slower, 1.3 * 1.2, 1.0, now, LEARNING)
    assert 1.1 < slower.correction.factor() < 1.25


# --- the clock's cap


@given(st.none() | st.floats(0.0, 1e6), st.floats(0.0, 1e6), st.floats(1.0, 10.0))
def test_a_lowered_cap_slows_in_proportion_and_within_bounds(then_mhz, now_mhz, most):
    factor = pressure.throttled(then_mhz, now_mhz, most)
    assert 1.0 <= factor <= most
    if not then_mhz or now_mhz >= then_mhz:
        assert factor == 1.0
    elif then_mhz < most * now_mhz:
        assert factor * now_mhz == pytest.approx(then_mhz)
    else:
        assert factor == most
