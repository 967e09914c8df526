"""An operator: a step of a recipe that turns a plan into a cheaper one."""

from __future__ import annotations

from adascale_runtime.seams.recipe import Step
from adascale_tf.operators import Plan, lookup, operator


@operator("slim", "structure", "slim")
def slim(plan: Plan, step: Step) -> Plan:
    """Half of the channels: ``slim`` is short for ``width(0.5)``."""
    width = Step("width", "0.5", step.block)
    return lookup(width).apply(plan, width)
