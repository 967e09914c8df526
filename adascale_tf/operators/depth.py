"""Depth: leave out residual blocks whose shortcut is the identity."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.seams.recipe import Step
from adascale_tf.graph.nodes import identity_blocks
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import nothing_to_do, number


@operator("depth", "structure", "depth(0.5)", strengths=("0.5",), at_blocks=True, formula="`x + f(x)` becomes `x`")
def apply(plan: Plan, step: Step) -> Plan:
    """Keep a share in (0, 1] of the removable residual blocks, the first of each block: ``depth(0.5)``.

    References:
        Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """
    share = number(step, 0.0, 1.0)
    pairs = [p for p in identity_blocks(plan.graph) if step.block in (None, plan.graph[p[0]].block)]
    if not pairs:
        raise nothing_to_do(step, "residual block to leave out")
    by_block: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        by_block.setdefault(plan.graph[pair[0]].block, []).append(pair)
    bypass = {add: shortcut for members in by_block.values() for add, shortcut in members[int(len(members) * share) :]}
    return replace(plan, graph=plan.graph.without(bypass))
