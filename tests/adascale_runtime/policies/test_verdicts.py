"""What every limit of a budget says of an inference, and what a loop's summary makes of it."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime import loop
from adascale_runtime.policies.limits import Option, Settings
from adascale_runtime.policies.state import Drawn, State, observe
from adascale_runtime.policies.verdicts import broken, late, lifetime_h
from adascale_runtime.seams.budget import NAMES, Budget
from adascale_runtime.seams.events import Event
from adascale_runtime.seams.records import Context

SETTINGS = Settings()
OPTION = Option("full", 0.9, 2.0, energy_mj=8.0, memory_mb=3.0)
#: Ten inferences of 8 mJ a second: 80 mW, beside 920 mW of the device; 0.5 of 15 Wh at 1 W last 7.5 h.
STATE = State(drawn=Drawn(80.0, 1.0), rest_mw=920.0)
CONTEXT = Context(0.0, battery=0.5, temperature_c=40.0)
REACHED = {
    "latency_ms": 2.5, "energy_mj": 8.0, "memory_mb": 3.0, "min_accuracy": 0.9, "power_mw": 80.0, "lifetime_h": 7.5,
    "temperature_c": 40.0,
}  # fmt: skip
#: Limits from below, which are broken by less.
LEAST = ("min_accuracy", "lifetime_h")


@pytest.mark.parametrize("name", NAMES)
def test_each_limit_is_kept_where_it_is_met_and_broken_just_beyond(name: str) -> None:
    reached, step = REACHED[name], 0.01 if name not in LEAST else -0.01
    kept = broken(Budget(**{name: reached}), OPTION, 2.5, CONTEXT, STATE, SETTINGS)
    over = broken(Budget(**{name: reached - step}), OPTION, 2.5, CONTEXT, STATE, SETTINGS)
    assert kept == {} and over == {name: pytest.approx(0.01)}


def test_what_a_meter_told_corrects_energy() -> None:
    state = STATE._replace(energies={("cpu", 1): 1.5})
    assert broken(Budget(energy_mj=10.0), OPTION, 2.5, CONTEXT, state, SETTINGS) == {"energy_mj": 2.0}
    other = STATE._replace(energies={("gpu", 1): 1.5})
    assert broken(Budget(energy_mj=10.0), OPTION, 2.5, CONTEXT, other, SETTINGS) == {}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("latency_ms", "min_accuracy")])
def test_what_is_not_known_breaks_nothing(name: str) -> None:
    unknown = Option("full", 0.9, 2.0)
    limit = 1e9 if name in LEAST else 1e-9
    assert broken(Budget(**{name: limit}), unknown, 2.5, Context(0.0), State(), SETTINGS) == {}
    assert lifetime_h(Context(0.0), STATE, SETTINGS) is None


@given(st.floats(0.001, 0.5), st.integers(2, 200), st.floats(0.1, 100.0))
def test_power_is_the_mean_of_what_was_drawn(period_s: float, count: int, energy_mj: float) -> None:
    option, state = dataclasses.replace(OPTION, energy_mj=energy_mj), State()
    for number in range(count):
        state = observe(state, option, 2.0, number * period_s, SETTINGS)
    assert state.drawn.mw() == pytest.approx(energy_mj / period_s)


def test_power_forgets() -> None:
    state = State()
    for number in range(1200):
        option = dataclasses.replace(OPTION, energy_mj=8.0 if number < 600 else 2.0)
        state = observe(state, option, 2.0, number * 0.1, SETTINGS)
    assert state.drawn.mw() == pytest.approx(20.0 + 60.0 / (1.0 + math.exp(2.0)), rel=0.001)  # twice 30 s later


def test_one_inference_has_no_power() -> None:
    assert observe(State(), OPTION, 2.0, 0.0, SETTINGS).drawn.mw() is None


def test_late_is_about_latency_alone() -> None:
    assert late(Budget(latency_ms=2.0), 2.1) and not late(Budget(latency_ms=2.0), 2.0)
    assert not late(Budget(energy_mj=1.0), 1e9)


def event(number: int, **over: float) -> Event:
    return Event(
        time_s=number * 0.1, ended_s=number * 0.1 + 0.002, branch="full", reason="", switched=False, decide_ms=0.01,
        switch_ms=0.01, latency_ms=2.0, base_ms=2.0, slowdown=1.0, kept=not over, broken=over,
    )  # fmt: skip


def test_a_summary_says_how_often_and_how_far_each_limit_was_broken() -> None:
    events = [event(0), event(1, power_mw=4.0), event(2, power_mw=2.0, energy_mj=1.0), event(3)]
    facts = loop.summary(events)
    assert facts["kept"] == 0.5
    assert facts["broken"] == {
        "energy_mj": {"share": 0.25, "mean": 1.0, "worst": 1.0},
        "power_mw": {"share": 0.5, "mean": 3.0, "worst": 4.0},
    }
    assert loop.summary(events[:1])["broken"] == {} == loop.summary([])["broken"]
