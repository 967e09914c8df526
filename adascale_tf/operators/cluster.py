"""Weight clustering by TF-MOT: few distinct values, which compress well."""

from __future__ import annotations

from functools import partial

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import kinds
from adascale_tf.graph.weights import Averaged, Choice
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import inner_layers, nothing_to_do


@operator(
    "cluster", "weights", "cluster(16)", strengths=("16",), at_blocks=True,
    formula="`W_j = mean of W over j's cluster`",
)  # fmt: skip
def apply(plan: Plan, step: Step) -> Plan:
    """Give each inner layer's kernel 2 to 256 distinct values: ``cluster(16)``.

    TF-MOT's clustering (k-means++) says which weights go together; each then has its cluster's mean.

    References:
        Han et al., Deep Compression, ICLR 2016.
    """
    text = step.strength or ""
    if not text.isdigit() or not 2 <= int(text) <= 256:
        raise BadInput(f"Step '{step}' needs a number of clusters from 2 to 256: cluster(16).")
    clusters = int(text)
    weights = {}
    for node in inner_layers(plan, step, lambda kind: kind.prunable):
        for name in kinds.of(node.kind).prunable:
            key = (node.name, name)
            choice = Choice(plan.weight(*key), partial(assign, clusters=clusters))
            weights[key] = (plan.ranks[key], Averaged(choice, clusters))
    if not weights:
        raise nothing_to_do(step, "layer to cluster")
    return plan.with_weights(weights)


def assign(value: np.ndarray, share: float, clusters: int) -> tuple[np.ndarray]:
    """The cluster of each element (int32, ``value``'s shape), by TF-MOT's clustering wrapper."""
    from tensorflow_model_optimization.clustering import keras as tfmot
    from tf_keras import layers

    matrix = value.reshape(-1, value.shape[-1])
    twin = layers.Dense(matrix.shape[1], use_bias=False)
    twin.build((None, matrix.shape[0]))
    twin.kernel.assign(matrix)
    wrapper = tfmot.cluster_weights(
        twin,
        number_of_clusters=clusters,
        cluster_centroids_init=tfmot.CentroidInitialization.LINEAR,
    )
    wrapper.build((None, matrix.shape[0]))
    wrapper.update_clustered_weights_associations()
    return (wrapper.pulling_indices["kernel"].numpy().astype(np.int32).reshape(value.shape),)
