"""The validation split: whose examples it takes, and that it takes the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_tf.data import Dataset
from adascale_tf.data.validation import MOST, hold_out


def data(classes: list[int]) -> Dataset:
    """Examples that are their own number, so many of each class."""
    y = np.repeat(np.arange(len(classes)), classes)
    x = np.arange(len(y), dtype=np.float32)[:, None]
    return Dataset("numbered", tuple(map(str, range(len(classes)))), {"kind": "array"}, x, y, x[:2], y[:2])


@given(st.lists(st.integers(1, 300), min_size=2, max_size=8))
def test_every_example_is_in_one_split_and_every_class_keeps_most_of_its_own(classes: list[int]) -> None:
    whole = data(classes)
    split = hold_out(whole)
    both = np.concatenate([split.x_train[:, 0], split.x_val.reshape(-1)])
    assert sorted(both) == list(range(len(whole.y_train)))
    for label, count in enumerate(classes):
        assert np.sum(split.y_train == label) >= 0.9 * count
    again = hold_out(split)
    assert again is split
    np.testing.assert_array_equal(hold_out(whole).x_val, split.x_val)


def test_few_examples_are_all_trained_on_and_chosen_by() -> None:
    few = hold_out(data([50, 50]))
    assert not len(few.y_val) and few.validation[0] is few.x_train


@pytest.mark.parametrize("count", [20_000, 200_000])
def test_large_sets_give_a_bounded_share(count: int) -> None:
    split = hold_out(data([count // 2, count // 2]))
    assert 0.99 * MOST <= len(split.y_val) <= MOST
    assert split.validation[0] is split.x_val
