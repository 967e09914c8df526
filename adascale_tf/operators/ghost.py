"""Ghost module: compute some channels, make the others cheaply from them.

The cheap operation here is a 1x1 combination A of the computed channels, because it has a least-squares solution:
with W = [P, G], A minimises |P A - G|, so that the module starts as close to its parent as the kernels allow.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from adascale_runtime.seams.recipe import Step
from adascale_tf.graph.nodes import Node
from adascale_tf.graph.weights import Choice, Constant, Cut, Key, Weight
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import named, number, pointwise, rewrite_inner
from adascale_tf.operators.width import kept_channels


@operator(
    "ghost", "structure", "ghost(0.5)", strengths=("0.5",), at_blocks=True,
    formula="`W = [P, G]`, `A = argmin ‖P A − G‖²`",
)  # fmt: skip
def apply(plan: Plan, step: Step) -> Plan:
    """Compute a share in (0, 1) of the channels of inner convolutions, derive the rest: ``ghost(0.5)``.

    For convolutions without bias and activation, as before a BatchNormalization: both come after the combination.

    References:
        Han et al., GhostNet, CVPR 2020.
    """
    share = number(step, 0.0, 0.99)
    what = "convolution without bias and activation that a ghost module makes cheaper"
    return rewrite_inner(plan, step, named("Conv2D"), partial(_haunt, share=share), what)


def _haunt(plan: Plan, node: Node, share: float) -> Plan:
    linear = not node.config.get("use_bias", True) and node.config.get("activation", "linear") == "linear"
    if not linear or node.config.get("groups", 1) != 1:
        return plan
    width = int(node.shape[-1] or 0)
    primary = kept_channels(width, share)
    inputs = int(plan.graph[node.inputs[0]].shape[-1] or 0) * int(np.prod(node.config["kernel_size"]))
    if primary >= width or inputs * primary + primary * (width - primary) >= inputs * width:
        return plan
    name = f"{node.name}_primary"
    config = {**node.config, "filters": primary, "name": name}
    computed = replace(node, name=name, config=config, shape=(*node.shape[:-1], primary))
    ghosts = pointwise(node, "ghosts", width - primary, name, node.shape)
    joined = Node(node.name, "Concatenate", {"name": node.name, "axis": -1}, (name, ghosts.name), node.shape)
    kernel = plan.weight(node.name, "kernel")
    weights: dict[Key, tuple[int, Weight]] = {
        (name, "kernel"): (4, Cut(kernel, (None, None, None, np.arange(primary)))),
        (ghosts.name, "kernel"): (4, Constant(Choice(kernel, partial(combination, primary=primary)))),
    }
    return replace(plan.with_weights(weights), graph=plan.graph.replaced(node.name, (computed, ghosts, joined)))


def combination(value: np.ndarray, share: float, primary: int) -> tuple[np.ndarray]:
    """The 1x1 kernel (1, 1, primary, rest) that best makes a kernel's other filters from its first ones."""
    matrix = value.reshape(-1, value.shape[-1]).astype(np.float64)
    gram = matrix.T @ matrix
    ridge = 1e-6 * np.trace(gram) / len(gram) + 1e-12
    kernel = np.linalg.solve(gram[:primary, :primary] + ridge * np.eye(primary), gram[:primary, primary:])
    return (kernel.astype(np.float32)[np.newaxis, np.newaxis],)
