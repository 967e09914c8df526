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
