"""Habits survive being written, and nothing that stands in their place becomes one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.policies import habits, pressure
from adascale_runtime.policies.pressure import Excesses

places = st.tuples(
    st.tuples(st.sampled_from(["cpu", "gpu", "nnapi", "reference"]), st.integers(1, 64)),
    st.integers(0, pressure.UNKNOWN),
)
counts = st.lists(st.floats(0, 1e6), min_size=pressure.LENGTHS, max_size=pressure.LENGTHS).map(
    lambda values: tuple(sorted(values, reverse=True))
)
known = st.dictionaries(places, st.tuples(counts, st.floats(0, 1e6)).map(lambda pair: Excesses(*pair)), max_size=6)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=16) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
)


@given(known)
def test_what_is_written_is_read(learned):
    assert habits.parse(json.loads(json.dumps(habits.to_json(learned)))) == learned


@given(known, st.data())
def test_a_damaged_entry_is_left_out_and_the_others_stay(learned, data):
    written = habits.to_json(learned)
    if written:
        name = data.draw(st.sampled_from(sorted(written)))
        written[name] = data.draw(anything)
    read = habits.parse(written)
    for place, had in read.items():
        assert all(0 <= less <= more for more, less in zip(had.counts, had.counts[1:], strict=False))
        assert place in learned
    assert len(read) >= len(learned) - 1


slowdowns = st.tuples(st.floats(*pressure.SLOWDOWNS), st.floats(-1e9, 1e9))
told = st.dictionaries(places.map(lambda place: place[0]), slowdowns, max_size=4)


@given(told)
def test_what_was_told_of_engines_is_read_as_it_was_written(slowdowns):
    assert habits.parse_told(json.loads(json.dumps(habits.told_to_json(slowdowns)))) == slowdowns


@given(told, anything)
def test_a_damaged_slowdown_is_left_out(slowdowns, damage):
    written = habits.told_to_json(slowdowns)
    for name in list(written)[:1]:
        written[name] = damage
    for engine, (slowdown, time_s) in habits.parse_told(written).items():
        assert engine in slowdowns and abs(time_s) <= 1e9
        assert pressure.SLOWDOWNS[0] <= slowdown <= pressure.SLOWDOWNS[1]
    assert habits.parse_told(damage) == {}


@given(slowdowns, st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1)), max_size=20))
def test_a_slowdown_that_was_told_holds_until_runs_say_more(one, runs):
    window, learning = pressure.begun(*one), pressure.Learning()
    assert window.mean() == pytest.approx(one[0]) and window.deviation() == 0.0
    assert pressure.begun(*one).decayed(one[1] + 60.0, learning.window_s).mean() == pytest.approx(1.0)
    known = pressure.Seen(window, pressure.NONE, pressure.NONE, pressure.Correction("a", 0.0, 0.0, 0.0))
    now = one[1]
    for latency_ms, step_s in runs:
        now += step_s
        known = pressure.seen(known, latency_ms, 1.0, now, learning)
        assert 0.0 < known.window.mean() < math.inf
        assert known.correction.factor() == 1.0  # no other option ran


@given(anything)
def test_anything_else_is_no_habit(data):
    assert habits.parse(data) == {}
