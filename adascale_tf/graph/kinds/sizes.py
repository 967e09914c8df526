"""Output shapes from input shapes, without the batch: the rules of layer kinds."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_tf.graph.kinds.record import Shape
from adascale_tf.graph.nodes import Node


def same(node: Node, inputs: list[Shape]) -> Shape:
    """The shape of the input."""
    return inputs[0]


def given(node: Node, inputs: list[Shape]) -> Shape:
    """The shape that the node has, as of an input of the network."""
    return node.shape


def windowed(node: Node, inputs: list[Shape]) -> Shape:
    """Positions of a sliding window, with the node's own channels."""
    return (*_positions(node.config, inputs[0][:-1]), node.shape[-1])


def pooled(node: Node, inputs: list[Shape]) -> Shape:
    """Positions of a sliding window, with the input's channels."""
    return (*_positions(node.config, inputs[0][:-1]), inputs[0][-1])


def pooled_globally(node: Node, inputs: list[Shape]) -> Shape:
    """One position, or none where the axes are dropped."""
    first = inputs[0]
    return (*(1,) * (len(first) - 1), first[-1]) if node.config.get("keepdims") else (first[-1],)


def padded(node: Node, inputs: list[Shape]) -> Shape:
    """More positions at both ends."""
    pairs = _pairs(node.config["padding"])
    return (*(n + sum(pair) for n, pair in zip(inputs[0][:-1], pairs, strict=True)), inputs[0][-1])


def cropped(node: Node, inputs: list[Shape]) -> Shape:
    """Fewer positions at both ends."""
    pairs = _pairs(node.config["cropping"])
    return (*(n - sum(pair) for n, pair in zip(inputs[0][:-1], pairs, strict=True)), inputs[0][-1])


def upsampled(node: Node, inputs: list[Shape]) -> Shape:
    """Each position several times."""
    first = inputs[0]
    factors = spread(node.config["size"], len(first) - 1)
    return (*(n * factor for n, factor in zip(first[:-1], factors, strict=True)), first[-1])


def resized(node: Node, inputs: list[Shape]) -> Shape:
    """The height and width of the configuration."""
    return (node.config["height"], node.config["width"], inputs[0][-1])


def flattened(node: Node, inputs: list[Shape]) -> Shape:
    """All values on one axis."""
    return (prod(inputs[0]),)


def reshaped(node: Node, inputs: list[Shape]) -> Shape | None:
    """The node's own shape, if it has as many values as the input."""
    return node.shape if prod(inputs[0]) == prod(n or 0 for n in node.shape) else None


def dense(node: Node, inputs: list[Shape]) -> Shape:
    """The input's positions with the node's own channels."""
    return (*inputs[0][:-1], node.shape[-1])


def recurrent(node: Node, inputs: list[Shape]) -> Shape:
    """One vector for each time step, or for the last one alone."""
    return (inputs[0][0], node.shape[-1]) if node.config.get("return_sequences") else (node.shape[-1],)


def concatenated(node: Node, inputs: list[Shape]) -> Shape:
    """The channels of all inputs at the positions of the first."""
    return (*inputs[0][:-1], sum(shape[-1] for shape in inputs))


def broadcast(node: Node, inputs: list[Shape]) -> Shape:
    """The largest size on each axis: a size of 1 is repeated."""
    return tuple(max(sizes) for sizes in zip(*inputs, strict=True))


def spread(value: Any, count: int) -> tuple[int, ...]:
    """A setting for each of ``count`` axes, given for each or once for all."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * count


def _positions(config: Mapping[str, Any], sizes: Shape) -> Shape:
    window = spread(config.get("kernel_size", config.get("pool_size")), len(sizes))
    strides = spread(config.get("strides") or window, len(sizes))
    dilation = spread(config.get("dilation_rate", 1), len(sizes))
    if config.get("padding", "valid") in ("same", "causal"):
        return tuple(-(-n // s) for n, s in zip(sizes, strides, strict=True))
    positions = tuple(
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(sizes, window, strides, dilation, strict=True)
    )
    if min(positions) < 1:
        raise BadInput(f"Layer '{config['name']}' needs an input of at least {window}, not {sizes}; keep it larger.")
    return positions


def _pairs(value: Any) -> list[tuple[int, int]]:
    if isinstance(value, int):
        return [(value, value)]
    values = list(value)
    if len(values) == 2 and all(isinstance(v, int) for v in values):
        return [(values[0], values[1])]
    return [(v, v) if isinstance(v, int) else (v[0], v[1]) for v in values]
