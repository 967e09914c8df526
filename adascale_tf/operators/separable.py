"""Depthwise-separable form of a convolution, from its weights by rank-1 SVD.

For each input channel i, the matrix W_i (taps, outputs) is replaced by d_i (d_i' W_i), with d_i its first left
singular vector: d is the depthwise kernel, d'W the pointwise one.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph.nodes import Node
from adascale_tf.graph.weights import Choice, Constant, Key, Product, Weight
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import derived, inner_layers, named, nothing_to_do, pointwise


@operator(
    "separable", "structure", "separable@stage3", strengths=("",), at_blocks=True,
    formula="per input i: `W_i ≈ d_i (d_iᵀ W_i)`, d_i the first left singular vector",
)  # fmt: skip
def apply(plan: Plan, step: Step) -> Plan:
    """Split inner convolutions into a depthwise and a pointwise one: ``separable``, ``separable@stage3``.

    References:
        Howard et al., MobileNets, 2017.
        Cf. Guo et al., Network Decoupling, BMVC 2018.
    """
    if step.strength is not None:
        raise BadInput(f"Step '{step}' takes no strength; write 'separable' or 'separable@BLOCK'.")
    nodes = [n for n in inner_layers(plan, step, named("Conv2D")) if spatial(n)]
    if not nodes:
        raise nothing_to_do(step, "convolution larger than 1x1")
    for node in nodes:
        plan = _split(plan, node)
    return plan


def spatial(node: Node) -> bool:
    """Whether a Conv2D looks at more than one position, ungrouped."""
    return prod(node.config["kernel_size"]) > 1 and node.config.get("groups", 1) == 1


def _split(plan: Plan, node: Node) -> Plan:
    width = int(plan.graph[node.inputs[0]].shape[-1] or 0)
    kept = {key: node.config[key] for key in ("kernel_size", "strides", "padding", "dilation_rate")}
    depthwise = derived(
        node, "depthwise", "DepthwiseConv2D", (*node.shape[:-1], width), node.inputs[0], use_bias=False, **kept
    )
    last = pointwise(
        node, "", int(node.shape[-1] or 0), depthwise.name, node.shape,
        use_bias=node.config.get("use_bias", True), activation=node.config.get("activation", "linear"),
    )  # fmt: skip
    choice = Choice(plan.weight(node.name, "kernel"), directions)
    weights: dict[Key, tuple[int, Weight]] = {
        (depthwise.name, "depthwise_kernel"): (4, Constant(choice, 0)),
        (node.name, "kernel"): (4, Product(choice, "hwio,hwiab->abio", 1)),
    }
    return replace(plan.with_weights(weights), graph=plan.graph.replaced(node.name, (depthwise, last)))


def directions(value: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The tap pattern (h, w, inputs, 1) that explains most of each input's kernel; and the same with two more axes."""
    h, w, inputs, outputs = value.shape
    taps = value.reshape(h * w, inputs, outputs).transpose(1, 0, 2).astype(np.float64)
    _, vectors = np.linalg.eigh(taps @ taps.transpose(0, 2, 1))
    first = vectors[:, :, -1]
    first = first * np.where(first.sum(1, keepdims=True) < 0, -1.0, 1.0)  # a sign that does not flip between epochs
    depthwise = np.ascontiguousarray(first.T.reshape(h, w, inputs, 1), np.float32)
    return depthwise, depthwise[..., np.newaxis]
