"""Functions that operators share: read a step's strength, find its layers, replace them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import kinds
from adascale_tf.graph.kinds import LayerKind
from adascale_tf.graph.nodes import Graph, Node
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import lookup


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


def named(name: str) -> Callable[[LayerKind], bool]:
    """The kind of this name, for :func:`inner_layers`."""
    return lambda kind: kind.name == name


def inner_layers(plan: Plan, step: Step, wanted: Callable[[LayerKind], object]) -> list[Node]:
    """The layers of the ``wanted`` kinds that a step is about; the first layers and the heads stay whole.

    They hold few weights and lose the most: the first sees the input's few channels, the heads give the classes.
    """
    return [
        node
        for node in plan.graph.nodes
        if wanted(kinds.of(node.kind))
        and node.name not in plan.graph.outputs
        and not plan.graph.inputs & set(_origin(plan.graph, node))
        and step.block in (None, node.block)
    ]


def rewrite_inner(
    plan: Plan, step: Step, wanted: Callable[[LayerKind], object], change: Callable[[Plan, Node], Plan], what: str
) -> Plan:
    """Change inner layers one by one; an error that says ``what`` was sought if ``change`` left all of them alone."""
    before = plan
    for node in inner_layers(plan, step, wanted):
        plan = change(plan, node)
    if plan is before:
        raise nothing_to_do(step, what)
    return plan


def _origin(graph: Graph, node: Node) -> tuple[str, ...]:
    """The nodes a layer reads, past those that only prepare the input (rescale, resize, pad, crop)."""
    names = node.inputs
    while len(names) == 1 and kinds.of(graph[names[0]].kind).prepares_input:
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
