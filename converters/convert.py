"""Keras networks to .tflite: one file with a signature per network, or a file each, whichever is smaller.

Each network is frozen to a plain graph first: the converter then sees no Keras objects (a conversion takes under a
second instead of four), folds BatchNorm, and stores equal weights of several signatures once. Batch is always 1: a
dynamic batch breaks LiteRT's C API and the GPU and NNAPI delegates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files.disk import Unwritable, writing
from adascale_runtime.quiet import quiet_stderr
from adascale_runtime.seams.manifest import Cost, TensorSpec
from converters import flatbuffer, precisions, process
from converters.lowering import lower
from converters.precisions import Precision

OUTPUT = "logits"


@dataclass(frozen=True)
class Converted:
    """A signature that is ready to run."""

    model: bytes
    """The file's content."""

    signature: str
    """The signature's key in it."""

    input: TensorSpec
    output: TensorSpec

    size_bytes: int
    """The signature's size as a file of its own."""

    arithmetic: str = ""
    """How its multiplications are computed, see :mod:`adascale_runtime.seams.precisions`."""

    def cost(self) -> Cost:
        """What one inference costs, counted from the file."""
        return replace(flatbuffer.cost(self.model, self.signature), arithmetic=self.arithmetic)


def convert(
    networks: Mapping[str, tf_keras.Model], mode: str, calibration: np.ndarray, names: Mapping[str, str] | None = None
) -> dict[str, Converted]:
    """Convert single-output networks of one trunk, by signature key.

    ``calibration``: real inputs (N, ...), float32, for the integer precisions. ``names``: what a network is called in
    an error's sentence, by default its key. The networks share one file where that is smaller than a file each.

    :class:`AdaScaleError` names the network that the converter refuses or dies on; the converter runs in another
    process (:mod:`converters.process`).
    """
    return begin(networks, mode, calibration, names)()


def begin(
    networks: Mapping[str, tf_keras.Model], mode: str, calibration: np.ndarray, names: Mapping[str, str] | None = None
) -> Callable[[], dict[str, Converted]]:
    """Like :func:`convert`, but the converter works on while this process does something else; call the result."""
    record = precisions.lookup(mode)
    if record.alone and len(networks) > 1:
        return lambda: _each(networks, mode, calibration, names)
    pending = _begin_packed(networks, record, calibration)

    def finish() -> dict[str, Converted]:
        try:
            packed = pending()
        except (process.ConversionRefused, process.Died) as error:
            if len(networks) > 1:  # which of them is it?
                return _each(networks, mode, calibration, names)
            key = next(iter(networks))
            fault = (
                f"refuses it: {error}" if isinstance(error, process.ConversionRefused) else f"crashes on it ({error})"
            )
            raise AdaScaleError(
                f"Branch '{(names or {}).get(key, key)}' cannot be written as {mode}: the TFLite converter {fault}; "
                "leave this recipe out."
            ) from None
        return _choose(packed, list(networks), record)

    return finish


def _each(
    networks: Mapping[str, tf_keras.Model], mode: str, calibration: np.ndarray, names: Mapping[str, str] | None
) -> dict[str, Converted]:
    return {key: convert({key: model}, mode, calibration, names)[key] for key, model in networks.items()}


def _begin_packed(
    networks: Mapping[str, tf_keras.Model], precision: Precision, calibration: np.ndarray
) -> Callable[[], bytes]:
    """One .tflite with a signature for each network, once the converter is done."""
    holder = tempfile.TemporaryDirectory()
    folder = Path(holder.name)
    out = folder / "model.tflite"
    try:
        _save(networks, folder / "model")
        with writing(folder, "free some space or set TMPDIR"):
            np.save(folder / "calibration.npy", calibration if precision.calibrated else calibration[:0])
        inputs = {key: model.input.name for key, model in networks.items()}
        done = process.start().begin(
            "convert", out, model=str(folder / "model"), inputs=inputs, mode=precision.name,
            calibration=str(folder / "calibration.npy"),
        )  # fmt: skip
    except BaseException:
        holder.cleanup()
        raise

    def finish() -> bytes:
        with holder:
            done()
            return out.read_bytes()

    return finish


def _save(networks: Mapping[str, tf_keras.Model], folder: Path) -> None:
    with quiet_stderr():
        module = tf.Module()
        module.functions = {key: _freeze(model) for key, model in networks.items()}
        concrete = {key: function.get_concrete_function() for key, function in module.functions.items()}
        # The gradients of swish would be saved with what they capture, and its 'beta' cannot be.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        try:
            tf.saved_model.save(module, str(folder), signatures=concrete, options=options)
        except (OSError, tf.errors.OpError) as error:  # TensorFlow's file system has errors of its own
            reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0]
            raise Unwritable(f"{folder} cannot be written ({reason}); free some space or set TMPDIR.") from None


def _freeze(model: tf_keras.Model) -> Any:
    """The network with batch 1 as a function over a graph of constants."""
    name = model.input.name
    signature = tf.TensorSpec((1, *model.input.shape[1:]), tf.float32, name=name)
    traced = tf.function(lambda x: model(x, training=False), input_signature=[signature]).get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced)
    graph = lower(frozen.graph.as_graph_def(add_shapes=True))
    source, output = frozen.inputs[0].name.split(":")[0], frozen.outputs[0].name

    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: tf.graph_util.import_graph_def(graph, {source: x}, [output])[0]}

    return tf.function(run, input_signature=[signature])


def _choose(packed: bytes, keys: list[str], precision: Precision) -> dict[str, Converted]:
    alone = {key: flatbuffer.extract(packed, key) for key in keys}
    shared = len(packed) < sum(len(model) for model in alone.values())
    result = {}
    for key in keys:
        model = packed if shared else alone[key]
        source, output = flatbuffer.borders(alone[key], key)
        result[key] = Converted(model, key, source, output, len(alone[key]), precision.arithmetic)
    return result
