"""Precisions as steps of a recipe: one for each that :mod:`converters.precisions` declares, plug-ins included."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import kinds
from adascale_tf.operators.plan import FLOAT32, Plan
from adascale_tf.operators.registry import operator
from converters import precisions
from converters.precisions import Precision


@precisions.each
def declare(record: Precision) -> None:
    """Make an operator of a precision, but none of the one that branches have if no step names another."""
    if record.name == FLOAT32:
        return

    def step_to(plan: Plan, step: Step) -> Plan:
        if step.strength is not None or step.block is not None:
            raise BadInput(f"Step '{step}' takes no strength and no block; write '{step.operator}'.")
        if record.trained and not all(kinds.of(node.kind).quantized_training for node in plan.graph.nodes):
            raise BadInput(
                f"Step '{step}' finds layers that TF-MOT cannot train quantized (recurrent ones); write 'int8'."
            )
        return replace(plan, precision=record.name)

    declared = record.configure
    step_to.__doc__, step_to.__module__, step_to.__qualname__ = (
        declared.__doc__, declared.__module__, declared.__qualname__
    )  # fmt: skip
    strengths = ("",) if record.searched else ()  # a precision has no strength
    operator(record.name, "precision", record.name, strengths=strengths, formula=record.formula)(step_to)
