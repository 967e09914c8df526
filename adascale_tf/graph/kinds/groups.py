"""Dependency groups during a graph walk: how layers create, pass on and join them."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from adascale_tf.graph.nodes import Node

#: The groups of a tensor's channels, in order.
Segments = tuple[int, ...]
_Shape = tuple[Any, ...]


class Groups:
    """Union-find over groups of channels."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._size: list[int] = []
        self._producers: list[tuple[str, ...]] = []
        self._fixed: list[bool] = []

    def new(self, size: int, producer: str, fixed: bool = False) -> int:
        """A new group of ``size`` channels that one layer makes."""
        self._parent.append(len(self._parent))
        self._size.append(size)
        self._producers.append((producer,))
        self._fixed.append(fixed)
        return len(self._parent) - 1

    def root(self, group: int) -> int:
        """The group that stands for all that were joined with this one."""
        while self._parent[group] != group:
            group = self._parent[group]
        return group

    @property
    def roots(self) -> list[int]:
        """The groups that stand for themselves, from the first on."""
        return [group for group, parent in enumerate(self._parent) if group == parent]

    def join(self, one: int, other: int) -> None:
        """Cut two groups together from now on."""
        one, other = self.root(one), self.root(other)
        if one != other:
            self._parent[other] = one
            self._producers[one] += self._producers[other]
            self._fixed[one] = self._fixed[one] or self._fixed[other]

    def fix(self, groups: Iterable[int]) -> None:
        """Keep all channels of some groups."""
        for group in groups:
            self._fixed[self.root(group)] = True

    def size(self, group: int) -> int:
        """How many channels a group has."""
        return self._size[self.root(group)]

    def producers(self, group: int) -> tuple[str, ...]:
        """The layers that make a group's channels."""
        return self._producers[self.root(group)]

    def fixed(self, group: int) -> bool:
        """Whether a group must keep its channels."""
        return self._fixed[self.root(group)]


def made(groups: Groups, node: Node, inputs: list[Segments], shapes: list[_Shape]) -> Segments | None:
    """Channels of its own, unless its convolution is grouped."""
    if node.config.get("groups", 1) != 1:
        return None
    if node.config.get("depth_multiplier", 1) != 1:
        groups.fix(inputs[0])
    return (groups.new(int(node.shape[-1] or 0), node.name),)


def kept(groups: Groups, node: Node, inputs: list[Segments], shapes: list[_Shape]) -> Segments | None:
    """The input's channels, one by one, if they are on the last axis."""
    if isinstance(node.config.get("scale"), (list, tuple)):
        return None  # a Rescaling with a value per channel
    axis = node.config.get("axis", -1)
    axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    last = axes in ([-1], [len(node.shape)]) and node.config.get("data_format") in (None, "channels_last")
    return inputs[0] if last else None


def kept_by_depthwise(groups: Groups, node: Node, inputs: list[Segments], shapes: list[_Shape]) -> Segments | None:
    """The input's channels, where each gives one."""
    return inputs[0] if node.config.get("depth_multiplier", 1) == 1 else None


def kept_by_reshape(groups: Groups, node: Node, inputs: list[Segments], shapes: list[_Shape]) -> Segments | None:
    """The input's channels, where one position is left and the last axis stays."""
    one = prod(int(n or 0) for n in node.shape[:-1]) == 1
    return inputs[0] if one and shapes[0][-1] == node.shape[-1] else None


def joined(groups: Groups, node: Node, inputs: list[Segments], shapes: list[_Shape]) -> Segments | None:
    """The channels of all inputs, each joined with those beside it."""
    if len({tuple(groups.size(group) for group in segments) for segments in inputs}) != 1:
        return None
    for other in inputs[1:]:
        for first, second in zip(inputs[0], other, strict=True):
            groups.join(first, second)
    return inputs[0]


def lined_up(groups: Groups, node: Node, inputs: list[Segments], shapes: list[_Shape]) -> Segments | None:
    """The channels of the inputs one after another."""
    if node.config.get("axis", -1) not in (-1, len(node.shape)):
        return None
    return tuple(group for segments in inputs for group in segments)


def repeated(groups: Groups, node: Node, inputs: list[Segments], shapes: list[_Shape]) -> Segments | None:
    """The channels of the input once for each of its positions."""
    return inputs[0] * prod(int(n or 0) for n in shapes[0][:-1])
