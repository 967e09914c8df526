"""Output shapes and multiply-accumulates of a graph's layers, without building them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_tf.graph.channels import WIDTH_ARGUMENT
from adascale_tf.graph.nodes import Graph, Node

Shape = tuple[Any, ...]
_WINDOWED = {
    "Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
    "MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D",
}  # fmt: skip
_ELEMENTWISE = {
    "Activation", "BatchNormalization", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "LayerNormalization",
    "LeakyReLU", "PReLU", "ReLU", "Rescaling", "Softmax", "SpatialDropout1D", "SpatialDropout2D",
}  # fmt: skip
_GATES = {"GRU": 3, "LSTM": 4, "SimpleRNN": 1}


def infer(graph: Graph) -> Graph:
    """The graph with every node's shape computed from its inputs' shapes; an unknown layer is a :class:`BadInput`."""
    shapes: dict[str, Shape] = {}
    nodes = []
    for node in graph.nodes:
        shapes[node.name] = _shape(node, [shapes[name] for name in node.inputs])
        nodes.append(replace(node, shape=shapes[node.name]))
    return Graph(tuple(nodes), graph.outputs)


def _shape(node: Node, inputs: list[Shape]) -> Shape:
    config = node.config
    if node.kind == "InputLayer":
        return node.shape
    first: Any = inputs[0]
    if node.kind in _WINDOWED:
        width = node.shape[-1] if node.kind in WIDTH_ARGUMENT or "Depthwise" in node.kind else first[-1]
        return (*_windowed(config, first[:-1]), width)
    if node.kind.startswith("ZeroPadding"):
        return (*(n + sum(p) for n, p in zip(first[:-1], _pairs(config["padding"]), strict=True)), first[-1])
    if node.kind.startswith("Cropping"):
        return (*(n - sum(p) for n, p in zip(first[:-1], _pairs(config["cropping"]), strict=True)), first[-1])
    if node.kind.startswith("UpSampling"):
        return (*(n * f for n, f in zip(first[:-1], _tuple(config["size"], len(first) - 1), strict=True)), first[-1])
    if node.kind.startswith("Global"):
        return (*(1,) * (len(first) - 1), first[-1]) if config.get("keepdims") else (first[-1],)
    if node.kind == "Resizing":
        return (config["height"], config["width"], first[-1])
    if node.kind == "Flatten":
        return (prod(first),)
    if node.kind == "Dense":
        return (*first[:-1], node.shape[-1])
    if node.kind in _GATES:
        return (first[0], node.shape[-1]) if config.get("return_sequences") else (node.shape[-1],)
    if node.kind == "Concatenate":
        return (*first[:-1], sum(shape[-1] for shape in inputs))
    if node.kind in ("Add", "Multiply", "Subtract", "Average", "Maximum", "Minimum"):
        return tuple(max(sizes) for sizes in zip(*inputs, strict=True))  # 1 is broadcast
    if node.kind in _ELEMENTWISE:
        return first
    if node.kind == "Reshape" and prod(first) == prod(n or 0 for n in node.shape):
        return node.shape
    raise BadInput(f"Layer '{node.name}' ({node.kind}) fixes the size of its input; leave out what changes that size.")


def _windowed(config: Mapping[str, Any], sizes: Shape) -> Shape:
    window = _tuple(config.get("kernel_size", config.get("pool_size")), len(sizes))
    strides = _tuple(config.get("strides") or window, len(sizes))
    dilation = _tuple(config.get("dilation_rate", 1), len(sizes))
    if config.get("padding", "valid") in ("same", "causal"):
        return tuple(-(-n // s) for n, s in zip(sizes, strides, strict=True))
    found = tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(sizes, window, strides, dilation, strict=True))
    if min(found) < 1:
        raise BadInput(f"Layer '{config['name']}' needs an input of at least {window}, not {sizes}; keep it larger.")
    return found


def _tuple(value: Any, count: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * count


def _pairs(value: Any) -> list[tuple[int, int]]:
    if isinstance(value, int):
        return [(value, value)]
    values = list(value)
    if len(values) == 2 and all(isinstance(v, int) for v in values):
        return [(values[0], values[1])]
    return [(v, v) if isinstance(v, int) else (v[0], v[1]) for v in values]


def macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference: convolutions, dense and recurrent layers; the rest is not counted."""
    return sum(layer_macs(graph, node) for node in graph.nodes)


def layer_macs(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of one layer."""
    if not node.inputs:
        return 0
    source, out = graph[node.inputs[0]].shape, node.shape
    config = node.config
    positions = prod(int(n or 1) for n in out[:-1])
    taps = prod(_tuple(config.get("kernel_size", 1), len(out) - 1))
    if node.kind in ("Conv1D", "Conv2D"):
        return positions * taps * int(source[-1] or 0) // int(config.get("groups", 1)) * int(out[-1] or 0)
    if node.kind.startswith("DepthwiseConv"):
        return positions * taps * int(out[-1] or 0)
    if node.kind.startswith("SeparableConv"):
        middle = int(source[-1] or 0) * int(config.get("depth_multiplier", 1))
        return positions * middle * (taps + int(out[-1] or 0))
    if node.kind == "Dense":
        return positions * int(source[-1] or 0) * int(out[-1] or 0)
    if node.kind in _GATES:
        units = int(config["units"])
        return int(source[0] or 1) * _GATES[node.kind] * units * (int(source[-1] or 0) + units)
    return 0
