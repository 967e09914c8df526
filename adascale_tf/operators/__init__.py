"""Compression operators: each turns a :class:`Plan` into a cheaper one. One file an operator, one registry.

To add one: a new file here with a function ``(plan, step) -> Plan`` under ``@operator("name", kind)``, and its import
at the end of this file. Kinds, in the order in which a recipe's steps must come:

* ``structure``: changes layers or widths;
* ``weights``: keeps the layers, limits their weights' values. It and ``structure`` make a *trunk*: branches that have
  them in common are trained as one;
* ``exit``: where the branch ends;
* ``precision``: how the converter writes the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, Step
from adascale_tf.graph.nodes import Graph, Node
from adascale_tf.graph.weights import Key, Weight, Whole

FLOAT32 = "float32"
KINDS = ("structure", "weights", "exit", "precision")


@dataclass(frozen=True)
class Plan:
    """A branch before it has weights.

    ``graph``: its layers. ``ranks``: number of axes of each of their weights. ``weights``: where they come from; what
    is not listed is the backbone's weight of the same name. ``exit``: counts from 1. ``precision``: what the converter
    writes.
    """

    graph: Graph
    ranks: Mapping[Key, int]
    weights: Mapping[Key, Weight] = field(default_factory=dict)
    exit: int = 0
    precision: str = FLOAT32

    def weight(self, node: str, name: str) -> Weight:
        """Where a weight comes from."""
        return self.weights.get((node, name), Whole((node, name)))

    def has(self, node: str, name: str) -> bool:
        """Whether a layer has this weight."""
        return (node, name) in self.ranks

    def with_weights(self, weights: Mapping[Key, tuple[int, Weight]]) -> Plan:
        """The plan with some weights, each given as (number of axes, expression), coming from elsewhere."""
        return replace(
            self,
            ranks={**self.ranks, **{key: rank for key, (rank, _) in weights.items()}},
            weights={**self.weights, **{key: weight for key, (_, weight) in weights.items()}},
        )


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


def lookup(step: Step) -> Operator:
    """The operator of a step; :class:`BadInput` lists the known ones."""
    if step.operator not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise BadInput(f"There is no operator '{step.operator}'; choose among {known}.")
    return OPERATORS[step.operator]


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
    found = []
    for step in recipe.steps:
        kind, after = lookup(step).kind, lookup(step).apply(plan, step)
        ends_last = kind == "exit" and after.exit == len(plan.graph.outputs)
        if ends_last or (kind == "structure" and _resized(after.graph) == _resized(plan.graph)):
            found.append(step)
        plan = after
    return found


def _resized(graph: Graph) -> Graph:
    """The graph without resizing and cropping to the very size that comes in."""
    kinds = ("Resizing", "Cropping1D")
    same = {n.name: n.inputs[0] for n in graph.nodes if n.kind in kinds and n.shape == graph[n.inputs[0]].shape}
    return graph.without(same)


def number(step: Step, low: float, high: float) -> float:
    """A step's strength as a number in (low, high]; :class:`BadInput` otherwise."""
    return parse_number(step, step.strength, low, high)


def parse_number(step: Step, text: str | None, low: float, high: float) -> float:
    """A part of a step's strength as a number in (low, high]; :class:`BadInput` otherwise."""
    try:
        value = float(text or "")
    except ValueError:
        raise BadInput(f"Step '{step}' needs a number in ({low:g}, {high:g}]: {lookup(step).example}.") from None
    if not low < value <= high:
        raise BadInput(f"Step '{step}' has its strength outside ({low:g}, {high:g}].")
    return value


def inner_layers(plan: Plan, step: Step, kinds: Iterable[str]) -> list[Node]:
    """The layers of some kinds that a step is about; the first layers and the heads stay whole.

    They hold few weights and lose the most: the first sees the input's few channels, the heads give the classes.
    """
    return [
        node
        for node in plan.graph.nodes
        if node.kind in kinds
        and node.name not in plan.graph.outputs
        and not plan.graph.inputs & set(_origin(plan.graph, node))
        and step.block in (None, node.block)
    ]


def rewrite_inner(
    plan: Plan, step: Step, kinds: Iterable[str], change: Callable[[Plan, Node], Plan], wanted: str
) -> Plan:
    """Change inner layers one by one; an error that says what was ``wanted`` if ``change`` left all of them alone."""
    before = plan
    for node in inner_layers(plan, step, kinds):
        plan = change(plan, node)
    if plan is before:
        raise nothing_to_do(step, wanted)
    return plan


def _origin(graph: Graph, node: Node) -> tuple[str, ...]:
    """The nodes a layer reads, past those that only prepare the input (rescale, resize, pad, crop)."""
    names = node.inputs
    while len(names) == 1 and graph[names[0]].kind in ("Rescaling", "Resizing", "ZeroPadding2D", "Cropping1D"):
        names = graph[names[0]].inputs
    return names


def nothing_to_do(step: Step, what: str) -> BadInput:
    """The refusal of a step that finds no layer it applies to."""
    return BadInput(f"Step '{step}' finds no {what}; leave it out or choose another block.")


def derived(node: Node, suffix: str, kind: str, shape: tuple[Any, ...], source: str, **config: Any) -> Node:
    """A layer in the place of ``node`` (no suffix) or beside it, in its block; reads ``source``."""
    name = f"{node.name}_{suffix}" if suffix else node.name
    return Node(name, kind, {"name": name, **config}, (source,), shape)


def pointwise(node: Node, suffix: str, filters: int, source: str, shape: tuple[Any, ...], **config: Any) -> Node:
    """A 1x1 convolution like :func:`derived`, without bias unless asked for."""
    settings = {"filters": filters, "kernel_size": (1,) * (len(shape) - 1), "use_bias": False, **config}
    return derived(node, suffix, "Conv1D" if len(shape) == 2 else "Conv2D", (*shape[:-1], filters), source, **settings)


from adascale_tf.operators import (  # noqa: E402,F401  (fills the registry)
    cluster,
    depth,
    exit,
    fire,
    ghost,
    lowrank,
    precision,
    prune,
    resolution,
    separable,
    steps,
    width,
)
