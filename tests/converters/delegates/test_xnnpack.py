"""What XNNPACK takes, compared with what LiteRT gives it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from adascale_runtime.engines import accelerators
from adascale_runtime.engines.delegates import library
from adascale_runtime.seams.bundle import Bundle
from converters import flatbuffer
from converters.delegates import support
from converters.precisions import PRECISIONS
from tests.fixtures.operator_matrix import SIGNATURE, cases


def pieces(model: bytes) -> int | None:
    """How many pieces of a file LiteRT gives XNNPACK; None if LiteRT does not load it."""
    try:
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError):
        return None
    return sum(one["op_name"] == "DELEGATE" for one in interpreter._get_ops_details())


def test_every_file_of_the_matrix_goes_where_the_table_says() -> None:
    compared, wrong = 0, []
    for case in cases():
        found = pieces(case.model)
        if found is None:
            continue
        compared += 1
        told = support.support(case.model, SIGNATURE, "cpu")
        if (told.partitions, told.taken) != (found, found):
            wrong.append((case.name, found, told.words))
    assert compared > 3000
    assert not wrong


def test_branches_go_where_the_table_says(built: Bundle) -> None:
    for branch in built.manifest.branches:
        path = built.path(branch.file)
        found, _ = accelerators.taken(library(), str(path), branch.signature, "cpu")
        told = support.support(path.read_bytes(), branch.signature, "cpu")
        assert found is not None and branch.cost.ops == told.operators
        assert (found.nodes - found.delegated, found.partitions) == (told.operators - told.taken, told.partitions)
        assert told.taken == sum(o.delegated for o in flatbuffer.operators(path.read_bytes(), branch.signature))


def _networks() -> dict[str, Any]:
    import tf_keras as keras

    image = keras.Input((16, 16, 3), batch_size=1)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu6")(image)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Activation("swish")(keras.layers.add([x, y]))
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
    x = keras.layers.Conv2DTranspose(8, 3, strides=2, padding="same")(keras.layers.AveragePooling2D()(x))
    x = keras.layers.LeakyReLU()(keras.layers.Concatenate()([x, x]))
    mixed = keras.Model(image, keras.layers.Dense(5, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x)))
    row = keras.Input((6, 8), batch_size=1)
    steps = keras.layers.GRU(12, unroll=True)(row)
    return {"mixed": mixed, "gru": keras.Model(row, keras.layers.Dense(4)(steps))}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed", "gru"])
def test_converted_networks_go_where_the_table_says(name: str) -> None:
    import tensorflow as tf

    network = _networks()[name]
    shape = tuple(network.input_shape)
    rng = np.random.default_rng(0)
    examples = [rng.random(shape).astype(np.float32) for _ in range(8)]
    for precision in ("float32", "float16", "dynamic", "int8", "int16x8"):
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        PRECISIONS[precision].configure(converter, lambda: ([one] for one in examples))
        model = converter.convert()
        (signature,) = flatbuffer.signatures(model)
        told = support.support(model, signature, "cpu")
        assert told.partitions == pieces(model), (precision, told.words)
        assert re.fullmatch(r"[12]\.\d+\.\d+", support.min_runtime(model))
