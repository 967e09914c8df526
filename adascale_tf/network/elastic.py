"""The elastic network: one set of weights, many branches.

Branches with the same structure and weights (widths, depth, factors, sparsity) form a :class:`Trunk`, which computes
all its exits at once. The full trunk owns the weights; every other trunk derives its own from them, so that a gradient
step through any trunk trains them all. Each trunk keeps BatchNorm statistics of its own (Yu et al., Slimmable Neural
Networks, ICLR 2019). A recipe that was never trained is evolved: its trunk is derived like any other
(Wang et al., AdaScale, 2024; Liu et al., AdaSpring, 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
import tensorflow as tf
import tf_keras

from adascale_runtime.seams.recipe import Recipe
from adascale_tf import operators
from adascale_tf.bridge.functional import Slot, build_model, read_graph, slots, substituted
from adascale_tf.graph import importance, shapes
from adascale_tf.graph.weights import Key
from adascale_tf.network.derivation import Derivation, cut
from adascale_tf.operators import Plan

#: The kept positions of each axis of a weight, None for the whole axis.
Axes = tuple[np.ndarray | None, ...]
STATISTICS = ("moving_mean", "moving_variance")
#: Recurrent layers over at most so many steps are written as plain operators.
UNROLL = 128


class Trunk:
    """A structure with all its exits over the shared weights.

    Args:
        recipe: its structure and weights steps.
        plan: its graph, and where its weights come from.
        backbone: whose weights are shared; the full trunk (no steps) is the backbone itself.
    """

    def __init__(self, recipe: Recipe, plan: Plan, backbone: tf_keras.Model) -> None:
        self.recipe = recipe
        self.plan = plan
        self.macs = shapes.macs(plan.graph)
        full = not recipe.steps
        self.model = backbone if full else build_model(plan.graph, str(recipe.id).replace(".", "_"))
        own = {} if full else {k: s for k, s in slots(self.model).items() if k[1] not in STATISTICS}
        self._own: dict[Key, Slot] = own
        shared = {key: slot.variable for key, slot in slots(backbone).items()}
        self._derivation = Derivation([plan.weight(*key) for key in own], shared)

    def call(self, x: tf.Tensor, training: bool) -> list[tf.Tensor]:
        """Compute the trunk with the shared weights; differentiable with respect to them.

        Args:
            x: examples as the network takes them, float32 (N, ...).
            training: whether BatchNorm and dropout behave as in training.

        Returns:
            The logits of each exit, (N, classes), the last exit last.
        """
        with substituted([(slot, self._derivation.value(self.plan.weight(*key))) for key, slot in self._own.items()]):
            outputs = self.model(x, training=training)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    def choose(self, share: float) -> None:
        """Choose masks, clusters and bases anew from the shared weights; ``share`` in [0, 1] of the final sparsity."""
        self._derivation.choose(share)

    def settle(self) -> tf_keras.Model:
        """Write the derived weights into the trunk's own variables and give its model: what the converter reads."""
        for key, slot in self._own.items():
            slot.variable.assign(self._derivation.value(self.plan.weight(*key)))
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
        model = build_model(plan.graph, "branch", unroll=all(n is not None and n <= UNROLL for n in steps))
        settled, target = slots(self.settle()), slots(model)
        for key, slot in target.items():
            slot.variable.assign(settled[key].variable)
        return model

    @cached_property
    def statistics(self) -> list[tf.Variable]:
        """The BatchNorm moving averages of this trunk."""
        return [slot.variable for (_, attribute), slot in slots(self.model).items() if attribute in STATISTICS]


class ElasticNetwork:
    """A backbone made elastic for a list of recipes; ``trunks[0]`` is the full one.

    Args:
        backbone: a functional ``tf_keras`` model of known layers, one input, an output of logits for each exit.
        recipes: the branches.
        sort: sort the backbone's channels by importance first, which leaves its outputs as they are. Worth it for
            trained weights.
        known: trunks over the same backbone that exist already.

    Raises:
        BadInput: a recipe does not apply to the backbone.
    """

    def __init__(
        self, backbone: tf_keras.Model, recipes: Iterable[Recipe], sort: bool = False, known: Iterable[Trunk] = ()
    ) -> None:
        self.backbone = backbone
        self.recipes = tuple(recipes)
        self.whole = Plan(
            read_graph(backbone), {key: len(slot.variable.shape) for key, slot in slots(backbone).items()}
        )
        for recipe in self.recipes:
            operators.apply(self.whole, recipe)
        if sort:
            self.sort()
        structures = dict.fromkeys([Recipe()] + [operators.trunk(recipe) for recipe in self.recipes])
        existing = {trunk.recipe: trunk for trunk in known}
        self.trunks = tuple(existing.get(structure) or self.derive(structure) for structure in structures)

    @property
    def classes(self) -> int:
        """How many logits each exit gives."""
        return int(self.backbone.outputs[-1].shape[-1])

    @property
    def variables(self) -> list[tf.Variable]:
        """The shared trainable weights."""
        return list(self.backbone.trainable_variables)

    @property
    def state(self) -> dict[str, tf.Variable]:
        """All that training changes, by name: the backbone's variables and every other trunk's statistics."""
        variables = {f"{layer}/{weight}": slot.variable for (layer, weight), slot in slots(self.backbone).items()}
        for trunk in self.trunks[1:]:
            variables.update({f"{trunk.recipe}/{i}": variable for i, variable in enumerate(trunk.statistics)})
        return variables

    def copied(self) -> ElasticNetwork:
        """The same network with variables of its own, made in the scope that the caller is in."""
        copied = ElasticNetwork(build_model(self.whole.graph, self.backbone.name), self.recipes)
        copied.take(self.values)
        return copied

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The state's values now."""
        return {name: variable.numpy() for name, variable in self.state.items()}

    def take(self, values: Mapping[str, np.ndarray]) -> None:
        """Take over the values of a network with the same trunks."""
        for name, variable in self.state.items():
            variable.assign(values[name])

    def choose(self, share: float) -> None:
        """Choose every trunk's masks, clusters and bases anew; ``share`` in [0, 1] of the final sparsity."""
        for trunk in self.trunks:
            trunk.choose(share)

    def derive(self, structure: Recipe) -> Trunk:
        """A new trunk from the shared weights as they are; its BatchNorm statistics still need measuring."""
        return Trunk(structure, operators.structure(self.whole, structure), self.backbone)

    def sort(self) -> list[tuple[tf.Variable, Axes]]:
        """Sort the backbone's channels by importance; its outputs stay as they are.

        Returns:
            What was permuted: each variable with the kept positions of each of its axes.
        """
        held = slots(self.backbone)

        def value(key: Key) -> np.ndarray | None:
            return held[key].variable.numpy() if key in held else None

        moved = [(held[key].variable, axes) for key, axes in importance.order(self.whole.graph, value).items()]
        for variable, axes in moved:
            variable.assign(cut(variable, axes))
        return moved

    def evolved(self, recipes: Iterable[Recipe]) -> ElasticNetwork:
        """The same weights with other branches; new trunks still need their statistics measured."""
        evolved = ElasticNetwork(self.backbone, recipes, known=self.trunks)
        for trunk in evolved.trunks:
            if trunk not in self.trunks:
                trunk.choose(1.0)  # all of the sparsity at once: there is no training in which it could ramp up
        return evolved

    def trunk(self, recipe: Recipe) -> Trunk:
        """The trunk that a branch belongs to."""
        structure = operators.trunk(recipe)
        return next(trunk for trunk in self.trunks if trunk.recipe == structure)

    def plan(self, recipe: Recipe) -> Plan:
        """The plan of a branch: which exit, which precision."""
        return self.trunk(recipe).branch_plan(recipe)
