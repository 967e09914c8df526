"""Fronts: the branches that offer most accuracy for what they cost, in as many objectives as a person asks for.

Pure. Accuracy is to be large, every cost small. Volumes are exact for any number of objectives; fronts have tens of
members, so the recursion stays short.

References:
    While et al., A Fast Way of Calculating Exact Hypervolumes, IEEE Transactions on Evolutionary Computation, 2012.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adascale_runtime.seams.recipe import Recipe

#: How far beyond the worst of a front its volume begins, as a share of the front's extent: then the ends count too.
_MARGIN = 0.1
#: Costs below count as this: they are compared by their logarithms.
_LEAST = 1e-9


@dataclass(frozen=True)
class Objective:
    """A cost that a search keeps small."""

    #: What people call it.
    name: str
    #: Its key in a candidate's costs, which ends in its unit: what predictors call it, too.
    quantity: str
    #: The head of its column in a table.
    heading: str
    #: Whether predictors say it; a file's size is known.
    predicted: bool = True


#: The objectives by name, in the order of tables.
OBJECTIVES = {
    one.name: one
    for one in (
        Objective("latency", "latency_ms", "predicted ms"),
        Objective("energy", "energy_mj", "predicted mJ"),
        Objective("memory", "memory_mb", "predicted MB"),
        Objective("size", "size_bytes", "size", predicted=False),
    )
}


@dataclass(frozen=True)
class Candidate:
    """A recipe, and what is known of its branch."""

    recipe: Recipe
    #: Share of right answers, in [0, 1].
    accuracy: float
    #: By the quantities of the objectives, all in the same order: ``{"latency_ms": 1.9}``.
    costs: Mapping[str, float]
    #: The 95 % confidence interval of the accuracy.
    interval: tuple[float, float] = (0.0, 1.0)


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other candidate beats in accuracy and costs, by their first cost.

    Of candidates that are alike in all of them, the first is kept.
    """
    best: list[Candidate] = []
    # In this order, none can beat one that stands before it.
    for one in sorted(candidates, key=lambda c: (tuple(c.costs.values()), -c.accuracy)):
        if not any(_covers(other, one) for other in best):
            best.append(one)
    return best


def _covers(one: Candidate, other: Candidate) -> bool:
    """Whether one is at least as good as another in everything."""
    cheap = all(cost <= other.costs[name] for name, cost in one.costs.items())
    return cheap and one.accuracy >= other.accuracy


def choose(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The ``count`` candidates that together offer most, by their first cost.

    The most accurate of the front, the cheapest in each objective, then greedily what adds most to the volume of
    (costs, accuracy) that is dominated. Costs count by their logarithms, since budgets differ by factors.
    """
    options = front(candidates)
    if len(options) <= count:
        return options
    points = scaled(options, Scale.of(options))
    # A tie in a cost is the more accurate one's.
    ends = [int(np.argmax(points[:, -1])), *(int(np.lexsort((-points[:, -1], -p))[0]) for p in points[:, :-1].T)]
    chosen = list(dict.fromkeys(ends))[:count]
    while len(chosen) < count:
        rest = [index for index in range(len(options)) if index not in chosen]
        chosen.append(max(rest, key=lambda index: gain(points[index], points[chosen])))
    return [options[index] for index in sorted(chosen)]


@dataclass(frozen=True)
class Scale:
    """How costs and accuracies become coordinates that grow with what is wanted; 0 is beyond the worst of a front."""

    worst: np.ndarray
    extent: np.ndarray

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Scale:
        """The scale on which these candidates lie between 0.1 and 1.1 in every coordinate."""
        if not candidates:
            return cls(np.zeros(1), np.ones(1))
        wanted = values(candidates)
        extent = np.ptp(wanted, axis=0)
        return cls(wanted.min(axis=0), np.where(extent > 0, extent, 1.0))

    def __call__(self, wanted: np.ndarray) -> np.ndarray:
        """Coordinates (N, objectives + 1) of :func:`values`."""
        return np.maximum((wanted - self.worst) / self.extent + _MARGIN, 0.0)


def values(candidates: Sequence[Candidate]) -> np.ndarray:
    """What is wanted large (N, objectives + 1): the negative logarithms of the costs in their order, the accuracies."""
    costs = np.array([list(one.costs.values()) for one in candidates], float)
    return np.column_stack([-np.log(np.maximum(costs, _LEAST)), [one.accuracy for one in candidates]])


def scaled(candidates: Sequence[Candidate], scale: Scale) -> np.ndarray:
    """The candidates' coordinates (N, objectives + 1) on a scale."""
    return scale(values(candidates))


def gain(point: np.ndarray, points: np.ndarray) -> float:
    """What a point adds to the volume that some points dominate."""
    shadowed = np.minimum(points, point)
    if len(points) and (shadowed == point).all(axis=1).any():
        return 0.0
    return float(np.prod(point)) - volume(shadowed)


def volume(points: np.ndarray) -> float:
    """The volume between 0 and some points (N, D), none of them negative."""
    best = _undominated(points)
    if points.shape[1] == 2:
        heights = np.diff(best[:, 1], prepend=0.0)
        return float(np.sum(best[:, 0] * heights))
    return sum(gain(best[index], best[index + 1 :]) for index in range(len(best)))


def _undominated(points: np.ndarray) -> np.ndarray:
    """The points that no other is as large as, each once, from the largest first coordinate to the smallest."""
    ordered = points[np.lexsort(points.T[::-1])][::-1]
    covered = (ordered[:, None] <= ordered[None]).all(axis=-1)  # only by one that stands before it, or its equal
    return ordered[~np.tril(covered, -1).any(axis=1)]
