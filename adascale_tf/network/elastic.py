"""The elastic network: one backbone, many branches.

Branches with the same structure and weights (widths, depth, factors, sparsity) form a trunk, which computes all its
exits at once. The full trunk has weights of its own, which no other branch changes. The compressed trunks derive theirs
from a fork of it, whose channels are sorted by importance. Those that ship are detached from the fork in the end and
trained alone (docs/training.md). A recipe that was never trained is evolved: its trunk is derived from the fork like
any other (Wang et al., AdaScale, 2024; Liu et al., AdaSpring, 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from adascale_runtime.seams.recipe import Recipe
from adascale_tf import operators
from adascale_tf.bridge.functional import build_model, slots
from adascale_tf.graph import importance
from adascale_tf.graph.weights import Key
from adascale_tf.network.derivation import cut
from adascale_tf.network.trunk import Source, Trunk
from adascale_tf.operators import Plan


class ElasticNetwork:
    """A backbone made elastic for a list of recipes; ``trunks[0]`` is the full one.

    Args:
        backbone: a functional ``tf_keras`` model of known layers, one input, an output of logits for each exit.
        recipes: the branches.
        parent: a network over the same backbone; its fork and its trunks are shared.

    Raises:
        BadInput: a recipe does not apply to the backbone.
    """

    def __init__(
        self, backbone: tf_keras.Model, recipes: Iterable[Recipe], parent: ElasticNetwork | None = None
    ) -> None:
        self.recipes = tuple(recipes)
        #: The weights of the full trunk.
        self.full: Source = parent.full if parent else Source.of(backbone)
        for recipe in self.recipes:
            operators.apply(self.whole, recipe)
        #: Those of the compressed trunks: the fork.
        self.shared: Source = (
            parent.shared if parent else Source.of(build_model(self.whole.graph, f"{backbone.name}_fork"))
        )
        if not parent:
            self.fork()
        #: The trunks with weights of their own beside the full one, by structure.
        self._own: dict[Recipe, Trunk] = dict(parent._own) if parent else {}
        self._exits: dict[Recipe, frozenset[int]] = dict(parent._exits) if parent else {}
        #: Those over the fork.
        self._joined: dict[Recipe, Trunk] = dict(parent._joined) if parent else {}
        self._trunk: Trunk = parent._trunk if parent else Trunk(Recipe(), self.whole, self.full)
        for recipe in self.recipes:
            self.trunk(recipe)

    @property
    def backbone(self) -> tf_keras.Model:
        """The backbone: the model of the full trunk."""
        return self.full.model

    @property
    def whole(self) -> Plan:
        """The backbone's plan before any operator changes it."""
        return self.full.plan

    @property
    def classes(self) -> int:
        """How many logits each exit gives."""
        return int(self.backbone.outputs[-1].shape[-1])

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        """The full trunk, and those of the recipes."""
        others = dict.fromkeys(self.trunk(recipe) for recipe in self.recipes)
        return (self._trunk, *(trunk for trunk in others if trunk is not self._trunk))

    @property
    def joined(self) -> tuple[Trunk, ...]:
        """The compressed trunks over the fork, whether or not they were detached since."""
        return tuple(self._joined.values())

    @property
    def own(self) -> tuple[Trunk, ...]:
        """The detached trunks; they have weights of their own."""
        return tuple(self._own.values())

    @property
    def own_exits(self) -> dict[Recipe, tuple[int, ...]]:
        """The structures of the detached trunks, each with the numbers of the exits that were detached."""
        return {structure: tuple(sorted(exits)) for structure, exits in self._exits.items()}

    @property
    def state(self) -> dict[str, tf.Variable]:
        """All that training changes, by name."""
        variables = dict(self.full.state)
        variables.update({f"fork/{name}": variable for name, variable in self.shared.state.items()})
        for kind, trunks in (("joined", self._joined), ("own", self._own)):
            for structure, trunk in trunks.items():
                if kind == "own":
                    own = trunk.source.state
                    variables.update({f"own/{structure}/{name}": variable for name, variable in own.items()})
                statistics = enumerate(trunk.statistics)
                variables.update({f"{kind}/{structure}/{i}": variable for i, variable in statistics})
        return variables

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The state's values now."""
        return {name: variable.numpy() for name, variable in self.state.items()}

    def take(self, values: Mapping[str, np.ndarray]) -> None:
        """Take over the values of a network with the same trunks."""
        for name, variable in self.state.items():
            variable.assign(values[name])

    def take_full(self, other: ElasticNetwork) -> None:
        """Take over the full trunk's values of a network over the same backbone."""
        self.full.take(other.full)

    def copied(self) -> ElasticNetwork:
        """The same network with variables of its own, made in the scope that the caller is in."""
        copied = ElasticNetwork(build_model(self.whole.graph, self.backbone.name), self.recipes)
        for structure in self._joined:
            copied._derived(structure)
        for structure, exits in self._exits.items():
            copied.detach(structure, exits)
        copied.take(self.values)
        copied.choose(1.0)
        return copied

    def choose(self, share: float) -> None:
        """Choose every trunk's masks, clusters and bases anew; ``share`` in [0, 1] of the final sparsity."""
        for trunk in (*self.joined, *self.own):
            trunk.choose(share)

    def fork(self) -> None:
        """Begin the compressed trunks anew: from the full trunk's weights, their channels sorted by importance."""
        self.shared.take(self.full)
        held = slots(self.shared.model)

        def value(key: Key) -> np.ndarray | None:
            return held[key].variable.numpy() if key in held else None

        for key, axes in importance.order(self.shared.plan.graph, value).items():
            held[key].variable.assign(cut(held[key].variable, axes))

    def detach(self, structure: Recipe, exits: Iterable[int]) -> Trunk:
        """Give a structure weights of its own for some of its exits; they start with those of the fork.

        Branches that end at other exits stay with the fork. The full structure's last exit is never detached.
        """
        wanted = frozenset(exits)
        if not wanted <= self._exits.get(structure, frozenset()):
            begin = self._derived(structure) if structure.steps else self._trunk
            self._own[structure], self._exits[structure] = begin.detached(max(wanted)), wanted
        return self._own[structure]

    def attach(self, structure: Recipe) -> None:
        """Give up a structure's own weights: its branches are the fork's again."""
        self._own.pop(structure)
        self._exits.pop(structure)

    def evolved(self, recipes: Iterable[Recipe]) -> ElasticNetwork:
        """The same weights with other branches; new trunks still need their statistics measured."""
        return ElasticNetwork(self.backbone, recipes, parent=self)

    def trunk(self, recipe: Recipe) -> Trunk:
        """The trunk that a branch belongs to."""
        structure = operators.trunk(recipe)
        if structure in self._own and self.exit(recipe) in self._exits[structure]:
            return self._own[structure]
        return self._derived(structure) if structure.steps else self._trunk

    def exit(self, recipe: Recipe) -> int:
        """The number of the exit at which a branch ends, counted from 1."""
        steps = tuple(step for step in recipe.steps if operators.lookup(step).kind == "exit")
        return operators.apply(self.whole, Recipe(steps)).exit

    def plan(self, recipe: Recipe) -> Plan:
        """The plan of a branch: which exit, which precision."""
        return self.trunk(recipe).branch_plan(recipe)

    def _derived(self, structure: Recipe) -> Trunk:
        """The trunk of a structure over the fork as it is; new ones have no statistics yet."""
        if structure not in self._joined:
            trunk = Trunk(structure, operators.structure(self.shared.plan, structure), self.shared)
            trunk.choose(1.0)  # all of the sparsity at once: there may be no training in which it could ramp up
            self._joined[structure] = trunk
        return self._joined[structure]
