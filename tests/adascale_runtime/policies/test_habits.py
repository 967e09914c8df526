"""Habits survive being written, and nothing that stands in their place becomes one."""

from __future__ import annotations

import json

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


@given(anything)
def test_anything_else_is_no_habit(data):
    assert habits.parse(data) == {}
