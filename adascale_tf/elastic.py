"""The elastic network: one set of weights, many branches.

Branches with the same structure (widths, depth, sparsity) form a :class:`Trunk`, which computes all its exits at once.
The full trunk owns the weights; every other trunk sees slices of them, so that a gradient step through any trunk
trains them all. Each trunk keeps BatchNorm statistics of its own (Yu et al., Slimmable Neural Networks, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import tensorflow as tf
import tf_keras

from adascale_tf import operators
from adascale_tf.functional import Slot, build_model, read_graph, slots, substituted
from adascale_tf.operators import Plan
from adascale_tf.recipe import Recipe
from adascale_tf.sparsity import Masks

_STATISTICS = ("moving_mean", "moving_variance")


class Trunk:
    """A structure with all its exits over the shared weights.

    ``plan``: its graph and views. ``shared``: for each of its own weights, the backbone's variable behind it.
    """

    def __init__(self, recipe: Recipe, plan: Plan, backbone: tf_keras.Model) -> None:
        self.recipe = recipe
        self.plan = plan
        full = not plan.views and not plan.sparsity and plan.graph == read_graph(backbone)
        self.model = backbone if full else build_model(plan.graph, str(recipe.id).replace(".", "_"))
        own, parent = slots(self.model), slots(backbone)
        self._pairs: list[tuple[tuple[str, str], Slot, tf.Variable]] = (
            [] if full else [(k, s, parent[k].variable) for k, s in own.items() if k[1] not in _STATISTICS]
        )
        self.masks = Masks(self.model, plan.sparsity) if plan.sparsity else None

    def call(self, x: tf.Tensor, training: bool) -> list[tf.Tensor]:
        """The logits of all exits, computed with the shared weights; differentiable with respect to them."""
        with substituted([(slot, self._view(key, source)) for key, slot, source in self._pairs]):
            outputs = self.model(x, training=training)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    def _view(self, key: tuple[str, str], source: tf.Variable) -> tf.Tensor:
        value = tf.convert_to_tensor(source)
        for axis, kept in enumerate(self.plan.views.get(key, ())):
            if kept is not None:
                value = _take(value, kept, axis)
        if self.masks is not None and key in self.masks:
            value = value * self.masks[key]
        return value

    def settle(self) -> tf_keras.Model:
        """Write the shared weights into the trunk's own variables and give its model: what the converter reads."""
        for key, slot, source in self._pairs:
            slot.variable.assign(self._view(key, source))
        return self.model

    def branch_plan(self, recipe: Recipe) -> Plan:
        """The plan of one of its branches: what the recipe adds to the structure, which is its exit and precision."""
        return operators.apply(self.plan, Recipe(tuple(s for s in recipe.steps if s not in self.recipe.steps)))

    def network(self, recipe: Recipe) -> tf_keras.Model:
        """One branch of this trunk as a plain model with a single output and weights of its own.

        Recurrent layers are unrolled up to 128 steps: then every delegate sees plain operators.
        """
        plan = self.branch_plan(recipe)
        steps = [node.shape[0] for node in plan.graph.nodes if node.kind == "InputLayer"]
        model = build_model(plan.graph, "branch", unroll=all(n is not None and n <= 128 for n in steps))
        settled, target = slots(self.settle()), slots(model)
        for key, slot in target.items():
            slot.variable.assign(settled[key].variable)
        return model

    @cached_property
    def statistics(self) -> list[tf.Variable]:
        """The BatchNorm moving averages of this trunk."""
        return [slot.variable for (_, attribute), slot in slots(self.model).items() if attribute in _STATISTICS]


def _take(value: tf.Tensor, kept: np.ndarray, axis: int) -> tf.Tensor:
    if np.array_equal(kept, np.arange(len(kept))):  # a prefix is a cheap slice; its gradient is a pad
        begin = [0] * value.shape.rank
        size = [-1] * value.shape.rank
        size[axis] = len(kept)
        return tf.slice(value, begin, size)
    return tf.gather(value, kept, axis=axis)


class ElasticNetwork:
    """A backbone made elastic for a list of recipes; ``trunks[0]`` is the full one."""

    def __init__(self, backbone: tf_keras.Model, recipes: Iterable[Recipe]) -> None:
        self.backbone = backbone
        self.recipes = tuple(recipes)
        graph = read_graph(backbone)
        ranks = {key: len(slot.variable.shape) for key, slot in slots(backbone).items()}
        whole = Plan(graph, ranks)
        for recipe in self.recipes:
            operators.apply(whole, recipe)
        structures = dict.fromkeys([Recipe()] + [operators.trunk(recipe) for recipe in self.recipes])
        self.trunks = tuple(Trunk(structure, _structure(whole, structure), backbone) for structure in structures)

    @property
    def variables(self) -> list[tf.Variable]:
        """The shared trainable weights."""
        return list(self.backbone.trainable_variables)

    def trunk(self, recipe: Recipe) -> Trunk:
        """The trunk that a branch belongs to."""
        structure = operators.trunk(recipe)
        return next(trunk for trunk in self.trunks if trunk.recipe == structure)

    def plan(self, recipe: Recipe) -> Plan:
        """The plan of a branch: which exit, which precision."""
        return self.trunk(recipe).branch_plan(recipe)


def _structure(whole: Plan, structure: Recipe) -> Plan:
    plan = whole
    for step in structure.steps:
        plan = operators.lookup(step).apply(plan, step)
    return plan
