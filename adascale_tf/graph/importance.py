"""Sort channels by importance, so that the first share of every group is the best to keep.

A channel's importance is the L1 norm of the filters that make it (Li et al., Pruning Filters for Efficient ConvNets,
ICLR 2017), each layer's norms divided by their mean, summed over the layers of its dependency group. Sorting permutes
weights consistently and leaves the network's outputs as they are (Cai et al., Once-for-All, ICLR 2020).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adascale_tf.graph import channels
from adascale_tf.graph.nodes import Graph
from adascale_tf.graph.weights import Key

_KERNELS = ("kernel", "pointwise_kernel")


def order(graph: Graph, weight: Callable[[Key], np.ndarray | None]) -> channels.Views:
    """The permutation of every weight's axes that sorts its network's channels; ``weight`` gives a value or None."""
    found = channels.analyse(graph)
    keep = {}
    for index, group in enumerate(found.groups):
        if not group.fixed:
            scores = [_scores(weight, producer, group.size) for producer in group.producers]
            keep[index] = np.argsort(-np.sum(scores, axis=0), kind="stable")

    def rank(node: str, name: str) -> int:
        value = weight((node, name))
        return 0 if value is None else value.ndim

    return channels.cut(graph, found, keep, rank)[1]


def _scores(weight: Callable[[Key], np.ndarray | None], producer: str, size: int) -> np.ndarray:
    for name in _KERNELS:
        value = weight((producer, name))
        if value is not None:  # gates of a recurrent layer lie side by side
            norms = np.abs(value).reshape(-1, value.shape[-1] // size, size).sum((0, 1))
            return norms / max(float(norms.mean()), 1e-12)
    return np.zeros(size)
