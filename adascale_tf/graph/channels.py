"""Dependency groups: which channels of which layers must be cut together, found in the graph.

Every tensor's last axis is a sequence of segments; each segment belongs to a group, and all segments of a group keep
the same channels. Add joins groups, Concatenate lines segments up, Flatten repeats them once per position: each kind
of layer has its rule (:mod:`adascale_tf.graph.kinds`). Groups that reach the input, an output, or a layer without a
rule are fixed. (Cf. Fang et al., DepGraph, CVPR 2023.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from adascale_tf.graph import kinds
from adascale_tf.graph.kinds.groups import Groups, Segments
from adascale_tf.graph.nodes import Graph, Node


@dataclass(frozen=True)
class Group:
    """Channels that are cut together: how many, by whom they are made, and whether they must stay."""

    size: int
    producers: tuple[str, ...]
    fixed: bool


@dataclass(frozen=True)
class Channels:
    """The groups of a graph, and for every node the groups of its output's segments."""

    groups: tuple[Group, ...]
    segments: Mapping[str, tuple[int, ...]]

    def index(self, node: str, keep: Mapping[int, np.ndarray]) -> np.ndarray:
        """The kept positions of a node's channel axis, given the kept channels of some groups."""
        pieces, offset = [], 0
        for group in self.segments[node]:
            size = self.groups[group].size
            pieces.append(offset + keep.get(group, np.arange(size)))
            offset += size
        return np.concatenate(pieces)


def analyse(graph: Graph) -> Channels:
    """Find the dependency groups of a graph."""
    groups = Groups()
    segments: dict[str, Segments] = {}
    for node in graph.nodes:
        segments[node.name] = _output(groups, node, graph, [segments[name] for name in node.inputs])
    for name in graph.outputs:
        groups.fix(segments[name])
    number = {root: i for i, root in enumerate(groups.roots)}
    members = tuple(Group(groups.size(root), groups.producers(root), groups.fixed(root)) for root in number)
    return Channels(members, {name: tuple(number[groups.root(g)] for g in s) for name, s in segments.items()})


def _output(groups: Groups, node: Node, graph: Graph, inputs: list[Segments]) -> Segments:
    rule = kinds.of(node.kind).channels
    segments = rule(groups, node, inputs, [graph[name].shape for name in node.inputs]) if rule else None
    if segments is not None:
        return segments
    for each in inputs:
        groups.fix(each)
    return (groups.new(int(node.shape[-1] or 0), node.name, fixed=True),)


#: For each weight of a node, by attribute: the kept positions of each axis, or None for the whole axis.
Views = Mapping[tuple[str, str], tuple[np.ndarray | None, ...]]


def cut(
    graph: Graph, channels: Channels, keep: Mapping[int, np.ndarray], rank: Callable[[str, str], int]
) -> tuple[Graph, Views]:
    """The graph with only the kept channels of some groups, in their order, and which part of each weight remains.

    ``rank(node, weight)`` is the weight's number of axes. Nodes without a cut axis do not appear in the views.
    """
    nodes, views = [], {}
    for node in graph.nodes:
        kind = kinds.of(node.kind)
        for weight, axes in kind.axes.items():
            kept = tuple(_kept(axis, node, channels, keep) for axis in axes)
            missing = rank(node.name, weight) - len(kept)
            if missing >= 0 and any(positions is not None for positions in kept):
                views[node.name, weight] = (None,) * missing + tuple(reversed(kept))
        width = len(channels.index(node.name, keep))
        nodes.append(replace(node, config=kind.config(node, width), shape=(*node.shape[:-1], width)))
    return Graph(tuple(nodes), graph.outputs), views


def _kept(axis: kinds.Axis, node: Node, channels: Channels, keep: Mapping[int, np.ndarray]) -> np.ndarray | None:
    """The kept positions of one axis of a weight, None for the whole axis."""
    if not axis.follows:
        return None
    name = node.name if axis.follows == "out" else node.inputs[axis.source]
    full = sum(channels.groups[group].size for group in channels.segments[name])
    positions = channels.index(name, keep)
    if np.array_equal(positions, np.arange(full)):
        return None
    return np.concatenate([time * full + positions for time in range(axis.times)])
