"""Precision: how the converter writes weights and activations (Jacob et al., CVPR 2018, for the integer form)."""

from __future__ import annotations

from dataclasses import replace

from adascale_tf.errors import BadInput
from adascale_tf.operators import Plan, operator
from adascale_tf.recipe import Step


def _set(plan: Plan, step: Step) -> Plan:
    if step.strength is not None or step.block is not None:
        raise BadInput(f"Step '{step}' takes no strength and no block; write '{step.operator}'.")
    return replace(plan, precision=step.operator)


@operator("float16", "precision")
def float16(plan: Plan, step: Step) -> Plan:
    """Weights in float16, computed in float32 on CPUs: half the size."""
    return _set(plan, step)


@operator("dynamic", "precision")
def dynamic(plan: Plan, step: Step) -> Plan:
    """Weights in int8, activations quantized on the fly: a quarter of the size, no calibration."""
    return _set(plan, step)


@operator("int8", "precision")
def int8(plan: Plan, step: Step) -> Plan:
    """Weights, activations, input and output in int8, calibrated on real training data."""
    return _set(plan, step)
