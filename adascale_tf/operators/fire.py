"""Fire module: squeeze the inputs, then expand by 1x1 and by full kernels.

From a kernel W: the squeeze projects the inputs on the first s left singular vectors B of W (inputs, taps and outputs),
the expansions see B'W. Its first (more important) half of the outputs keeps the taps; the second half sums them, which
is what a 1x1 kernel can do where neighbours are alike. Without SqueezeNet's ReLU in between, which would undo the
projection.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from adascale_runtime.seams.recipe import Step
from adascale_tf.graph.nodes import Node
from adascale_tf.graph.weights import Choice, Constant, Cut, Key, Product, Weight
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import derived, named, number, pointwise, rewrite_inner
from adascale_tf.operators.separable import spatial


@operator(
    "fire", "structure", "fire(0.25)", strengths=("0.25", "0.5"), at_blocks=True,
    formula="squeeze B: first singular vectors over inputs; expand `BᵀW`, its taps summed for the 1x1 half",
)  # fmt: skip
def apply(plan: Plan, step: Step) -> Plan:
    """Turn inner convolutions into fire modules of a share in (0, 1) of their MACs: ``fire(0.25)``.

    References:
        Iandola et al., SqueezeNet, 2016.
    """
    share = number(step, 0.0, 0.99)
    return rewrite_inner(
        plan, step, named("Conv2D"), partial(_expand, share=share), "wide convolution for a fire module"
    )


def _expand(plan: Plan, node: Node, share: float) -> Plan:
    if not spatial(node):
        return plan
    source = plan.graph[node.inputs[0]].shape
    inputs, outputs = int(source[-1] or 0), int(node.shape[-1] or 0)
    wide = outputs // 2
    taps, before = prod(node.config["kernel_size"]), prod(node.config["strides"])
    squeeze = int(share * taps * inputs * outputs / (before * inputs + taps * wide + outputs - wide))
    if not 1 <= squeeze < inputs or not wide:
        return plan
    thin = pointwise(node, "squeeze", squeeze, node.inputs[0], source)
    kept = {key: node.config[key] for key in ("strides", "padding", "use_bias")}
    kept["activation"] = node.config.get("activation", "linear")
    full = derived(
        node, "expand3", "Conv2D", (*node.shape[:-1], wide), thin.name, filters=wide,
        kernel_size=node.config["kernel_size"], dilation_rate=node.config["dilation_rate"], **kept,
    )  # fmt: skip
    one = pointwise(node, "expand1", outputs - wide, thin.name, node.shape, **kept)
    joined = Node(node.name, "Concatenate", {"name": node.name, "axis": -1}, (full.name, one.name), node.shape)
    choice = Choice(plan.weight(node.name, "kernel"), partial(basis, size=squeeze))
    halves = np.arange(wide), np.arange(wide, outputs)
    weights: dict[Key, tuple[int, Weight]] = {
        (thin.name, "kernel"): (4, Constant(choice, 0)),
        (full.name, "kernel"): (4, Cut(Product(choice, "hwio,is->hwso", 1), (None, None, None, halves[0]))),
        (one.name, "kernel"): (4, Cut(Product(choice, "hwio,isab->abso", 2), (None, None, None, halves[1]))),
    }
    if plan.has(node.name, "bias"):
        bias = plan.weight(node.name, "bias")
        weights[full.name, "bias"] = (1, Cut(bias, (halves[0],)))
        weights[one.name, "bias"] = (1, Cut(bias, (halves[1],)))
    return replace(plan.with_weights(weights), graph=plan.graph.replaced(node.name, (thin, full, one, joined)))


def basis(value: np.ndarray, share: float, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The input directions B (inputs, size) that a kernel uses most: as a 1x1 kernel, as a matrix, with two axes."""
    matrix = value.transpose(2, 0, 1, 3).reshape(value.shape[2], -1).astype(np.float64)
    _, vectors = np.linalg.eigh(matrix @ matrix.T)
    first = np.ascontiguousarray(vectors[:, ::-1][:, :size], np.float32)
    return first[np.newaxis, np.newaxis], first, first[:, :, np.newaxis, np.newaxis]
