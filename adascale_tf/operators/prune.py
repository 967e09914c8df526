"""Magnitude pruning by TF-MOT: zeros that compress well."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import kinds
from adascale_tf.graph.weights import Choice, Product
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import inner_layers, nothing_to_do, parse_number

#: How the elements of a weight of this many axes are multiplied with its mask.
_ELEMENTWISE = {2: "io,io->io", 3: "wio,wio->wio", 4: "hwio,hwio->hwio"}


@operator("prune", "weights", "prune(0.5)", strengths=("0.5", "2:4"), at_blocks=True, formula="`W ⊙ mask(W)`")
def apply(plan: Plan, step: Step) -> Plan:
    """Zero a share in (0, 0.95] of each inner layer's smallest weights: ``prune(0.5)``, blocks ``prune(0.5:4x1)``.

    ``prune(2:4)`` zeroes two of every four weights along the input channels. Blocks are inputs x outputs.

    References:
        Zhu and Gupta, To prune, or not to prune, 2017.
    """
    choose = _choose(step)
    weights = {}
    for node in inner_layers(plan, step, lambda kind: kind.prunable):
        for name in kinds.of(node.kind).prunable:
            rank = plan.ranks[node.name, name]
            weights[node.name, name] = (rank, Product(Choice(plan.weight(node.name, name), choose), _ELEMENTWISE[rank]))
    if not weights:
        raise nothing_to_do(step, "layer to prune")
    return plan.with_weights(weights)


def _choose(step: Step) -> Callable[[np.ndarray, float], tuple[np.ndarray, ...]]:
    text = step.strength or ""
    if re.fullmatch(r"\d+:\d+", text):
        if text != "2:4":
            raise BadInput(f"Step '{step}' names the pattern {text}, but kernels exist only for 2:4; write prune(2:4).")
        return partial(mask, sparsity=0.5, block=(1, 1), pattern=(2, 4))
    share, _, shape = text.partition(":")
    sides = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", shape or "1x1")
    if sides is None:
        raise BadInput(f"Step '{step}' has a block that is not HEIGHTxWIDTH; write prune(0.5:4x1).")
    sparsity = parse_number(step, share, 0.0, 0.95)
    return partial(mask, sparsity=sparsity, block=(int(sides[1]), int(sides[2])), pattern=None)


def mask(
    value: np.ndarray, share: float, sparsity: float, block: tuple[int, int], pattern: tuple[int, int] | None
) -> tuple[np.ndarray]:
    """The 0/1 mask that TF-MOT's pruning wrapper chooses for a kernel, seen as a matrix (inputs, outputs).

    ``share`` in [0, 1] of ``sparsity`` is reached; a pattern comes whole once half of the way is gone. A kernel that
    holds but one row or column of blocks is pruned weight by weight: TF-MOT takes it for a vector.
    """
    if pattern is not None and (share < 0.5 or value.shape[-2] % pattern[1]):
        return (np.ones_like(value),)
    from tensorflow_model_optimization.sparsity import keras as tfmot
    from tf_keras import layers

    matrix = value.reshape(-1, value.shape[-1])
    if any(-(-size // side) == 1 for size, side in zip(matrix.shape, block, strict=True)):
        block = (1, 1)
    twin = layers.Dense(matrix.shape[1], use_bias=False)
    kind = tfmot.ConstantSparsity(sparsity * share, begin_step=0, frequency=1)
    options = {"sparsity_m_by_n": pattern} if pattern else {"block_size": block}
    wrapper = tfmot.prune_low_magnitude(twin, pruning_schedule=kind, **options)
    wrapper.build((None, matrix.shape[0]))
    kernel, chosen, _ = wrapper.pruning_vars[0]
    kernel.assign(matrix)
    wrapper.pruning_step.assign(1)
    wrapper.pruning_obj.conditional_mask_update()
    return (chosen.numpy().reshape(value.shape),)
