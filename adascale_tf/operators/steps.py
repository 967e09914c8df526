"""Time steps: the same network on the beginning of a sequence."""

from __future__ import annotations

from dataclasses import replace

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import shapes
from adascale_tf.graph.nodes import Node
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import number


@operator("steps", "structure", "steps(0.75)", strengths=("0.5", "0.75"), formula="`x[:s·T]`")
def apply(plan: Plan, step: Step) -> Plan:
    """End after the first share in (0, 1) of a sequence's time steps: ``steps(0.75)``.

    References:
        Cf. Dennis et al., EMI-RNN, NeurIPS 2018.
    """
    share = number(step, 0.0, 0.99)
    frames = [node for node in plan.graph.nodes if node.kind == "InputLayer"]
    if step.block is not None or len(frames) != 1 or len(frames[0].shape) != 2 or frames[0].shape[0] is None:
        raise BadInput(f"Step '{step}' needs a network of one sequence (time, features) and no block.")
    source = frames[0]
    count = int(source.shape[0] or 0)
    kept = max(1, round(count * share))
    name = f"{source.name}_cropped"
    cropped = Node(
        name, "Cropping1D", {"name": name, "cropping": (0, count - kept)}, (source.name,), (kept, *source.shape[1:])
    )
    shorter = shapes.infer(plan.graph.inserted(source.name, cropped))
    if any(node.kind == "Flatten" for node in shorter.nodes):
        raise BadInput(f"Step '{step}' changes what a Flatten gives to its dense layer; leave it out.")
    return replace(plan, graph=shorter)
