"""Early exits for networks with one output: possible places, and a head for each.

A node can end a branch if every path from the input to the output runs through it. Heads are a global average and a
dense layer, fitted to the data by least squares before training, so that a new exit starts from what the features
already say.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_tf.graph import shapes
from adascale_tf.graph.nodes import Graph, Node

#: Early exits go where about these shares of the MACs are done.
PLACES = (1 / 3, 2 / 3)
_LEAST_SPREAD = 0.01


def bottlenecks(graph: Graph) -> tuple[str, ...]:
    """The nodes with positions left (images, sequences) that every path to the output runs through, in order."""
    position = {node.name: i for i, node in enumerate(graph.nodes)}
    last = {name: max((position[r] for r in readers), default=len(position)) for name, readers in graph.readers.items()}
    names, open_until = [], 0
    for i, node in enumerate(graph.nodes):
        if open_until <= i and node.inputs and len(node.shape) > 1 and prod(int(n or 1) for n in node.shape[:-1]) > 1:
            names.append(node.name)
        open_until = max(open_until, last[node.name])
    return tuple(names)


def add_exits(graph: Graph) -> Graph:
    """The graph with its layers named by stage and an exit at the end of each stage, the network's own one last.

    Layers become ``stage1_<name>``, ``stage2_<name>`` ..., those after the last feature map ``headN_<name>``: what
    recipes point at. Where no node can end a branch, the network stays with its own exit.
    """
    if len(graph.outputs) != 1:
        raise BadInput(f"The network has {len(graph.outputs)} outputs; give one with a single output.")
    ends = _ends(graph)
    block = _blocks(graph, ends)
    name = {node.name: f"{block[node.name]}_{node.name}" if node.inputs else node.name for node in graph.nodes}
    nodes = [
        replace(
            node,
            name=name[node.name],
            config={**node.config, "name": name[node.name]},
            inputs=tuple(name[source] for source in node.inputs),
        )
        for node in graph.nodes
    ]
    classes = int(graph[graph.outputs[0]].shape[-1] or 0)
    outputs = []
    for number, end in enumerate(ends, start=1):
        head = _head(graph[end], name[end], f"head{number}", classes)
        nodes += head
        outputs.append(head[-1].name)
    return Graph(tuple(nodes), (*outputs, name[graph.outputs[0]]))


def _ends(graph: Graph) -> list[str]:
    total = shapes.macs(graph)
    done, shares = 0, {}
    candidates = set(bottlenecks(graph))
    for node in graph.nodes:
        done += shapes.layer_macs(graph, node)
        if node.name in candidates:
            shares[node.name] = done / max(1, total)
    ends: list[str] = []
    for place in PLACES:
        near = [n for n, share in shares.items() if abs(share - place) < 0.15 and n not in ends]
        if near:
            best = min(near, key=lambda n: abs(shares[n] - place))
            # Of nodes after the same convolution the last one counts: normalised and activated features.
            ends.append([n for n in near if shares[n] == shares[best]][-1])
    return sorted(ends, key=list(shares).index)


def _blocks(graph: Graph, ends: list[str]) -> dict[str, str]:
    spatial = [i for i, node in enumerate(graph.nodes) if len(node.shape) > 1 and node.inputs]
    last = spatial[-1] if spatial else len(graph.nodes)
    stage, stages = 1, {}
    for i, node in enumerate(graph.nodes):
        stages[node.name] = f"stage{stage}" if i <= last else f"head{len(ends) + 1}"
        if stage <= len(ends) and node.name == ends[stage - 1]:
            stage += 1
    return stages


def _head(end: Node, source: str, name: str, classes: int) -> list[Node]:
    kind = "GlobalAveragePooling2D" if len(end.shape) == 3 else "GlobalAveragePooling1D"
    width = end.shape[-1]
    pool = Node(f"{name}_pool", kind, {"name": f"{name}_pool"}, (source,), (width,))
    dense = {"name": f"{name}_logits", "units": classes}
    return [pool, Node(f"{name}_logits", "Dense", dense, (pool.name,), (classes,))]


def least_squares(features: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A dense layer's kernel (features, classes) and bias from ridge regression of features (N, F) on labels (N,).

    The answers are scaled so that their softmax has the least cross-entropy on the same examples.
    """
    x = features.astype(np.float64)
    # What hardly varies says little, and would get weights that explode as soon as training moves the features.
    mean, spread = x.mean(0), np.maximum(x.std(0), _LEAST_SPREAD)
    z = (x - mean) / spread
    target = np.eye(classes)[labels] - 1 / classes
    ridge = 1e-2 * len(z) * np.eye(z.shape[1])
    kernel = np.linalg.solve(z.T @ z + ridge, z.T @ target)
    bias = target.mean(0)
    scale = min((1.0, 2.0, 4.0, 8.0, 16.0), key=lambda s: _cross_entropy(s * (z @ kernel + bias), labels))
    kernel = kernel / spread[:, np.newaxis]
    return (scale * kernel).astype(np.float32), (scale * (bias - mean @ kernel)).astype(np.float32)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    top = logits.max(1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    return float(np.mean(total - logits[np.arange(len(labels)), labels]))
