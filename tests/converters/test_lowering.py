"""Activations without a kernel of their own keep their accuracy in eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adascale_runtime.seams.manifest import Verification
from converters import convert, flatbuffer, graphs, verify
from converters.delegates import support
from converters.lowering import lower


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).random((40, 8, 8, 3)).astype(np.float32)


def network(activation: str) -> Any:
    """Two convolutions whose outputs spread over tens, as trained ones do."""
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((8, 8, 3), name="image")
    x: Any = image
    for spread in (0.5, 0.2):
        start = tf_keras.initializers.RandomNormal(0, spread)
        x = tf_keras.layers.Conv2D(16, 3, padding="same", kernel_initializer=start, activation=activation)(x)
    return tf_keras.Model(image, tf_keras.layers.Dense(6)(tf_keras.layers.GlobalAveragePooling2D()(x)))


def compared(model: Any, mode: str, inputs: np.ndarray, folder: Path) -> tuple[Verification, convert.Converted]:
    from adascale_runtime.engines.delegates import opener

    class Branch:  # what a delegate reads of one
        def __init__(self, one: convert.Converted) -> None:
            self.input, self.output, self.signature = one.input, one.output, one.signature

    one = convert.convert({"net": model}, mode, inputs)["net"]
    (folder / "net.tflite").write_bytes(one.model)
    run: Any = opener("cpu")(folder / "net.tflite", Branch(one), 1, False)  # type: ignore[arg-type]
    return verify.compare(model.predict(inputs, verbose=0), verify.outputs(run, inputs)), one


@pytest.mark.parametrize("activation", ["selu", "softplus", "mish", "swish", "gelu", "elu"])
def test_int8_follows_every_curve(activation: str, inputs: np.ndarray, tmp_path: Path) -> None:
    facts, one = compared(network(activation), "int8", inputs, tmp_path)
    assert facts.agreement >= 0.95 and facts.max_abs_difference <= 0.02 * facts.output_range
    assert one.input.dtype == "int8"


@pytest.mark.parametrize("activation", ["selu", "softplus"])
def test_float32_computes_the_same(activation: str, inputs: np.ndarray, tmp_path: Path) -> None:
    facts, _ = compared(network(activation), "float32", inputs, tmp_path)
    assert facts.max_abs_difference <= 1e-5 * facts.output_range


def test_exponentials_stay_small(inputs: np.ndarray) -> None:
    one = convert.convert({"net": network("selu")}, "int8", inputs)["net"]
    graph = graphs.parse(one.model).subgraphs[0]
    kinds = [operator.kind for operator in flatbuffer.operators(one.model, "net")]
    assert "EXP" in kinds and "SELECT" not in kinds and "DEQUANTIZE" not in kinds
    outputs = [graph.tensors[o.outputs[0]] for o, kind in zip(graph.operators, kinds, strict=True) if kind == "EXP"]
    assert all(tensor.quantization.scale[0] <= 2 / 255 for tensor in outputs)


@pytest.mark.parametrize("name", ["selu", "softplus"])
def test_the_rewritten_graph_gives_the_same_values(name: str) -> None:
    x = np.concatenate([np.linspace(-90, 90, 721), [0.0]]).astype(np.float32)
    graph = tf.Graph()
    with graph.as_default():
        getattr(tf.nn, name)(tf.compat.v1.placeholder(tf.float32, [None], "x"), name="y")
    lowered = lower(graph.as_graph_def())
    assert not {"Selu", "Softplus"} & {node.op for node in lowered.node}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(lowered, name="")
        found = session.run("y:0", {"x:0": x})
    np.testing.assert_allclose(found, getattr(tf.nn, name)(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_gates_of_a_recurrent_cell_are_split_plainly_so_that_delegates_take_them(mode: str, tmp_path: Path) -> None:
    tf_keras.utils.set_random_seed(2)
    sequence = tf_keras.Input((6, 5), name="sequence")
    model = tf_keras.Model(sequence, tf_keras.layers.Dense(3)(tf_keras.layers.GRU(8, unroll=True)(sequence)))
    x = np.random.default_rng(0).normal(size=(40, 6, 5)).astype(np.float32)
    facts, one = compared(model, mode, x, tmp_path)
    kinds = [operator.kind for operator in flatbuffer.operators(one.model, "net")]
    assert "SPLIT" in kinds and "SPLIT_V" not in kinds
    assert facts.max_abs_difference <= (1e-5 if mode == "float32" else 0.05) * facts.output_range
    for delegate in ("cpu", "npu"):
        assert not any(r.kind == "SPLIT" for r in support.support(one.model, "net", delegate).refusals), delegate


@pytest.mark.parametrize(("sizes", "kind"), [((2, 2, 2), "Split"), ((2, 2, -1), "Split"), ((1, 2, 3), "SplitV")])
def test_splits_by_equal_sizes_become_plain_ones(sizes: tuple[int, ...], kind: str) -> None:
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    graph = tf.Graph()
    with graph.as_default():
        parts = tf.split(tf.compat.v1.placeholder(tf.float32, [2, 6], "x"), sizes, 1, name="y")
    lowered = lower(graph.as_graph_def(add_shapes=True))
    assert [node.op for node in lowered.node if node.name == "y"] == [kind]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(lowered, name="")
        found = session.run([part.name for part in parts], {"x:0": x})
    for part, wanted in zip(found, np.split(x, np.cumsum([2, 2] if kind == "Split" else [1, 2]), 1), strict=True):
        np.testing.assert_array_equal(part, wanted)
