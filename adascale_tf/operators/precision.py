"""Precision: how the converter writes weights and activations; :mod:`converters.precisions` sets it up."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import kinds
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator

#: A precision has one strength.
_ALONE = ("",)
_INTEGERS = "`real = (stored − zero) · scale`"


def _set(plan: Plan, step: Step) -> Plan:
    if step.strength is not None or step.block is not None:
        raise BadInput(f"Step '{step}' takes no strength and no block; write '{step.operator}'.")
    return replace(plan, precision=step.operator)


@operator("float16", "precision", "float16", strengths=_ALONE)
def float16(plan: Plan, step: Step) -> Plan:
    """Weights in float16, computed in float32 on CPUs: half the size.

    References:
        TensorFlow Lite, Post-training float16 quantization.
    """
    return _set(plan, step)


@operator("dynamic", "precision", "dynamic", strengths=_ALONE, formula=_INTEGERS)
def dynamic(plan: Plan, step: Step) -> Plan:
    """Weights in int8, activations quantized on the fly: a quarter of the size, no calibration.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    return _set(plan, step)


@operator("int8", "precision", "int8", strengths=_ALONE, formula=_INTEGERS)
def int8(plan: Plan, step: Step) -> Plan:
    """Weights, activations, input and output in int8, calibrated on real training data.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    return _set(plan, step)


# No search tries int16x8: a search judges accuracy before quantization, and plain kernels are slower than float ones.
@operator("int16x8", "precision", "int16x8", formula=_INTEGERS)
def int16x8(plan: Plan, step: Step) -> Plan:
    """Weights in int8, activations in int16: for accuracy that int8 loses; XNNPACK leaves it to plain kernels.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    return _set(plan, step)


@operator("qat", "precision", "qat", strengths=_ALONE, formula="fake-quantized forward pass")
def qat(plan: Plan, step: Step) -> Plan:
    """The int8 form after quantization-aware training by TF-MOT, up to 300 steps from the shared weights.

    References:
        Jacob et al., Integer-Arithmetic-Only Inference, CVPR 2018.
    """
    if not all(kinds.of(node.kind).quantized_training for node in plan.graph.nodes):
        raise BadInput(f"Step '{step}' finds layers that TF-MOT cannot train quantized (recurrent ones); write 'int8'.")
    return _set(plan, step)
