"""Trunks: networks with one structure and all its exits, whose weights come from a source.

A source is a model that owns weights. Trunks of one source share them: a gradient step through any trunk trains them
all (Yu et al., Slimmable Neural Networks, ICLR 2019). A trunk that was detached is its own source and shares nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import tensorflow as tf
import tf_keras

from adascale_runtime.seams.recipe import Recipe, Step
from adascale_tf import operators
from adascale_tf.bridge.functional import Slot, build_model, read_graph, slots, substituted
from adascale_tf.graph import shapes
from adascale_tf.graph.nodes import Graph
from adascale_tf.graph.weights import Key
from adascale_tf.network.derivation import Derivation
from adascale_tf.operators import Plan

STATISTICS = ("moving_mean", "moving_variance")
#: Recurrent layers over at most so many steps are written as plain operators.
UNROLL = 128


@dataclass(frozen=True, eq=False)
class Source:
    """A model that owns weights, and its plan before any operator changes it."""

    model: tf_keras.Model
    plan: Plan

    @classmethod
    def of(cls, model: tf_keras.Model) -> Source:
        """A functional ``tf_keras`` model as a source; an output for each exit."""
        return cls(
            model, Plan(read_graph(model), {key: len(slot.variable.shape) for key, slot in slots(model).items()})
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """Its trainable weights."""
        return list(self.model.trainable_variables)

    @property
    def of_early_exits(self) -> list[tf.Variable]:
        """The trainable weights that the last exit does without: the heads of the others."""
        graph = self.plan.graph
        needed = {node.name for node in graph.only(graph.outputs[-1:]).nodes}
        return [
            slot.variable
            for (layer, name), slot in slots(self.model).items()
            if layer not in needed and name not in STATISTICS
        ]

    @property
    def without_kernels(self) -> list[tf.Variable]:
        """Its trainable weights but the kernels of layers that are not heads: a few percent of its bytes."""
        heads = set(self.plan.graph.outputs)
        kernels = {
            id(slot.variable)
            for (layer, _), slot in slots(self.model).items()
            if len(slot.variable.shape) > 1 and layer not in heads
        }
        return [variable for variable in self.variables if id(variable) not in kernels]

    @property
    def state(self) -> dict[str, tf.Variable]:
        """All its variables, by layer and weight."""
        return {f"{layer}/{weight}": slot.variable for (layer, weight), slot in slots(self.model).items()}

    def take(self, other: Source) -> None:
        """Take over the values of a source with the same layers."""
        theirs = other.state
        for name, variable in self.state.items():
            variable.assign(theirs[name].numpy())  # which reads a variable of another strategy, too


class Trunk:
    """A structure with all its exits.

    Args:
        recipe: its structure and weights steps.
        plan: its graph, and where its weights come from; the source's own plan is the source itself.
        source: whose weights it computes with.
    """

    def __init__(self, recipe: Recipe, plan: Plan, source: Source) -> None:
        self.recipe = recipe
        self.plan = plan
        self.source = source
        self.macs = shapes.macs(plan.graph)
        itself = plan is source.plan
        self.model = source.model if itself else build_model(plan.graph, str(recipe.id).replace(".", "_"))
        own = {} if itself else {k: s for k, s in slots(self.model).items() if k[1] not in STATISTICS}
        self._own: dict[Key, Slot] = own
        shared = {key: slot.variable for key, slot in slots(source.model).items()}
        self._derivation = Derivation([plan.weight(*key) for key in own], shared)

    @property
    def exits(self) -> int:
        """How many exits it has."""
        return len(self.plan.graph.outputs)

    def call(self, x: tf.Tensor, training: bool) -> list[tf.Tensor]:
        """Compute the trunk with the source's weights; differentiable with respect to them.

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
        """Choose masks, clusters and bases anew from the source's weights; ``share`` in [0, 1] of the final
        sparsity."""
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
        return _with_weights(model, self.settle())

    def detached(self, exits: int) -> Trunk:
        """The same structure as a source of its own, which starts with the weights that it has now.

        Its structure's weights (the factors of a low rank, the slices of a width) become free; what its weights steps
        choose (masks, clusters) is chosen among its own weights from now on.

        Args:
            exits: how many of its exits are kept, the first ones.
        """
        structure, weights = _divided(self.recipe.steps)
        inner = (
            self
            if not weights.steps
            else Trunk(structure, operators.structure(self.source.plan, structure), self.source)
        )
        graph = inner.plan.graph
        kept: Graph = graph.only(graph.outputs[:exits])
        source = Source.of(_with_weights(build_model(kept, f"own_{structure.id}".replace(".", "_")), inner.settle()))
        trunk = Trunk(self.recipe, operators.structure(source.plan, weights), source)
        _with_weights(trunk.model, self.model, STATISTICS)
        trunk.choose(1.0)
        return trunk

    @cached_property
    def statistics(self) -> list[tf.Variable]:
        """The BatchNorm moving averages of this trunk."""
        return [slot.variable for (_, attribute), slot in slots(self.model).items() if attribute in STATISTICS]


def _divided(steps: Iterable[Step]) -> tuple[Recipe, Recipe]:
    """The steps that change the structure, and those that limit its weights."""
    steps = tuple(steps)
    structure = tuple(step for step in steps if operators.lookup(step).kind == "structure")
    return Recipe(structure), Recipe(steps[len(structure) :])


def _with_weights(model: tf_keras.Model, settled: tf_keras.Model, only: tuple[str, ...] = ()) -> tf_keras.Model:
    """A model with the weights of one that has the same layers and more; ``only``: some attributes."""
    source = slots(settled)
    for key, slot in slots(model).items():
        if not only or key[1] in only:
            slot.variable.assign(source[key].variable)
    return model
