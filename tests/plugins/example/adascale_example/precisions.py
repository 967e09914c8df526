"""A precision: how the converter writes the numbers of a branch. A step of recipes comes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from converters.precisions import precision


@precision("int8f", arithmetic="integer", mac_pj=0.25, source="an assumption of adascale-example", calibrated=True)
def int8f(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    """Weights and activations in int8, input and output in float32."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
