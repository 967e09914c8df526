"""The registry of operators, and which of them may stand together in a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, Step
from adascale_tf.operators.plan import Plan

#: The kinds of operators, in the order in which a recipe's steps must come.
KINDS = ("structure", "weights", "exit", "precision")

Apply = Callable[[Plan, Step], Plan]


@dataclass(frozen=True)
class Operator:
    """A registered operator. ``example``: a step as text, for help and documentation."""

    name: str
    kind: str
    apply: Apply
    summary: str
    example: str


OPERATORS: dict[str, Operator] = {}


def operator(name: str, kind: str, example: str) -> Callable[[Apply], Apply]:
    """Register an operator under the name that recipes use; its summary is the docstring's first line."""

    def register(apply: Apply) -> Apply:
        OPERATORS[name] = Operator(name, kind, apply, (apply.__doc__ or "").split("\n")[0], example)
        return apply

    return register


def lookup(step: Step) -> Operator:
    """The operator of a step; :class:`BadInput` lists the known ones."""
    if step.operator not in OPERATORS:
        plugins.load("operators", "precisions")
    if step.operator not in OPERATORS:
        raise BadInput(plugins.unknown("operators", "operator", step.operator, OPERATORS))
    return OPERATORS[step.operator]


def check(recipe: Recipe) -> None:
    """Refuse unknown operators and combinations without meaning, with the reason."""
    for kind in ("weights", "exit", "precision"):
        named = [step for step in recipe.steps if lookup(step).kind == kind]
        if len(named) > 1 and (kind != "weights" or not _apart(named)):
            raise BadInput(f"Recipe '{recipe}' names two {kind} steps ({named[0]} and {named[1]}); keep one.")
    for before, after in pairwise(recipe.steps):
        if KINDS.index(lookup(before).kind) > KINDS.index(lookup(after).kind):
            raise BadInput(
                f"In recipe '{recipe}', '{after}' changes what '{before}' has settled; write '{after}' first."
            )
    seen: dict[str, Step] = {}
    for step in recipe.steps:
        other = seen.setdefault(step.operator, step)
        if other is not step and (None in (step.block, other.block) or step.block == other.block):
            raise BadInput(f"Recipe '{recipe}' names '{step.operator}' twice for the same layers; keep one strength.")


def _apart(named: list[Step]) -> bool:
    blocks = [step.block for step in named]
    return None not in blocks and len(set(blocks)) == len(blocks)
