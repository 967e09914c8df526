from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_tf.bridge.functional import read_graph
from adascale_tf.graph.nodes import Graph
from adascale_tf.network import create, heads


@pytest.fixture(scope="module")
def plain() -> Any:
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    image = layers.Input((16, 16, 3), name="input")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    for n in (8, 16, 16):
        y = layers.Conv2D(n, 3, padding="same", activation="relu")(x)
        z = layers.Conv2D(n, 1)(x)
        x = layers.Add()([y, z])
    return tf_keras.Model(image, layers.Dense(4)(layers.Flatten()(layers.AveragePooling2D(4)(x))), name="plain")


def test_exits_come_where_everything_passes(plain: Any) -> None:
    graph = read_graph(plain)
    found = heads.bottlenecks(graph)
    assert {graph[name].kind for name in found} == {"Conv2D", "Add", "AveragePooling2D"}
    for name in found:  # without it, nothing connects the input with the output
        rest = Graph(tuple(n for n in graph.nodes if n.name != name), graph.outputs)
        reached = set(graph.inputs)
        for node in rest.nodes:
            if reached & set(node.inputs):
                reached.add(node.name)
        assert graph.outputs[0] not in reached
    extended = heads.add_exits(graph)
    # Where about a third of the work is done; nothing ends near two thirds.
    assert extended.outputs == ("head1_logits", f"head2_{graph.outputs[0]}")
    assert set(extended.blocks) == {"input", "stage1", "stage2", "head1", "head2"}


def test_a_network_with_exits_is_still_itself(plain: Any) -> None:
    network = create.elastic(plain)
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(network.trunks[0].call(x, training=False)[-1], plain(x, training=False), atol=1e-5)
    assert len(network.recipes) >= 8


def test_a_head_says_what_the_features_say() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    features = np.eye(3)[labels] @ rng.normal(size=(3, 7)) + 0.1 * rng.normal(size=(600, 7))
    features = np.hstack([features, np.full((600, 1), 5.0)])  # one that never varies
    kernel, bias = heads.least_squares(features, labels, 3)
    assert np.isfinite(kernel).all() and kernel.shape == (8, 3)
    assert np.mean((features @ kernel + bias).argmax(1) == labels) > 0.99


def test_features_that_hardly_vary_get_no_large_weights() -> None:
    rng = np.random.default_rng(0)
    kernel, _ = heads.least_squares(1e-8 * rng.normal(size=(200, 5)), rng.integers(0, 3, 200), 3)
    assert np.abs(kernel).max() < 1.0


def test_fitted_heads_beat_guessing(plain: Any, digits: Any) -> None:
    from adascale_tf.data import Dataset

    x = np.repeat(digits.x_train[:400, ::2, ::2], 3, axis=-1)
    keep = digits.y_train[:400] < 4
    y = digits.y_train[:400][keep]
    data = Dataset("four", ("0", "1", "2", "3"), digits.preprocessing, x[keep], y, x[keep], y)
    network = create.elastic(plain, ["full"])
    create.fit_heads(network, data)
    logits = network.trunks[0].call(data.inputs(data.x_train), training=False)
    assert np.mean(np.asarray(logits[0]).argmax(-1) == y) > 0.6


def test_several_outputs_are_refused() -> None:
    image = tf_keras.Input((4, 4, 1))
    x = tf_keras.layers.Conv2D(2, 1)(image)
    with pytest.raises(BadInput, match="single output"):
        heads.add_exits(read_graph(tf_keras.Model(image, [x, tf_keras.layers.ReLU()(x)])))
