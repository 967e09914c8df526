"""Low rank: a layer becomes two thin ones by truncated SVD.

A kernel seen as a matrix W (taps and inputs, outputs) is replaced by (W V) V', with V its first r right singular
vectors: a layer with r outputs, then a 1x1 layer. For recurrent layers it is the input's kernel.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import kinds
from adascale_tf.graph.nodes import Node
from adascale_tf.graph.weights import Choice, Constant, Key, Product, Weight
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import derived, number, pointwise, rewrite_inner

_SPEC = {2: "io,or->ir", 3: "wio,or->wir", 4: "hwio,or->hwir"}


@operator(
    "lowrank", "structure", "lowrank(0.5)", strengths=("0.35", "0.5", "0.7"), at_blocks=True,
    formula="`W ≈ (W V) Vᵀ`, V the first right singular vectors",
)  # fmt: skip
def apply(plan: Plan, step: Step) -> Plan:
    """Split inner convolutions, dense and recurrent layers to a share in (0, 1) of their MACs: ``lowrank(0.5)``.

    References:
        Denton et al., Exploiting Linear Structure Within Convolutional Networks, NeurIPS 2014.
        Jaderberg et al., Speeding up Convolutional Neural Networks with Low Rank Expansions, BMVC 2014.
    """
    share = number(step, 0.0, 0.99)
    return rewrite_inner(plan, step, lambda kind: kind.thin, partial(_split, share=share), "layer wide enough to split")


def _split(plan: Plan, node: Node, share: float) -> Plan:
    if node.config.get("groups", 1) != 1:
        return plan
    source = plan.graph[node.inputs[0]].shape
    inputs = prod(node.config.get("kernel_size", (1,))) * int(source[-1] or 0)
    outputs = int(node.shape[-1] or 0) * max(1, kinds.of(node.kind).gates)
    rank = int(share * inputs * outputs / (inputs + outputs))
    if not 1 <= rank < min(inputs, outputs):
        return plan
    choice = Choice(plan.weight(node.name, "kernel"), partial(basis, rank=rank))
    axes = plan.ranks[node.name, "kernel"]
    core, last = _layers(node, source, rank)
    weights: dict[Key, tuple[int, Weight]] = {
        (core.name, "kernel"): (axes, Product(choice, _SPEC[axes], 0)),
        (node.name, "kernel"): (axes, Constant(choice, 1)),
    }
    if kinds.of(node.kind).gates:  # the thin layer comes first: its kernel is chosen, the recurrent one is projected
        choice = Choice(plan.weight(node.name, "kernel"), partial(input_basis, rank=rank))
        weights = {
            (core.name, "kernel"): (2, Constant(choice, 0)),
            (node.name, "kernel"): (2, Product(choice, "io,ir->ro", 0)),
        }
    return replace(plan.with_weights(weights), graph=plan.graph.replaced(node.name, (core, last)))


def _layers(node: Node, source: tuple[Any, ...], rank: int) -> tuple[Node, Node]:
    if kinds.of(node.kind).thin == "dense":
        core = derived(node, "core", "Dense", (*source[:-1], rank), node.inputs[0], units=rank, use_bias=False)
        return core, replace(node, inputs=(core.name,))
    config = {**node.config, "filters": rank, "use_bias": False, "activation": "linear", "name": f"{node.name}_core"}
    core = replace(node, name=config["name"], config=config, shape=(*node.shape[:-1], rank))
    last = pointwise(
        node, "", int(node.shape[-1] or 0), core.name, node.shape,
        use_bias=node.config.get("use_bias", True), activation=node.config.get("activation", "linear"),
    )  # fmt: skip
    return core, last


def basis(value: np.ndarray, share: float, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The first right singular vectors V (outputs, rank), and V' shaped as a kernel over one position."""
    matrix = value.reshape(-1, value.shape[-1])
    v = _leading(matrix.T @ matrix, rank)
    return v, v.T.reshape((1,) * (value.ndim - 2) + (rank, -1))


def input_basis(value: np.ndarray, share: float, rank: int) -> tuple[np.ndarray]:
    """The first left singular vectors (inputs, rank) of a matrix."""
    return (_leading(value @ value.T, rank),)


def _leading(gram: np.ndarray, rank: int) -> np.ndarray:
    """The eigenvectors of the largest eigenvalues, which are the singular vectors; faster than an SVD of the kernel."""
    _, vectors = np.linalg.eigh(gram.astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1][:, :rank], np.float32)
