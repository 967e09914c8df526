"""Input resolution: the same network on a smaller image."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import shapes
from adascale_tf.graph.nodes import Graph, Node
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import number


@operator("resolution", "structure", "resolution(0.5)", strengths=("0.5", "0.75"), formula="height, width × s")
def apply(plan: Plan, step: Step) -> Plan:
    """Scale images down to a share in (0, 1) of height and width, inside the branch: ``resolution(0.5)``.

    References:
        Tan and Le, EfficientNet, ICML 2019.
        Howard et al., MobileNets, 2017.
    """
    share = number(step, 0.0, 0.99)
    if step.block is not None:
        raise BadInput(f"Step '{step}' cannot be limited to a block; write resolution({step.strength}).")
    images = [node for node in plan.graph.nodes if node.kind == "InputLayer"]
    if len(images) != 1 or len(images[0].shape) != 3:
        raise BadInput(f"Step '{step}' needs a network of one image (height, width, channels); for sequences, 'steps'.")
    image = images[0]
    height, width = (max(1, round(int(n or 0) * share)) for n in image.shape[:2])
    name = f"{image.name}_resized"
    config = {"name": name, "height": height, "width": width, "interpolation": "bilinear"}
    resized = Node(name, "Resizing", config, (image.name,), (height, width, image.shape[-1]))
    return replace(plan, graph=_fit(plan.graph, plan.graph.inserted(image.name, resized), step, share))


def _fit(before: Graph, after: Graph, step: Step, share: float) -> Graph:
    """Shapes of the smaller network; pools in front of a Flatten shrink, so that its dense layer sees as much."""
    pools = {n.inputs[0] for n in after.nodes if n.kind == "Flatten"}
    nodes = []
    for node in after.nodes:
        if node.name in pools and "pool_size" in node.config and len(node.shape) == 3:
            size = tuple(max(1, round(n * share)) for n in node.config["pool_size"])
            node = replace(node, config={**node.config, "pool_size": size, "strides": size})
        nodes.append(node)
    smaller = shapes.infer(Graph(tuple(nodes), after.outputs))
    for node in smaller.nodes:
        if node.kind == "Flatten" and node.shape != before[node.name].shape:
            raise BadInput(
                f"Step '{step}' changes what '{node.name}' gives to its dense layer, from {before[node.name].shape[0]} "
                f"to {node.shape[0]} values; choose another share."
            )
    return smaller
