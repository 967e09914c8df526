"""Apply recipes to a plan."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, Step
from adascale_tf.graph import kinds
from adascale_tf.graph.nodes import Graph
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import check, lookup


def trunk(recipe: Recipe) -> Recipe:
    """The recipe's structure and weights: what is trained as one network with all its exits."""
    return Recipe(tuple(step for step in recipe.steps if lookup(step).kind in ("structure", "weights")))


def structure(plan: Plan, recipe: Recipe) -> Plan:
    """Apply a recipe's steps in order, all exits kept if it names none."""
    check(recipe)
    for step in recipe.steps:
        plan.graph.check_block(step.block)
        plan = lookup(step).apply(plan, step)
    return plan


def apply(plan: Plan, recipe: Recipe) -> Plan:
    """Apply a recipe's steps in order; without an exit step the branch ends at the last exit."""
    plan = structure(plan, recipe)
    if not plan.exit:
        last = len(plan.graph.outputs)
        plan = replace(plan, graph=plan.graph.only(plan.graph.outputs[-1:]), exit=last)
    return plan


def idle_steps(plan: Plan, recipe: Recipe) -> list[Step]:
    """The steps of a recipe that change nothing in this network, such as ``width(1)`` or an exit at the last head."""
    idle = []
    for step in recipe.steps:
        kind, after = lookup(step).kind, lookup(step).apply(plan, step)
        ends_last = kind == "exit" and after.exit == len(plan.graph.outputs)
        if ends_last or (kind == "structure" and _resized(after.graph) == _resized(plan.graph)):
            idle.append(step)
        plan = after
    return idle


def applies(plan: Plan, recipe: Recipe) -> bool:
    """Whether a recipe can be applied, and every step of it changes something."""
    try:
        apply(plan, recipe)
    except BadInput:
        return False
    return not idle_steps(plan, recipe)


def _resized(graph: Graph) -> Graph:
    """The graph without resizing and cropping to the very size that comes in."""
    resizing = (node for node in graph.nodes if kinds.of(node.kind).only_resizes)
    return graph.without({n.name: n.inputs[0] for n in resizing if n.shape == graph[n.inputs[0]].shape})
