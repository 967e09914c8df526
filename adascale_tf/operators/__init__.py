"""Compression operators: each turns a :class:`Plan` into a cheaper one. One file an operator, one registry.

To add one: a new file here with a function ``(plan, step) -> Plan`` under ``@operator("name", kind)``, and its import
at the end of this file. Kinds, in the order in which a recipe's steps must make sense:

* ``structure``: changes layers or widths; branches with the same structure form one *trunk* and are trained as one;
* ``exit``: where the branch ends;
* ``precision``: how the converter writes the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from adascale_tf.channels import Views
from adascale_tf.errors import BadInput
from adascale_tf.graph import Graph
from adascale_tf.recipe import Recipe, Step

FLOAT32 = "float32"


@dataclass(frozen=True)
class Plan:
    """A branch before it has weights.

    ``graph``: its layers. ``views``: which part of the backbone's weights it uses, whole where not listed. ``ranks``:
    number of axes of the backbone's weights. ``sparsity``: share of zeros to reach in each pruned layer's kernel.
    ``exit``: counts from 1. ``precision``: what the converter writes.
    """

    graph: Graph
    ranks: Mapping[tuple[str, str], int]
    views: Views = field(default_factory=dict)
    sparsity: Mapping[str, float] = field(default_factory=dict)
    exit: int = 0
    precision: str = FLOAT32


Apply = Callable[[Plan, Step], Plan]


@dataclass(frozen=True)
class Operator:
    """A registered operator."""

    name: str
    kind: str
    apply: Apply
    summary: str


OPERATORS: dict[str, Operator] = {}


def operator(name: str, kind: str) -> Callable[[Apply], Apply]:
    """Register an operator under the name that recipes use; its summary is the docstring's first line."""

    def register(apply: Apply) -> Apply:
        OPERATORS[name] = Operator(name, kind, apply, (apply.__doc__ or "").split("\n")[0])
        return apply

    return register


def check(recipe: Recipe) -> None:
    """Refuse unknown operators and combinations without meaning, with the reason."""
    for kind in ("exit", "precision"):
        named = [step for step in recipe.steps if lookup(step).kind == kind]
        if len(named) > 1:
            raise BadInput(f"Recipe '{recipe}' names two {kind} steps ({named[0]} and {named[1]}); keep one.")


def lookup(step: Step) -> Operator:
    """The operator of a step; :class:`BadInput` lists the known ones."""
    if step.operator not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise BadInput(f"There is no operator '{step.operator}'; choose among {known}.")
    return OPERATORS[step.operator]


def trunk(recipe: Recipe) -> Recipe:
    """The recipe's structure: what is trained as one network with all its exits."""
    return Recipe(tuple(step for step in recipe.steps if lookup(step).kind == "structure"))


def apply(plan: Plan, recipe: Recipe) -> Plan:
    """Apply a recipe's steps in order; without an exit step the branch ends at the last exit."""
    check(recipe)
    for step in recipe.steps:
        plan = lookup(step).apply(plan, step)
    if not plan.exit:
        last = len(plan.graph.outputs)
        plan = Plan(
            plan.graph.only(plan.graph.outputs[-1:]), plan.ranks, plan.views, plan.sparsity, last, plan.precision
        )
    return plan


def number(step: Step, low: float, high: float) -> float:
    """A step's strength as a number in (low, high]; :class:`BadInput` otherwise."""
    try:
        value = float(step.strength or "")
    except ValueError:
        raise BadInput(f"Step '{step}' needs a number in ({low:g}, {high:g}]: {step.operator}(0.5).") from None
    if not low < value <= high:
        raise BadInput(f"Step '{step}' has its strength outside ({low:g}, {high:g}].")
    return value


def compose(views: Views, cut: Views) -> Views:
    """Views of views: what ``cut`` leaves of what ``views`` left, as positions in the backbone's weights."""
    combined = dict(views)
    for key, axes in cut.items():
        before = views.get(key, (None,) * len(axes))
        combined[key] = tuple(_pick(b, a) for b, a in zip(before, axes, strict=True))
    return combined


def _pick(before: np.ndarray | None, after: np.ndarray | None) -> np.ndarray | None:
    if before is None or after is None:
        return after if before is None else before
    return before[after]


from adascale_tf.operators import depth, exit, precision, prune, width  # noqa: E402,F401  (fills the registry)
