"""Output shapes and multiply-accumulates of a graph's layers, without building them."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_tf.graph import kinds
from adascale_tf.graph.kinds import Shape
from adascale_tf.graph.nodes import Graph, Node


def infer(graph: Graph) -> Graph:
    """The graph with every node's shape computed from its inputs' shapes; an unknown layer is a :class:`BadInput`."""
    shapes: dict[str, Shape] = {}
    nodes = []
    for node in graph.nodes:
        rule = kinds.of(node.kind).shape
        shape = rule(node, [shapes[name] for name in node.inputs]) if rule else None
        if shape is None:
            raise BadInput(
                f"Layer '{node.name}' ({node.kind}) fixes the size of its input; leave out what changes that size."
            )
        shapes[node.name] = shape
        nodes.append(replace(node, shape=shape))
    return Graph(tuple(nodes), graph.outputs)


def macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference: convolutions, dense and recurrent layers; the rest is not counted."""
    return sum(layer_macs(graph, node) for node in graph.nodes)


def layer_macs(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of one layer."""
    return kinds.of(node.kind).macs(node, [graph[name].shape for name in node.inputs])
