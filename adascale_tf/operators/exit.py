"""Early exit: end the branch at one of the backbone's heads."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph.nodes import Graph
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator


def _early(graph: Graph) -> tuple[str, ...]:
    """each exit but the last"""
    return tuple(str(number) for number in range(1, len(graph.outputs)))


@operator("exit", "exit", "exit(1)", strengths=_early, formula="`softmax(A·pool(x) + b)`")
def apply(plan: Plan, step: Step) -> Plan:
    """End at exit 1, 2, ... counted from the input: ``exit(2)``.

    A model without early exits gets heads where one node carries everything, fitted by ridge regression.

    References:
        Teerapittayanon et al., BranchyNet, ICPR 2016.
    """
    count = len(plan.graph.outputs)
    if not (step.strength or "").isdigit() or not 1 <= int(step.strength or 0) <= count:
        raise BadInput(f"Step '{step}' should name one of the backbone's exits, exit(1) to exit({count}).")
    if step.block is not None:
        raise BadInput(f"Step '{step}' cannot be limited to a block; write exit({step.strength}).")
    chosen = int(step.strength or 0)
    return replace(plan, graph=plan.graph.only(plan.graph.outputs[chosen - 1 : chosen]), exit=chosen)
