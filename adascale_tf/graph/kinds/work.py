"""Multiply-accumulates of one inference: the rules of layer kinds."""

from __future__ import annotations

from math import prod

from adascale_tf.graph.kinds.record import Shape
from adascale_tf.graph.kinds.sizes import spread
from adascale_tf.graph.nodes import Node


def convolution(node: Node, inputs: list[Shape]) -> int:
    """Positions x taps x input channels of a group x output channels."""
    return _positions(node) * _taps(node) * _width(inputs[0]) // int(node.config.get("groups", 1)) * _width(node.shape)


def depthwise(node: Node, inputs: list[Shape]) -> int:
    """Positions x taps x output channels."""
    return _positions(node) * _taps(node) * _width(node.shape)


def separable(node: Node, inputs: list[Shape]) -> int:
    """A depthwise convolution, then a pointwise one."""
    middle = _width(inputs[0]) * int(node.config.get("depth_multiplier", 1))
    return _positions(node) * middle * (_taps(node) + _width(node.shape))


def dense(node: Node, inputs: list[Shape]) -> int:
    """Positions x input channels x output channels."""
    return _positions(node) * _width(inputs[0]) * _width(node.shape)


def recurrent(node: Node, inputs: list[Shape], gates: int) -> int:
    """Steps x gates x units x (input channels + units)."""
    units = int(node.config["units"])
    return int(inputs[0][0] or 1) * gates * units * (_width(inputs[0]) + units)


def _positions(node: Node) -> int:
    return prod(int(n or 1) for n in node.shape[:-1])


def _taps(node: Node) -> int:
    return prod(spread(node.config.get("kernel_size", 1), len(node.shape) - 1))


def _width(shape: Shape) -> int:
    return int(shape[-1] or 0)
