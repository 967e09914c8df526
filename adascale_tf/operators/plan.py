"""Plans: branches before they have weights, which operators transform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from adascale_tf.graph.nodes import Graph
from adascale_tf.graph.weights import Key, Weight, Whole

#: The precision of a branch whose recipe names none.
FLOAT32 = "float32"


@dataclass(frozen=True)
class Plan:
    """A branch before it has weights.

    ``graph``: its layers. ``ranks``: number of axes of each of their weights. ``weights``: where they come from; what
    is not listed is the backbone's weight of the same name. ``exit``: counts from 1. ``precision``: what the converter
    writes.
    """

    graph: Graph
    ranks: Mapping[Key, int]
    weights: Mapping[Key, Weight] = field(default_factory=dict)
    exit: int = 0
    precision: str = FLOAT32

    def weight(self, node: str, name: str) -> Weight:
        """Where a weight comes from."""
        return self.weights.get((node, name), Whole((node, name)))

    def has(self, node: str, name: str) -> bool:
        """Whether a layer has this weight."""
        return (node, name) in self.ranks

    def with_weights(self, weights: Mapping[Key, tuple[int, Weight]]) -> Plan:
        """The plan with some weights, each given as (number of axes, expression), coming from elsewhere."""
        return replace(
            self,
            ranks={**self.ranks, **{key: rank for key, (rank, _) in weights.items()}},
            weights={**self.weights, **{key: weight for key, (_, weight) in weights.items()}},
        )
