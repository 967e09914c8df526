"""Dependency groups on graphs without TensorFlow, and on random Keras networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_tf.graph import channels
from adascale_tf.graph.nodes import Graph, Node, identity_blocks


def node(name: str, kind: str, shape: tuple[int, ...], *inputs: str, **config: Any) -> Node:
    return Node(name, kind, config, inputs, shape)


def residual() -> Graph:
    return Graph(
        (
            node("in", "InputLayer", (8, 8, 3)),
            node("a_conv", "Conv2D", (8, 8, 16), "in", filters=16),
            node("b_conv", "Conv2D", (8, 8, 24), "a_conv", filters=24),
            node("b_bn", "BatchNormalization", (8, 8, 24), "b_conv", axis=[3]),
            node("c_conv", "Conv2D", (8, 8, 16), "b_bn", filters=16),
            node("c_add", "Add", (8, 8, 16), "a_conv", "c_conv"),
            node("d_cat", "Concatenate", (8, 8, 40), "c_add", "b_bn", axis=-1),
            node("e_flat", "Flatten", (2560,), "d_cat"),
            node("e_out", "Dense", (10,), "e_flat", units=10),
        ),
        ("e_out",),
    )


def test_a_residual_joins_its_producers() -> None:
    found = channels.analyse(residual())
    joined = found.groups[found.segments["c_add"][0]]
    assert set(joined.producers) == {"a_conv", "c_conv"} and not joined.fixed
    assert found.groups[found.segments["in"][0]].fixed and found.groups[found.segments["e_out"][0]].fixed


def test_concatenation_and_flatten_keep_track_of_positions() -> None:
    graph = residual()
    found = channels.analyse(graph)
    first, second = found.segments["d_cat"]
    keep = {first: np.arange(8), second: np.arange(6)}
    assert list(found.index("d_cat", keep)) == [*range(8), *range(16, 22)]
    flat = found.index("e_flat", keep)
    assert len(flat) == 64 * 14 and list(flat[14:16]) == [40, 41]


def test_cutting_rewrites_widths_and_names_the_views() -> None:
    graph = residual()
    found = channels.analyse(graph)
    keep = {found.segments["b_conv"][0]: np.arange(12)}
    cut, views = channels.cut(graph, found, keep, lambda n, w: {"kernel": 2 if n == "e_out" else 4}.get(w, 1))
    assert cut["b_conv"].config["filters"] == 12 and cut["c_conv"].config["filters"] == 16
    assert cut["d_cat"].shape == (8, 8, 28) and cut["e_flat"].shape == (64 * 28,)
    assert [None if v is None else len(v) for v in views["b_conv", "kernel"]] == [None, None, None, 12]
    assert [None if v is None else len(v) for v in views["c_conv", "kernel"]] == [None, None, 12, None]
    assert ("a_conv", "kernel") not in views


def test_layers_without_a_rule_stay_whole() -> None:
    graph = Graph(
        (
            node("in", "InputLayer", (8,)),
            node("a", "Dense", (16,), "in", units=16),
            node("b", "Mystery", (16,), "a"),
            node("c", "Dense", (4,), "b", units=4),
        ),
        ("c",),
    )
    assert all(group.fixed for group in channels.analyse(graph).groups)


def test_identity_blocks_are_those_whose_shortcut_is_untouched() -> None:
    assert identity_blocks(residual()) == (("c_add", "a_conv"),)
    shorter = residual().without({"c_add": "a_conv"})
    assert "c_conv" not in [n.name for n in shorter.nodes] and shorter["d_cat"].inputs == ("a_conv", "b_bn")


@st.composite
def keras_models(draw: st.DrawFn) -> Any:
    """Small random functional networks with residuals, concatenations, depthwise layers and a dense or pooled head."""
    import tf_keras

    layers = tf_keras.layers
    x = image = layers.Input((8, 8, 3), name="image")
    for number in range(draw(st.integers(1, 4))):
        width = draw(st.sampled_from([4, 8, 12]))
        kind = draw(st.sampled_from(["conv", "residual", "concat", "depthwise", "bn"]))
        name = f"b{number}"
        if kind == "conv":
            x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{name}_conv")(x)
        elif kind == "residual":
            y = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{name}_conv1")(x)
            y = layers.Conv2D(x.shape[-1], 1, name=f"{name}_conv2")(y)
            x = layers.Add(name=f"{name}_add")([x, y])
        elif kind == "concat":
            y = layers.Conv2D(width, 1, name=f"{name}_conv")(x)
            x = layers.Concatenate(name=f"{name}_cat")([x, y])
        elif kind == "depthwise":
            x = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_dw")(x)
        else:
            x = layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))
    if draw(st.booleans()):
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    else:
        x = layers.Flatten(name="head_flat")(layers.AveragePooling2D(4, name="head_pool")(x))
    x = layers.Dense(12, activation="relu", name="head_dense")(x)
    return tf_keras.Model(image, layers.Dense(5, name="head_logits")(x))


@settings(max_examples=15, deadline=None)
@given(keras_models(), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_any_cut_of_a_random_network_runs_and_full_strength_is_the_parent(model: Any, share: float) -> None:
    from adascale_runtime.seams.recipe import parse
    from adascale_tf.network.elastic import ElasticNetwork

    recipe = parse(f"width({share})")
    network = ElasticNetwork(model, [recipe])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    branch = network.trunk(recipe).network(recipe)
    logits = branch(x, training=False).numpy()
    assert logits.shape == (2, 5) and np.isfinite(logits).all()
    np.testing.assert_allclose(logits, network.trunk(recipe).call(x, training=False)[0], atol=1e-5)
    if share == 1.0:
        np.testing.assert_allclose(logits, model(x, training=False), atol=1e-5)
    else:
        assert branch.count_params() < model.count_params()
