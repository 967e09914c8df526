"""One record a kind of layer: none is forgotten, and the records say what Keras does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adascale_tf.graph import channels, kinds, shapes, stock
from adascale_tf.graph.kinds import LAYER_KINDS, LayerKind
from adascale_tf.graph.nodes import Graph, Node

#: Kinds whose inputs keep all of their channels. A new kind has a rule for channels, or its name here.
WHOLE = {"DepthwiseConv1D", "Embedding", "InputLayer", "PReLU", "Permute", "Softmax"}
#: Kinds whose inputs keep their size.
SIZED = {"Embedding", "Permute"}
#: Settings that the constructor of a kind asks for.
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"filters": 6, "kernel_size": 3} for name in LAYER_KINDS if "Conv" in name},
    **{name: {"kernel_size": 3} for name in ("DepthwiseConv1D", "DepthwiseConv2D")},
    **{name: {"units": 6} for name in ("Dense", "GRU", "LSTM", "SimpleRNN")},
    **{name: {"rate": 0.5} for name in LAYER_KINDS if "Dropout" in name},
    "Activation": {"activation": "relu"},
    "Embedding": {"input_dim": 9, "output_dim": 6},
    "GaussianNoise": {"stddev": 0.5},
    "Permute": {"dims": (2, 1)},
    "Rescaling": {"scale": 0.5},
    "Reshape": {"target_shape": (1, 1, 384)},
    "Resizing": {"height": 5, "width": 4},
}


def built(kind: str) -> tuple[Any, Graph]:
    """A Keras model that calls one layer of a kind, and its graph."""
    import tf_keras

    from adascale_tf.bridge.functional import read_graph

    flat = kind.endswith("1D") or LAYER_KINDS[kind].gates or kind in ("Embedding", "Permute")
    shape = (8,) if kind == "Embedding" else (8, 6) if flat else (8, 8, 6)
    source = tf_keras.Input(shape, name="source")
    layer = getattr(tf_keras.layers, kind)(name="layer", **SETTINGS.get(kind, {}))
    model = tf_keras.Model(source, layer([source, source] if LAYER_KINDS[kind].joins else source))
    return model, read_graph(model)


def test_every_layer_of_the_allow_list_has_a_record() -> None:
    assert set(LAYER_KINDS) == stock.LAYERS | {"InputLayer"}


def test_every_kind_has_its_rules_or_is_listed_as_one_that_stays_whole() -> None:
    assert {name for name, kind in LAYER_KINDS.items() if kind.channels is None} == WHOLE
    assert {name for name, kind in LAYER_KINDS.items() if kind.shape is None} == SIZED


@pytest.mark.parametrize("kind", sorted(stock.LAYERS))
def test_a_record_says_what_keras_does(kind: str) -> None:
    from adascale_tf.bridge.functional import slots

    record = LAYER_KINDS[kind]
    model, graph = built(kind)
    if record.shape is not None:
        assert shapes.infer(graph) == graph
    assert record.width is None or graph["layer"].config[record.width] == 6
    ranks = {weight: len(slot.variable.shape) for (_, weight), slot in slots(model).items()}
    assert set(record.prunable) <= set(record.axes) <= set(ranks)
    assert all(len(axes) <= ranks[weight] for weight, axes in record.axes.items())
    if record.width:
        assert set(record.axes) == set(ranks), "a weight that no axes are known of would be cut wrongly"
        assert record.filters is not None and record.macs(graph["layer"], [graph["source"].shape]) > 0


@pytest.mark.parametrize("kind", sorted(name for name, record in LAYER_KINDS.items() if record.axes))
def test_a_cut_of_its_channels_gives_the_weights_that_keras_makes(kind: str) -> None:
    from adascale_tf.bridge.functional import build_model, slots

    model, graph = built(kind)
    ranks = {key: len(slot.variable.shape) for key, slot in slots(model).items()}
    analysed = channels.analyse(graph)
    keep = {index: np.arange(group.size)[1::2] for index, group in enumerate(analysed.groups)}
    small, views = channels.cut(graph, analysed, keep, lambda node, weight: ranks[node, weight])
    for key, slot in slots(build_model(small, "small")).items():
        value = slots(model)[key].variable.numpy()
        for number, kept in enumerate(views.get(key, ())):
            value = value if kept is None else value.take(kept, number)
        assert value.shape == slot.variable.shape, key


def test_a_kind_that_nobody_registered_stays_whole() -> None:
    record = kinds.of("Mystery")
    assert record.channels is None and record.shape is None and not record.axes and not record.prunable
    assert record.macs(Node("mystery", "Mystery", {}, ("in",), (4,)), [(4,)]) == 0


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(ValueError, match="Dense is registered already"):
        kinds.layer_kind(LayerKind("Dense"))
