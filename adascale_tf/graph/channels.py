"""Dependency groups: which channels of which layers must be cut together, found in the graph.

Every tensor's last axis is a sequence of segments; each segment belongs to a group, and all segments of a group keep
the same channels. Add joins groups, Concatenate lines segments up, Flatten repeats them once per position. Groups that
reach the input, an output, or a layer whose rule is not known are fixed. (Cf. Fang et al., DepGraph, CVPR 2023.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from adascale_tf.graph.nodes import Graph, Node

#: Where a layer keeps its number of output channels.
WIDTH_ARGUMENT = {
    "Conv1D": "filters",
    "Conv2D": "filters",
    "SeparableConv1D": "filters",
    "SeparableConv2D": "filters",
    "Dense": "units",
    "GRU": "units",
    "LSTM": "units",
    "SimpleRNN": "units",
}
_JOIN = {"Add", "Multiply", "Subtract", "Average", "Maximum", "Minimum"}
_SAME = {
    "Activation", "AveragePooling1D", "AveragePooling2D", "BatchNormalization", "Cropping1D", "Cropping2D", "Dropout",
    "ELU", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "LayerNormalization", "LeakyReLU", "MaxPooling1D", "MaxPooling2D", "ReLU", "Rescaling", "SpatialDropout1D",
    "SpatialDropout2D", "UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D", "Resizing", "GaussianNoise",
    "GaussianDropout",
}  # fmt: skip

#: For each weight of a layer: what its axes follow, from the last axis backwards. "out*3" is three gates side by side.
_GATES = {"GRU": 3, "LSTM": 4, "SimpleRNN": 1}
_AXES: dict[str, dict[str, tuple[str, ...]]] = {
    "Conv1D": {"kernel": ("out", "in"), "bias": ("out",)},
    "Conv2D": {"kernel": ("out", "in"), "bias": ("out",)},
    "Dense": {"kernel": ("out", "in"), "bias": ("out",)},
    "DepthwiseConv2D": {"depthwise_kernel": ("", "in"), "bias": ("out",)},
    "SeparableConv1D": {"depthwise_kernel": ("", "in"), "pointwise_kernel": ("out", "in"), "bias": ("out",)},
    "SeparableConv2D": {"depthwise_kernel": ("", "in"), "pointwise_kernel": ("out", "in"), "bias": ("out",)},
    "BatchNormalization": dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), ("out",)),
    "LayerNormalization": {"gamma": ("out",), "beta": ("out",)},
    **{kind: {"kernel": ("gates", "in"), "recurrent_kernel": ("gates", "out"), "bias": ("gates",)} for kind in _GATES},
}


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


class _Builder:
    """Union-find over groups while the graph is walked once."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.size: list[int] = []
        self.producers: list[tuple[str, ...]] = []
        self.fixed: list[bool] = []

    def new(self, size: int, producer: str, fixed: bool = False) -> int:
        self.parent.append(len(self.parent))
        self.size.append(size)
        self.producers.append((producer,))
        self.fixed.append(fixed)
        return len(self.parent) - 1

    def find(self, group: int) -> int:
        while self.parent[group] != group:
            group = self.parent[group]
        return group

    def join(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[b] = a
            self.producers[a] += self.producers[b]
            self.fixed[a] = self.fixed[a] or self.fixed[b]

    def fix(self, groups: Iterable[int]) -> None:
        for group in groups:
            self.fixed[self.find(group)] = True


def analyse(graph: Graph) -> Channels:
    """Find the dependency groups of a graph."""
    builder = _Builder()
    segments: dict[str, tuple[int, ...]] = {}
    for node in graph.nodes:
        segments[node.name] = _output(builder, node, graph, [segments[name] for name in node.inputs])
    for name in graph.outputs:
        builder.fix(segments[name])
    roots = sorted({builder.find(g) for g in range(len(builder.parent))})
    number = {root: i for i, root in enumerate(roots)}
    groups = tuple(Group(builder.size[r], builder.producers[r], builder.fixed[r]) for r in roots)
    return Channels(groups, {n: tuple(number[builder.find(g)] for g in s) for n, s in segments.items()})


def _output(b: _Builder, node: Node, graph: Graph, inputs: list[tuple[int, ...]]) -> tuple[int, ...]:
    width = int(node.shape[-1] or 0)
    if node.kind in WIDTH_ARGUMENT and node.config.get("groups", 1) == 1:
        if node.config.get("depth_multiplier", 1) != 1:
            b.fix(inputs[0])
        return (b.new(width, node.name),)
    if (node.kind in _SAME and _last_axis(node)) or _keeps_channels(node, graph):
        return inputs[0]
    if node.kind in _JOIN and len({tuple(b.size[b.find(g)] for g in s) for s in inputs}) == 1:
        for other in inputs[1:]:
            for first, second in zip(inputs[0], other, strict=True):
                b.join(first, second)
        return inputs[0]
    if node.kind == "Concatenate" and node.config.get("axis", -1) in (-1, len(node.shape)):
        return tuple(group for piece in inputs for group in piece)
    if node.kind == "Flatten":
        return inputs[0] * prod(int(n or 0) for n in graph[node.inputs[0]].shape[:-1])
    for piece in inputs:
        b.fix(piece)
    return (b.new(width, node.name, fixed=True),)


def _last_axis(node: Node) -> bool:
    if isinstance(node.config.get("scale"), (list, tuple)):
        return False  # a Rescaling with a value per channel
    axis = node.config.get("axis", -1)
    axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    return axes in ([-1], [len(node.shape)]) and node.config.get("data_format") in (None, "channels_last")


def _keeps_channels(node: Node, graph: Graph) -> bool:
    if node.kind == "DepthwiseConv2D":
        return node.config.get("depth_multiplier", 1) == 1
    if node.kind == "Reshape":
        return prod(int(n or 0) for n in node.shape[:-1]) == 1 and graph[node.inputs[0]].shape[-1] == node.shape[-1]
    return False


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
        out = channels.index(node.name, keep)
        source = channels.index(node.inputs[0], keep) if node.inputs else out
        for weight, axes in _AXES.get(node.kind, {}).items():
            kept = _axes(node, axes, source, out, channels, graph)
            if any(k is not None for k in kept):
                missing = rank(node.name, weight) - len(kept)
                if missing >= 0:
                    views[node.name, weight] = (None,) * missing + tuple(reversed(kept))
        config = dict(node.config)
        if node.kind in WIDTH_ARGUMENT:
            config[WIDTH_ARGUMENT[node.kind]] = len(out)
        elif node.kind == "Reshape" and len(out) != node.shape[-1]:
            config["target_shape"] = (*config["target_shape"][:-1], len(out))
        nodes.append(replace(node, config=config, shape=(*node.shape[:-1], len(out))))
    return Graph(tuple(nodes), graph.outputs), views


def _axes(
    node: Node, axes: tuple[str, ...], source: np.ndarray, out: np.ndarray, channels: Channels, graph: Graph
) -> tuple[np.ndarray | None, ...]:
    full_out = sum(channels.groups[g].size for g in channels.segments[node.name])
    full_in = sum(channels.groups[g].size for g in channels.segments[node.inputs[0]]) if node.inputs else full_out
    kept: list[np.ndarray | None] = []
    for axis in axes:
        if axis == "in" and _changed(source, full_in):
            kept.append(source)
        elif axis == "out" and _changed(out, full_out):
            kept.append(out)
        elif axis == "gates" and _changed(out, full_out):
            kept.append(np.concatenate([gate * full_out + out for gate in range(_GATES[node.kind])]))
        else:
            kept.append(None)
    return tuple(kept)


def _changed(kept: np.ndarray, full: int) -> bool:
    return not np.array_equal(kept, np.arange(full))
