from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.budget import Budget, parse

positive = st.floats(1e-9, 1e12, allow_nan=False)
budgets = st.builds(
    Budget,
    latency_ms=st.none() | positive,
    energy_mj=st.none() | positive,
    memory_mb=st.none() | positive,
    min_accuracy=st.none() | st.floats(1e-6, 1.0),
)


@given(budgets, st.randoms(), st.sampled_from(["{}={!r}", " {} = {!r} "]))
def test_what_is_written_is_read(budget, random, form):
    pieces = [form.format(name, value) for name, value in budget.limits().items()]
    random.shuffle(pieces)
    if pieces:
        assert parse(",".join(pieces)) == budget


@given(st.text() | st.text(alphabet="latency_ms=5,.-e aif", max_size=40))
def test_any_text_is_a_budget_or_one_sentence(text):
    try:
        budget = parse(text)
    except BadInput as error:
        assert str(error).endswith(".")
    else:
        assert budget.limits()
        assert all(value > 0 for value in budget.limits().values())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "budget"),
        (" , ", "budget"),
        ("latency_ms", "latency_ms"),
        ("speed=3", "speed"),
        ("latency_ms=fast", "fast"),
        ("latency_ms=nan", "nan"),
        ("latency_ms=inf", "inf"),
        ("latency_ms=0", "latency_ms"),
        ("energy_mj=-1", "-1"),
        ("min_accuracy=90", "min_accuracy"),
        ("latency_ms=5,latency_ms=6", "twice"),
    ],
)
def test_refusals_name_the_piece(text, word):
    with pytest.raises(BadInput, match=word):
        parse(text)


def test_absent_limits_are_none():
    assert parse("latency_ms=5,min_accuracy=0.9") == Budget(latency_ms=5.0, min_accuracy=0.9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse("latency_ms=5").latency_ms = 6  # type: ignore[misc]
