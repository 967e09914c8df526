"""Precisions as steps of a recipe: one for each that :mod:`converters.precisions` declares, plug-ins included."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.operators.plan import FLOAT32, Plan
from adascale_tf.operators.registry import operator
from converters import precisions
from converters.precisions import Precision

#: Layers that TF-MOT cannot train quantized.
_UNTRAINABLE = ("GRU", "LSTM", "SimpleRNN", "Embedding", "LayerNormalization")


@precisions.each
def declare(record: Precision) -> None:
    """Make an operator of a precision. What recipes leave unnamed has none."""
    if record.name == FLOAT32:
        return

    def step_to(plan: Plan, step: Step) -> Plan:
        if step.strength is not None or step.block is not None:
            raise BadInput(f"Step '{step}' takes no strength and no block; write '{step.operator}'.")
        if record.trained and any(node.kind in _UNTRAINABLE for node in plan.graph.nodes):
            raise BadInput(
                f"Step '{step}' finds layers that TF-MOT cannot train quantized (recurrent ones); write 'int8'."
            )
        return replace(plan, precision=record.name)

    step_to.__doc__ = record.configure.__doc__
    step_to.__module__, step_to.__qualname__ = record.configure.__module__, record.configure.__qualname__
    operator(record.name, "precision", record.name)(step_to)
