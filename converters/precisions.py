"""Precisions: description, cost, requirements, and set-up of the TFLite converter for each.

A precision is declared once, by the function that sets up the converter; everything else reads its record: the step of
a recipe, the packing of files, predictors and estimates of energy. TensorFlow is imported inside the functions, because
they run in the converter's process while records are read everywhere.

References:
    Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2018.
    Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput
from adascale_runtime.seams.precisions import ARITHMETICS, arithmetic

#: The precision of a branch whose recipe names none.
FLOAT32 = "float32"
#: Sets up a ``tf.lite.TFLiteConverter``; ``calibration()`` gives real examples, as ``representative_dataset`` wants.
Configure = Callable[[Any, Callable[[], Iterator[Any]]], None]

#: 45 nm: float32 3.7 + 0.9 pJ, int8 0.2 + 0.03 pJ; twice that is assumed for 16-bit activations. Chips differ by an
#: order of magnitude; the ratio between branches is what such figures preserve.
HOROWITZ = "Horowitz, ISSCC 2014"


@dataclass(frozen=True)
class Precision:
    """A precision, as it was declared."""

    name: str
    """What recipes, manifests and measurements call it."""

    configure: Configure
    """Sets up the converter."""

    summary: str
    """One line for help and documentation."""

    references: tuple[str, ...]
    """The papers that it comes from."""

    formula: str
    """What becomes of the weights, in Markdown; empty where a formula says no more than the summary."""

    arithmetic: str
    """How multiplications are computed, one of :data:`~adascale_runtime.seams.precisions.ARITHMETICS`. Branches carry
    it in their manifest, so that a device predicts them without knowing the precision."""

    mac_pj: float
    """Energy of one multiply-accumulate in picojoules, for estimates where no meter is."""

    source: str
    """Where that figure comes from."""

    alone: bool
    """Whether each branch needs a file of its own: the converter gets it wrong where signatures share one."""

    calibrated: bool
    """Whether the converter needs real examples, for the ranges of activations."""

    trained: bool
    """Whether a branch is trained with fake quantization before it is converted; every layer of it must allow that."""

    searched: bool
    """Whether a search tries it."""

    exact: bool
    """Whether outputs may differ from the Keras network's by rounding only."""


#: The precisions by name, in the order of tables.
PRECISIONS: dict[str, Precision] = {}
_LISTENERS: list[Callable[[Precision], None]] = []


def precision(
    name: str,
    *,
    arithmetic: str,
    mac_pj: float,
    source: str = HOROWITZ,
    formula: str = "",
    alone: bool = False,
    calibrated: bool = False,
    trained: bool = False,
    searched: bool = True,
    exact: bool = False,
) -> Callable[[Configure], Configure]:
    """Declare a precision by the function that sets up the converter.

    The first line of its docstring is the summary, the lines under ``References:`` are its papers.

    Args:
        name: What recipes call it.
        arithmetic, mac_pj, source, formula, alone, calibrated, trained, searched, exact: See :class:`Precision`.

    Raises:
        BadInput: The name is taken, or the arithmetic is none.
    """
    if arithmetic not in ARITHMETICS:
        raise BadInput(f"Precision '{name}' has the arithmetic '{arithmetic}', not one of {', '.join(ARITHMETICS)}.")

    def register(configure: Configure) -> Configure:
        text = inspect.getdoc(configure) or ""
        papers = tuple(line.strip() for line in text.partition("References:\n")[2].splitlines() if line.strip())
        record = Precision(
            name, configure, text.split("\n")[0], papers, formula, arithmetic, mac_pj, source, alone, calibrated,
            trained, searched, exact,
        )  # fmt: skip
        plugins.claim("precisions", PRECISIONS, name, record, configure)
        for listener in _LISTENERS:
            listener(record)
        return configure

    return register


def each(listener: Callable[[Precision], None]) -> Callable[[Precision], None]:
    """Call a function with every precision that is declared, and with those that will be."""
    for record in PRECISIONS.values():
        listener(record)
    _LISTENERS.append(listener)
    return listener


def lookup(name: str) -> Precision:
    """The record of a precision; :class:`BadInput` lists the known ones."""
    if name not in PRECISIONS:
        plugins.load("precisions")
    if name not in PRECISIONS:
        raise BadInput(plugins.unknown("precisions", "precision", name, PRECISIONS))
    return PRECISIONS[name]


def of(name: str, told: str = "") -> Precision:
    """The record that estimates of energy are made with: of the precision, else of one with the same arithmetic.

    Args:
        name: The precision of a manifest or measurement, which may come from a machine with other plug-ins.
        told: Its ``cost.arithmetic``.

    Raises:
        BadInput: Nothing says how it computes.
    """
    if name not in PRECISIONS:
        plugins.load("precisions")
    if name in PRECISIONS:
        return PRECISIONS[name]
    kind = arithmetic(name, told)
    return next(record for record in PRECISIONS.values() if record.arithmetic == kind)


_INTEGERS = "`real = (stored − zero) · scale`"


@precision("float32", arithmetic="float", mac_pj=4.6, exact=True)
def float32(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    """Weights and activations in float32, as Keras has them."""


@precision("float16", arithmetic="float", mac_pj=4.6)
def float16(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    """Weights in float16, computed in float32 on CPUs: half the size.

    References:
        TensorFlow Lite, Post-training float16 quantization.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


@precision("dynamic", arithmetic="hybrid", mac_pj=0.23, formula=_INTEGERS)
def dynamic(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    """Weights in int8, activations quantized on the fly: a quarter of the size, no calibration.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]


@precision("int8", arithmetic="integer", mac_pj=0.23, formula=_INTEGERS, calibrated=True)
def int8(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    """Weights, activations, input and output in int8, calibrated on real training data.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


# No search tries int16x8: plain kernels are slower than float ones, and other precisions lose little accuracy.
# With several signatures the converter (TensorFlow 2.21) calibrates it wrongly.
@precision("int16x8", arithmetic="wide", mac_pj=0.46, formula=_INTEGERS, calibrated=True, alone=True, searched=False)
def int16x8(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    """Weights in int8, activations in int16: for accuracy that int8 loses; XNNPACK leaves it to plain kernels.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,  # float kernels for what has no int16 form
    ]


# No search tries it: a search does not train, and before training it is int8.
@precision(
    "qat", arithmetic="integer", mac_pj=0.23, formula="fake-quantized forward pass", calibrated=True, trained=True,
    searched=False,
)  # fmt: skip
def qat(converter: Any, calibration: Callable[[], Iterator[Any]]) -> None:
    """The int8 form after quantization-aware training by TF-MOT, up to 300 steps from the shared weights.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    int8(converter, calibration)  # the ranges of the fake-quantized operators are already known
