"""Whether a model that was given knows something of the data: what decides that its weights stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from adascale_runtime.seams.recipe import parse
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.verbs.checks import knows_something


def reader(strength: float) -> ElasticNetwork:
    """A network that tells the class by the first of two numbers, if its strength is not 0; else it says class 0."""
    layers = tf_keras.layers
    x = layers.Input((2,), name="x")
    model = tf_keras.Model(x, layers.Dense(2, name="logits")(layers.Activation("linear", name="same")(x)))
    model.get_layer("logits").set_weights([np.array([[-strength, strength], [0, 0]]), np.array([0.01, 0.0])])
    return ElasticNetwork(model, [parse("full")])


def data(share: float, count: int = 400) -> Dataset:
    """Numbers whose sign is the class; ``share`` of them are of class 0."""
    y = (np.arange(count) >= share * count).astype(np.int64)
    x = np.stack([2.0 * y - 1, np.zeros(count)], 1).astype(np.float32)
    return Dataset("signs", ("minus", "plus"), {"kind": "array"}, x, y, x[:4], y[:4])


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_model_knows_something_if_it_beats_the_most_frequent_class(share: float) -> None:
    assert knows_something(reader(1.0), data(share))
    assert not knows_something(reader(0.0), data(share))  # all are class 0: right on its share of the examples


def test_luck_on_few_examples_is_not_knowledge() -> None:
    few = data(0.5, 4)
    x = few.x_train * np.array([[1], [1], [1], [-1]], np.float32)  # three of four right
    lucky = Dataset("few", few.labels, few.preprocessing, x, few.y_train, x, few.y_train)
    assert not knows_something(reader(1.0), lucky)
