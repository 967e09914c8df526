"""Trends of load and heat, and what the policy makes of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.policies import pressure
from adascale_runtime.policies.limits import Limits, Option, Settings, thermal_share
from adascale_runtime.policies.policy import decide
from adascale_runtime.policies.state import State, observe
from adascale_runtime.policies.trend import HEAT_S, UNSEEN, Trend
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context

AHEAD, NOW = Settings(forecast_s=5.0), Settings(forecast_s=0.0)
TABLE = (Option("full", 0.9, 4.0), Option("half", 0.8, 2.0), Option("tiny", 0.6, 1.0))
samples = st.lists(st.tuples(st.floats(-100, 200), st.floats(0, 10)), min_size=1, max_size=40)


@given(samples, st.floats(0.1, 10.0))
def test_a_trend_stays_finite_and_a_constant_has_none(pairs, constant_s):
    trend, still, now = UNSEEN, UNSEEN, 0.0
    for value, pause_s in pairs:
        now += pause_s
        trend, still = trend.follow(value, now, constant_s), still.follow(7.0, now, constant_s)
        assert math.isfinite(trend.value) and math.isfinite(trend.slope) and trend.rise(3.0) >= 0.0
        assert still == Trend(7.0, 0.0, now)


@pytest.mark.parametrize("step_s", [0.002, 0.02, 0.5])
@pytest.mark.parametrize("slope", [0.7, -0.7])
def test_a_line_is_found(slope, step_s):
    trend, now = UNSEEN, 0.0
    while now < 60.0:
        now += step_s
        trend = trend.follow(20.0 + slope * now, now, HEAT_S)
    assert trend.slope == pytest.approx(slope, rel=0.05) and trend.value == pytest.approx(20.0 + slope * now, abs=0.5)
    assert trend.rise(10.0) == (pytest.approx(7.0, rel=0.05) if slope > 0 else 0.0)


def test_a_clock_that_jumps_back_begins_anew():
    trend = Trend(1.0, 3.0, 100.0).follow(2.0, 50.0, 1.0)
    assert trend == Trend(2.0, 0.0, 50.0)


def warming(settings: Settings, slope: float) -> tuple[State, Context]:
    state, context = State(), Context(0.0, cores=2, runnable=0, temperature_c=40.0)
    for number in range(500):
        now = 0.02 * number
        context = Context(now, cores=2, runnable=0, temperature_c=40.0 + slope * now)
        state = observe(state, TABLE[0], 4.0, now, settings, context=context)
    return state, context


def test_a_device_that_warms_up_is_held_back_before_the_limit():
    budget = Budget(temperature_c=60.0)
    state, context = warming(AHEAD, 1.5)
    assert decide(context, budget, TABLE, state, AHEAD).branch != "full"
    state, context = warming(NOW, 1.5)
    assert (state.heat, state.load) == (UNSEEN, UNSEEN)
    assert decide(context, budget, TABLE, state, NOW).branch == "full"
    state, context = warming(AHEAD, -1.5)  # cooling is not relied on
    assert decide(context, budget, TABLE, state, AHEAD).branch == "full"


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 50))
def test_a_rise_allows_no_more(limit_c, celsius, rise_c):
    budget, context = Budget(temperature_c=limit_c), Context(0.0, temperature_c=celsius)
    now, ahead = thermal_share(budget, context), thermal_share(budget, context, rise_c)
    assert 0.0 <= ahead <= now <= 1.0 and thermal_share(budget, context, 0.0) == now
    assert Limits.of(budget, TABLE, context, NOW, rise_c=rise_c).effort <= Limits.of(budget, TABLE, context, NOW).effort


@given(st.integers(0, 30), st.integers(1, 8), st.integers(1, 8), st.floats(0, 50))
def test_more_load_is_no_lower_level_of_crowding(runnable, cores, threads, more):
    context = Context(0.0, runnable=runnable, cores=cores)
    now = pressure.crowding(context, "cpu", threads)
    assert pressure.crowding(context, "cpu", threads, 0.0) == now <= pressure.crowding(context, "cpu", threads, more)
    assert pressure.crowding(context, "gpu", threads, more) == 0
    assert pressure.crowding(Context(0.0), "cpu", threads, more) == pressure.UNKNOWN
