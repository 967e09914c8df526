"""Graphs of networks as files: plain JSON of stock layers, checked when written and when read.

What a layer starts from or is held to while it trains (initializers, regularizers, constraints) is left out, so a
configuration is numbers, words and lists of them, and building it runs no code but that of stock layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt
from adascale_tf.graph.nodes import Graph, Node
from adascale_tf.graph.stock import ACTIVATIONS, LAYERS

_LEFT_OUT = ("initializer", "regularizer", "constraint")
#: ``hard_sigmoid`` is the one of ``tf_keras``.
_ACTIVATIONS = ACTIVATIONS | {"hard_sigmoid", "relu6"}
_MOST = 1 << 31


def plain(graph: Graph, where: str) -> Graph:
    """The graph as it may be written; :class:`BadInput` names a layer that ``where`` cannot keep."""
    written = Graph(tuple(replace(node, config=_plain(node.config)) for node in graph.nodes), graph.outputs)
    check(written, where)
    return written


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if not key.endswith(_LEFT_OUT)}
    dtype = kept.get("dtype")
    if isinstance(dtype, dict):  # a policy
        kept["dtype"] = dtype.get("config", {}).get("name")
    return kept


def check(graph: Graph, where: str) -> None:
    """Refuse a graph that is not whole, or has anything else than stock layers with plain settings."""
    names: set[str] = set()
    for node in graph.nodes:
        fault = _fault(node, names)
        if fault:
            raise BadInput(f"{where}: layer '{excerpt(node.name)}' {fault}; use stock layers, or build it again.")
        names.add(node.name)
    lost = [name for name in graph.outputs if name not in names]
    if lost or not graph.outputs or not graph.inputs:
        raise BadInput(
            f"{where}: the network lacks {excerpt(', '.join(lost)) or 'an input or an output'}; build it again."
        )


def _fault(node: Node, before: set[str]) -> str:
    if node.name in before:
        return "appears twice"
    if node.kind not in LAYERS and node.kind != "InputLayer":
        return f"is a {excerpt(node.kind)}, which is not a known layer"
    if bool(node.inputs) == (node.kind == "InputLayer") or not before.issuperset(node.inputs):
        return "reads a layer that does not precede it"
    if any(n is not None and not 0 < n < _MOST for n in node.shape):
        return f"has the shape {excerpt(list(node.shape))}"
    if node.config.get("name", node.name) != node.name:
        return f"is also called {excerpt(node.config['name'])}"
    for key, value in node.config.items():
        known = value in _ACTIVATIONS if isinstance(value, str) else value is None
        if not _is_plain(value) or (key.endswith("activation") and not known):
            return f"has the {excerpt(key)} {excerpt(value)}, which is not a known setting"
    return ""


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, int) and not -_MOST < value < _MOST:
        return False
    return value is None or isinstance(value, (bool, int, float, str))
