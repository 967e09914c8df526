"""The registry of operators, and which of them may stand together in a recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, Step
from adascale_tf.graph.nodes import Graph
from adascale_tf.operators.plan import Plan

#: The kinds of operators, in the order in which a recipe's steps must come.
KINDS = ("structure", "weights", "exit", "precision")

Apply = Callable[[Plan, Step], Plan]
#: Strengths as recipes spell them, "" for a step without one: fixed, or those that suit a graph.
Strengths = tuple[str, ...] | Callable[[Graph], Iterable[str]]


@dataclass(frozen=True)
class Operator:
    """A registered operator."""

    name: str
    """What recipes call it."""

    kind: str
    """One of :data:`KINDS`."""

    apply: Apply
    """Gives the plan after a step; :class:`BadInput` where the step makes no sense."""

    summary: str
    """What it does, in a line."""

    example: str
    """A step as text, for help and documentation."""

    formula: str
    """What becomes of the weights, in Markdown; empty where a formula says no more than the summary."""

    references: tuple[str, ...]
    """The papers that it comes from."""

    strengths: Strengths
    """What a search tries; nothing if empty."""

    at_blocks: bool
    """Whether a step may be limited to a block, which a search then tries too."""

    def steps(self, graph: Graph) -> Iterator[Step]:
        """The steps that a search tries on a graph: for the whole network, then block by block."""
        strengths = tuple(self.strengths(graph) if callable(self.strengths) else self.strengths)
        for block in (None, *graph.blocks) if self.at_blocks else (None,):
            for strength in strengths:
                yield Step(self.name, strength or None, block)


#: The operators by name, in the order of tables and of the steps that a search writes.
OPERATORS: dict[str, Operator] = {}


def operator(
    name: str, kind: str, example: str, *, formula: str = "", strengths: Strengths = (), at_blocks: bool = False
) -> Callable[[Apply], Apply]:
    """Register an operator.

    The first line of the function's docstring is the operator's summary, the lines under ``References:`` are its
    papers.

    Args:
        name: What recipes call it.
        kind: One of :data:`KINDS`.
        example: A step as text.
        formula: What becomes of the weights, in Markdown.
        strengths: What a search tries: texts such as ``"0.5"``, ``""`` for a step without a strength, or a function of
            the graph, whose docstring says in a few words which. Nothing by default.
        at_blocks: Whether a step may be limited to a block.

    Raises:
        BadInput: The name is taken.
        ValueError: There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"operator '{name}' is of the kind '{kind}', not one of {', '.join(KINDS)}")

    def register(apply: Apply) -> Apply:
        text = inspect.getdoc(apply) or ""
        summary = text.split("\n")[0]
        record = Operator(name, kind, apply, summary, example, formula, _references(text), strengths, at_blocks)
        plugins.claim("operators", OPERATORS, name, record, apply)
        return apply

    return register


def _references(text: str) -> tuple[str, ...]:
    """The lines under ``References:`` in a docstring, one paper each."""
    lines = text.partition("References:\n")[2].splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def lookup(step: Step) -> Operator:
    """The operator of a step; :class:`BadInput` lists the known ones."""
    if step.operator not in OPERATORS:
        plugins.load("operators", "precisions")
    if step.operator not in OPERATORS:
        raise BadInput(plugins.unknown("operators", "operator", step.operator, OPERATORS))
    return OPERATORS[step.operator]


def exclusive(one: Step, other: Step) -> bool:
    """Whether a recipe can have only one of two steps.

    A network has one exit and one precision, a layer one step that limits its weights, and no operator twice.
    """
    kind = lookup(one).kind
    overlap = None in (one.block, other.block) or one.block == other.block
    if kind == lookup(other).kind and kind != "structure":
        return overlap or kind != "weights"
    return overlap and one.operator == other.operator


def check(recipe: Recipe) -> None:
    """Refuse unknown operators and combinations without meaning, with the reason."""
    kinds = [lookup(step).kind for step in recipe.steps]
    for one, other in combinations(recipe.steps, 2):
        kind = lookup(one).kind
        if kind != "structure" and exclusive(one, other):
            raise BadInput(f"Recipe '{recipe}' names two {kind} steps ({one} and {other}); keep one.")
    for (before, first), (after, second) in pairwise(zip(recipe.steps, kinds, strict=True)):
        if KINDS.index(first) > KINDS.index(second):
            raise BadInput(
                f"In recipe '{recipe}', '{after}' changes what '{before}' has settled; write '{after}' first."
            )
    for one, other in combinations(recipe.steps, 2):
        if exclusive(one, other):
            raise BadInput(f"Recipe '{recipe}' names '{one.operator}' twice for the same layers; keep one strength.")
