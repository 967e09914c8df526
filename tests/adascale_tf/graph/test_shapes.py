from __future__ import annotations

from typing import Any

import pytest
import tf_keras
from hypothesis import given, settings

from adascale_runtime.errors import BadInput
from adascale_tf.bridge.functional import read_graph
from adascale_tf.graph import shapes
from adascale_tf.graph.nodes import Graph, Node
from tests.adascale_tf.graph.test_channels import keras_models

L = tf_keras.layers


@settings(max_examples=15, deadline=None)
@given(keras_models())
def test_shapes_are_those_of_keras(model: Any) -> None:
    graph = read_graph(model)
    assert shapes.infer(graph) == graph


def test_every_windowed_layer_is_followed() -> None:
    x = image = L.Input((33, 30, 3))
    x = L.ZeroPadding2D(((0, 1), (2, 0)))(x)
    x = L.Conv2D(4, (3, 5), (2, 1))(x)
    x = L.Cropping2D(((1, 0), (0, 1)))(x)
    x = L.MaxPooling2D(3, 2, padding="same")(x)
    x = L.SeparableConv2D(6, 3, dilation_rate=2)(x)
    x = L.UpSampling2D((2, 1))(L.AveragePooling2D((1, 2))(x))
    x = L.Multiply()([x, L.Reshape((1, 1, 6))(L.GlobalMaxPooling2D()(x))])
    x = L.Concatenate()([x, L.DepthwiseConv2D(3, padding="same")(x)])
    graph = read_graph(tf_keras.Model(image, L.Dense(2)(L.Flatten()(L.Resizing(5, 4)(x)))))
    assert shapes.infer(graph) == graph


def test_sequences_are_followed() -> None:
    x = frames = L.Input((21, 5))
    x = L.AveragePooling1D(2)(L.Conv1D(4, 3, 2, padding="causal")(L.ZeroPadding1D(1)(L.Cropping1D(1)(x))))
    x = L.LSTM(3)(L.GRU(4, return_sequences=True)(x))
    graph = read_graph(tf_keras.Model(frames, x))
    assert shapes.infer(graph) == graph


def test_macs_are_counted_by_hand() -> None:
    x = image = L.Input((8, 8, 3))
    x = L.DepthwiseConv2D(3, padding="same")(L.Conv2D(4, 3, padding="same")(x))
    x = L.Dense(5)(L.Flatten()(x))
    graph = read_graph(tf_keras.Model(image, x))
    assert shapes.macs(graph) == 64 * 9 * 3 * 4 + 64 * 9 * 4 + 256 * 5
    frames = L.Input((7, 5))
    assert shapes.macs(read_graph(tf_keras.Model(frames, L.GRU(4)(frames)))) == 7 * 3 * 4 * (5 + 4)


def test_a_layer_that_fixes_sizes_is_named() -> None:
    image = Node("image", "InputLayer", {}, (), (4, 4, 2))
    odd = Node("odd", "Mystery", {}, ("image",), (4, 4, 2))
    with pytest.raises(BadInput, match=r"Layer 'odd' .Mystery. fixes the size"):
        shapes.infer(Graph((image, odd), ("odd",)))
