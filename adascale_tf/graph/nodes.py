"""The network as data: layers and their connections, without TensorFlow.

Compression operators rewrite this graph; :mod:`adascale_tf.bridge.functional` reads it from a Keras model and builds
one from it. One node is one layer called once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from adascale_runtime.errors import BadInput


@dataclass(frozen=True)
class Node:
    """A layer: ``kind`` is its Keras class, ``config`` its constructor arguments, ``shape`` its output without batch.

    ``block`` is the part of the backbone it belongs to: the piece of its name before the first underscore.
    """

    name: str
    kind: str
    config: dict[str, Any]
    inputs: tuple[str, ...]
    shape: tuple[int | None, ...]

    @property
    def block(self) -> str:
        return self.name.split("_")[0]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order; ``outputs`` are the exits, from the earliest to the full depth."""

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __getitem__(self, name: str) -> Node:
        return self._named[name]

    @cached_property
    def _named(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The names of the input nodes."""
        return frozenset(node.name for node in self.nodes if node.kind == "InputLayer")

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """For every node the names of the nodes that read it."""
        readers: dict[str, tuple[str, ...]] = {node.name: () for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                readers[source] += (node.name,)
        return readers

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks' names, in order of appearance."""
        return tuple(dict.fromkeys(node.block for node in self.nodes))

    def check_block(self, block: str | None) -> None:
        """Refuse a block that the backbone does not have."""
        if block is not None and block not in self.blocks:
            raise BadInput(f"The backbone has no block '{block}'; it has {', '.join(self.blocks)}.")

    def only(self, outputs: Iterable[str]) -> Graph:
        """The graph that computes these outputs and nothing else."""
        wanted = tuple(outputs)
        needed = set(wanted)
        kept = []
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
                kept.append(node)
        return Graph(tuple(reversed(kept)), wanted)

    def without(self, bypass: Mapping[str, str]) -> Graph:
        """The graph in which each node of ``bypass`` is left out and its readers read the node it maps to."""

        def source(name: str) -> str:
            while name in bypass:
                name = bypass[name]
            return name

        nodes = tuple(
            replace(node, inputs=tuple(source(name) for name in node.inputs))
            for node in self.nodes
            if node.name not in bypass
        )
        return Graph(nodes, self.outputs).only(source(name) for name in self.outputs)

    def replaced(self, name: str, nodes: Iterable[Node]) -> Graph:
        """The graph with other nodes in the place of one; its readers read the last of them, named as it was."""
        return Graph(tuple(new for old in self.nodes for new in (nodes if old.name == name else (old,))), self.outputs)

    def inserted(self, after: str, new: Node) -> Graph:
        """The graph with ``new``, which reads ``after``, between it and all its readers."""
        nodes: list[Node] = []
        for node in self.nodes:
            inputs = tuple(new.name if name == after else name for name in node.inputs)
            nodes += [node, new] if node.name == after else [replace(node, inputs=inputs)]
        return Graph(tuple(nodes), self.outputs)

    def ancestors(self, name: str) -> set[str]:
        """The names of all nodes that ``name`` depends on."""
        names: set[str] = set()
        stack = list(self[name].inputs)
        while stack:
            current = stack.pop()
            if current not in names:
                names.add(current)
                stack.extend(self[current].inputs)
        return names


def identity_blocks(graph: Graph) -> tuple[tuple[str, str], ...]:
    """The residual blocks that can be left out: pairs (Add node, its shortcut), where the shortcut is untouched.

    An Add of two inputs qualifies if one input is an ancestor of the other: then the block computes
    ``shortcut + f(shortcut)``, and without ``f`` the shortcut has the same shape (He et al., 2016; Huang et al.,
    stochastic depth, 2016).
    """
    pairs = []
    for node in graph.nodes:
        if node.kind == "Add" and len(node.inputs) == 2:
            first, second = node.inputs
            if first in graph.ancestors(second):
                pairs.append((node.name, first))
            elif second in graph.ancestors(first):
                pairs.append((node.name, second))
    return tuple(pairs)
