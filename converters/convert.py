"""Keras networks to .tflite: one file with a signature per network, or a file each, whichever is smaller.

Each network is frozen to a plain graph first: the converter then sees no Keras objects (a conversion takes under a
second instead of four), folds BatchNorm, and stores equal weights of several signatures once. Batch is always 1: a
dynamic batch breaks LiteRT's C API and the GPU and NNAPI delegates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from adascale_tf.bundle import TensorSpec
from adascale_tf.errors import AdaScaleError, BadInput
from adascale_tf.quiet import quiet_stderr
from converters import flatbuffer

OUTPUT = "logits"


@dataclass(frozen=True)
class Converted:
    """A signature ready to run: the file's content, its key, what goes in and out, its size as a file of its own."""

    model: bytes
    signature: str
    input: TensorSpec
    output: TensorSpec
    size_bytes: int


Configure = Callable[[Any, Callable[[], Iterator[Any]]], None]
PRECISIONS: dict[str, Configure] = {}
#: Precisions that the converter calibrates wrongly where a file has several signatures (TensorFlow 2.21).
_ALONE = ("int16x8",)


def precision(name: str) -> Callable[[Configure], Configure]:
    """Register how the TFLite converter is set up for a precision."""

    def register(configure: Configure) -> Configure:
        PRECISIONS[name] = configure
        return configure

    return register


@precision("float32")
def _float32(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    pass


@precision("float16")
def _float16(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


@precision("dynamic")
def _dynamic(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


@precision("int8")
def _int8(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


@precision("qat")
def _qat(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    _int8(converter, calibration)  # the ranges of the fake-quantized operators are already known


@precision("int16x8")
def _int16x8(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,  # float kernels for what has no int16 form
    ]


def convert(networks: Mapping[str, tf_keras.Model], mode: str, calibration: np.ndarray) -> dict[str, Converted]:
    """Convert single-output networks of one trunk, by signature key.

    ``calibration``: real inputs (N, ...), float32, for the integer precisions. The networks share one file where
    that is smaller than a file each.
    """
    if mode not in PRECISIONS:
        raise BadInput(f"There is no precision '{mode}'; choose among {', '.join(PRECISIONS)}.")
    if mode in _ALONE and len(networks) > 1:
        return {key: convert({key: model}, mode, calibration)[key] for key, model in networks.items()}
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        functions = {key: _freeze(model) for key, model in networks.items()}
        module = tf.Module()
        module.functions = functions
        concrete = {key: function.get_concrete_function() for key, function in functions.items()}
        tf.saved_model.save(module, folder, signatures=concrete)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(networks))
        names = {key: model.input.name for key, model in networks.items()}

        def representative() -> Iterator[Any]:
            for key, name in names.items():
                for example in calibration:
                    yield key, {name: example[np.newaxis]}

        PRECISIONS[mode](converter, representative)
        try:
            packed = bytes(converter.convert())
        except Exception as error:  # the converter raises its own and TensorFlow's kinds alike
            reason = str(error).strip().split("\n")[0]
            raise AdaScaleError(f"The converter refuses {', '.join(networks)} as {mode}: {reason}") from error
    return _choose(packed, list(networks))


def _freeze(model: tf_keras.Model) -> Any:
    """The network with batch 1 as a function over a graph of constants."""
    name = model.input.name
    signature = tf.TensorSpec((1, *model.input.shape[1:]), tf.float32, name=name)
    traced = tf.function(lambda x: model(x, training=False), input_signature=[signature]).get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced)
    graph = frozen.graph.as_graph_def()
    source, output = frozen.inputs[0].name.split(":")[0], frozen.outputs[0].name

    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: tf.graph_util.import_graph_def(graph, {source: x}, [output])[0]}

    return tf.function(run, input_signature=[signature])


def _choose(packed: bytes, keys: list[str]) -> dict[str, Converted]:
    alone = {key: flatbuffer.extract(packed, key) for key in keys}
    shared = len(packed) < sum(len(model) for model in alone.values())
    result = {}
    for key in keys:
        model = packed if shared else alone[key]
        source, output = flatbuffer.borders(alone[key], key)
        result[key] = Converted(model, key, source, output, len(alone[key]))
    return result
