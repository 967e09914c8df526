"""Precision: how the converter writes weights and activations (Jacob et al., CVPR 2018, for the integer forms)."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator


def _set(plan: Plan, step: Step) -> Plan:
    if step.strength is not None or step.block is not None:
        raise BadInput(f"Step '{step}' takes no strength and no block; write '{step.operator}'.")
    return replace(plan, precision=step.operator)


@operator("float16", "precision", "float16")
def float16(plan: Plan, step: Step) -> Plan:
    """Weights in float16, computed in float32 on CPUs: half the size."""
    return _set(plan, step)


@operator("dynamic", "precision", "dynamic")
def dynamic(plan: Plan, step: Step) -> Plan:
    """Weights in int8, activations quantized on the fly: a quarter of the size, no calibration."""
    return _set(plan, step)


@operator("int8", "precision", "int8")
def int8(plan: Plan, step: Step) -> Plan:
    """Weights, activations, input and output in int8, calibrated on real training data."""
    return _set(plan, step)


@operator("int16x8", "precision", "int16x8")
def int16x8(plan: Plan, step: Step) -> Plan:
    """Weights in int8, activations in int16: for accuracy that int8 loses; XNNPACK leaves it to plain kernels."""
    return _set(plan, step)


@operator("qat", "precision", "qat")
def qat(plan: Plan, step: Step) -> Plan:
    """The int8 form after quantization-aware training by TF-MOT, starting from the shared weights."""
    if any(node.kind in ("GRU", "LSTM", "SimpleRNN", "Embedding", "LayerNormalization") for node in plan.graph.nodes):
        raise BadInput(f"Step '{step}' finds layers that TF-MOT cannot train quantized (recurrent ones); write 'int8'.")
    return _set(plan, step)
