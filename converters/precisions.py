"""Precisions: how the TFLite converter is set up for each. Runs in the converter's process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

Configure = Callable[[Any, Callable[[], Iterator[Any]]], None]
PRECISIONS: dict[str, Configure] = {}


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
