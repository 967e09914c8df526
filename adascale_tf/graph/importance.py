"""Sorting channels by importance, so that the first share of every group is the best to keep.

A channel's importance is the L1 norm of the filters that make it (Li et al., Pruning Filters for Efficient ConvNets,
ICLR 2017), each layer's norms divided by their mean, summed over the layers of its dependency group. Sorting permutes
weights consistently and leaves the network's outputs as they are (Cai et al., Once-for-All, ICLR 2020).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adascale_tf.graph import channels, kinds
from adascale_tf.graph.nodes import Graph, Node
from adascale_tf.graph.weights import Key


def order(graph: Graph, weight: Callable[[Key], np.ndarray | None]) -> channels.Views:
    """The permutation of every weight's axes that sorts its network's channels; ``weight`` gives a value or None."""
    analysed = channels.analyse(graph)
    keep = {}
    for index, group in enumerate(analysed.groups):
        if not group.fixed:
            scores = [_scores(graph[producer], weight, group.size) for producer in group.producers]
            keep[index] = np.argsort(-np.sum(scores, axis=0), kind="stable")

    def rank(node: str, name: str) -> int:
        value = weight((node, name))
        return 0 if value is None else value.ndim

    return channels.cut(graph, analysed, keep, rank)[1]


def _scores(producer: Node, weight: Callable[[Key], np.ndarray | None], size: int) -> np.ndarray:
    filters = kinds.of(producer.kind).filters
    value = weight((producer.name, filters)) if filters else None
    if value is None:
        return np.zeros(size)
    # Gates of a recurrent layer lie side by side.
    norms = np.abs(value).reshape(-1, value.shape[-1] // size, size).sum((0, 1))
    return norms / max(float(norms.mean()), 1e-12)
