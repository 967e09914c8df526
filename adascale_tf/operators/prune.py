"""Magnitude pruning by TF-MOT (Zhu & Gupta, To prune, or not to prune, 2017): zeros that compress well."""

from __future__ import annotations

from dataclasses import replace

from adascale_tf.errors import BadInput
from adascale_tf.operators import Plan, number, operator
from adascale_tf.recipe import Step

PRUNABLE = ("Conv1D", "Conv2D", "Dense", "GRU", "LSTM")


@operator("prune", "structure")
def apply(plan: Plan, step: Step) -> Plan:
    """Zero a share in (0, 0.95] of each convolution's, dense or recurrent layer's smallest weights: ``prune(0.5)``.

    The heads and the first layer stay whole: they hold few weights and lose the most by it.
    """
    share = number(step, 0.0, 0.95)
    plan.graph.check_block(step.block)
    inputs = {node.name for node in plan.graph.nodes if node.kind == "InputLayer"}
    chosen = {
        node.name: share
        for node in plan.graph.nodes
        if node.kind in PRUNABLE
        and node.name not in plan.graph.outputs
        and not inputs & set(node.inputs)
        and step.block in (None, node.block)
    }
    if not chosen:
        raise BadInput(f"Step '{step}' finds no layer to prune; leave it out or choose another block.")
    return replace(plan, sparsity={**plan.sparsity, **chosen})
