"""Examples that are in memory: arrays, pairs of splits, what a tf.data.Dataset yields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_tf import data
from adascale_tf.data import memory

X = np.arange(40 * 6, dtype=np.float32).reshape(40, 6)
Y = np.arange(40) % 4


def test_a_fifth_of_each_class_is_held_out_by_the_seed() -> None:
    found = memory.read((X, Y), seed=3)
    assert (len(found.x_train), len(found.x_test)) == (32, 8)
    assert sorted(found.y_test) == [0, 0, 1, 1, 2, 2, 3, 3]
    rows = np.concatenate([found.x_train, found.x_test])
    assert sorted(rows[:, 0]) == list(X[:, 0])
    assert np.array_equal(found.x_test, memory.read((X, Y), seed=3).x_test)
    assert not np.array_equal(found.x_test, memory.read((X, Y), seed=4).x_test)


def test_a_class_of_one_example_is_trained_and_not_tested() -> None:
    y = np.array([0, 0, 0, 1, 1, 2])
    found = memory.read((X[:6], y))
    assert 2 in found.y_train and sorted(found.y_test) == [0, 1]


def test_splits_as_keras_datasets_give_them() -> None:
    """Labels in a column, grey images without an axis for channels."""
    x = np.arange(8 * 9, dtype=np.uint8).reshape(8, 3, 3)
    found = data.load(((x, (Y[:8])[:, None]), (x[:4], Y[:4, None])))
    assert found.name == "arrays" and found.labels == ("0", "1", "2", "3")
    assert found.input_shape == (3, 3, 1) and found.preprocessing == {"kind": "array", "scale": 1 / 255}
    assert len(found.x_train) == 8 and list(found.y_test) == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [None, 7])
def test_a_stream_is_read_batched_or_not(size: int | None) -> None:
    import tensorflow as tf

    stream = tf.data.Dataset.from_tensor_slices((X, Y))
    found = memory.read((stream if size is None else stream.batch(size), (X[:4], Y[:4])))
    np.testing.assert_array_equal(found.x_train, X)
    np.testing.assert_array_equal(found.y_train, Y)
    assert len(found.x_test) == 4
    assert len(memory.read(stream).x_test) == 8


def test_a_dataset_is_taken_as_it_is() -> None:
    given = data.load((X, Y))
    assert data.load(given) is given


def _streams() -> dict[str, Any]:
    import tensorflow as tf

    pairs = tf.data.Dataset.from_tensor_slices((X, Y))
    return {
        "is endless": pairs.repeat(),
        "yields nothing": pairs.take(0),
        "does not yield pairs": pairs.map(lambda x, y: x),
    }


@pytest.mark.parametrize("sentence", ["is endless", "yields nothing", "does not yield pairs"])
def test_streams_that_are_none_are_refused(sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        memory.read(_streams()[sentence])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (X, "should be .*, not ndarray"),
        ((X, Y, X), "should be .*, not tuple"),
        (((X, Y), X), "its test split is not"),
        ((X, np.eye(4)[Y]), "should be whole numbers or names, not float64"),
        ((X, np.eye(4, dtype=int)[Y]), "one label per example"),
        ((X[:3], Y), "do not match"),
        ((X.astype(complex), Y), "should be uint8, or floats"),
        ((np.where(X == 5, np.nan, X), Y), "should be uint8, or floats without NaN"),
        ((X, np.zeros(40, int)), "at least two classes"),
        (((X, Y), (X[:, :3], Y)), "differ in shape"),
        ((X[:3], Y[:3]), "no empty arrays"),
    ],
)
def test_arrays_that_make_no_data_are_refused(given: Any, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        memory.read(given)


def test_a_stream_that_does_not_fit_is_refused_before_it_is_kept() -> None:
    import tensorflow as tf

    with archives.limit(500), pytest.raises(BadInput, match=r"The tf\.data\.Dataset"):
        memory.read(tf.data.Dataset.from_tensor_slices((X, Y)))
