"""Rewrites of a frozen graph for operators that the TFLite converter lowers badly.

TFLite has no kernel for some curves, so the converter writes them with ``exp(x)`` of whatever x is. Its values reach
thousands where the curve itself is a straight line, and an 8-bit tensor that covers them has no step left for the part
that matters. Here ``exp`` is taken of numbers that are never positive, so its values lie between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

#: Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


class _Nodes:
    """The nodes that take the place of one."""

    def __init__(self, replaced: Any) -> None:
        self._name, self._type = replaced.name, replaced.attr["T"].type
        self.nodes: list[Any] = []

    def add(self, op: str, *inputs: str, name: str | None = None) -> str:
        """A node of the replaced one's type; ``name`` None for one inside."""
        own = name or f"{self._name}/lowered_{len(self.nodes)}"
        node = tf.compat.v1.NodeDef(op=op, name=own, input=inputs)
        node.attr["T"].type = self._type
        self.nodes.append(node)
        return own

    def constant(self, value: float) -> str:
        """A scalar of the replaced node's type."""
        name = f"{self._name}/lowered_{len(self.nodes)}"
        node = tf.compat.v1.NodeDef(op="Const", name=name)
        node.attr["dtype"].type = self._type
        dtype = tf.dtypes.as_dtype(self._type)
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.asarray(value, dtype.as_numpy_dtype), dtype))
        self.nodes.append(node)
        return name


def _selu(nodes: _Nodes, x: str, name: str) -> None:
    """``s * relu(x) + s * a * (exp(-relu(-x)) - 1)``; Minimum would put the same scale on both of its sides."""
    line = nodes.add("Mul", nodes.add("Relu", x), nodes.constant(_SELU_SCALE))
    rising = nodes.add("Relu", nodes.add("Mul", x, nodes.constant(-1.0)))
    power = nodes.add("Exp", nodes.add("Mul", rising, nodes.constant(-1.0)))
    curve = nodes.add("Mul", nodes.add("Sub", power, nodes.constant(1.0)), nodes.constant(_SELU_SCALE * _SELU_ALPHA))
    nodes.add("AddV2", line, curve, name=name)


def _softplus(nodes: _Nodes, x: str, name: str) -> None:
    """``relu(x) + log(1 + exp(-|x|))``."""
    falling = nodes.add("Mul", nodes.add("Abs", x), nodes.constant(-1.0))
    curve = nodes.add("Log", nodes.add("AddV2", nodes.add("Exp", falling), nodes.constant(1.0)))
    nodes.add("AddV2", nodes.add("Relu", x), curve, name=name)


_LOWERED: dict[str, Callable[[_Nodes, str, str], None]] = {"Selu": _selu, "Softplus": _softplus}


def _split(node: Any) -> Any | None:
    """The plain split that takes the place of one by sizes; None where these differ or are not known."""
    shapes = [[side.size for side in shape.dim] for shape in node.attr["_output_shapes"].list.shape]
    known = bool(shapes) and all(size >= 0 for size in shapes[0])
    if not known or any(shape != shapes[0] for shape in shapes):
        return None
    value, _, axis = node.input
    plain = tf.compat.v1.NodeDef(op="Split", name=node.name, input=[axis, value])
    for name in ("T", "num_split", "_output_shapes"):
        plain.attr[name].CopyFrom(node.attr[name])
    return plain


def lower(graph: Any) -> Any:
    """A ``GraphDef`` that computes the same, without the operators listed here; names of all others stay.

    Splits by sizes are rewritten where the graph tells the shapes (``as_graph_def(add_shapes=True)``).
    """
    lowered = tf.compat.v1.GraphDef()
    lowered.CopyFrom(graph)
    del lowered.node[:]
    for node in graph.node:
        if node.op not in _LOWERED:
            plain = _split(node) if node.op == "SplitV" else None
            lowered.node.append(node if plain is None else plain)
            continue
        nodes = _Nodes(node)
        _LOWERED[node.op](nodes, node.input[0], node.name)
        lowered.node.extend(nodes.nodes)
    return lowered
