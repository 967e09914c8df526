"""What training would give branches that had none or a few steps: an estimate from the branches that were trained.

Accuracy is taken to grow with the multiply-accumulates that are not by zero: a monotone curve over their logarithm,
through the trained branches (isotonic regression). A few branches cannot support more parameters, and between two of
them the curve is a straight line. Beyond them nothing is said. Early exits have a curve of their own, and so have
pruned branches, which lose less than a smaller structure with as many multiplications that are not by zero.

References:
    Barlow et al., Statistical Inference under Order Restrictions, 1972.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import Recipe

if TYPE_CHECKING:
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.network.trunk import Trunk


@dataclass(frozen=True)
class Estimate:
    """What a branch would answer if it were trained like the others, as far as those can tell."""

    #: The estimated accuracy of its float network after training, in [0, 1].
    trained_accuracy: float
    #: The measured one as it is, on the same examples.
    accuracy: float
    #: Points of accuracy (1 point is 0.01) between both; never negative.
    loss_points: float
    #: Mean difference in points if each of the trained branches is estimated from the others; None if none can be.
    error_points: float | None
    #: How many trained branches the estimate rests on.
    branches: int
    #: Examples that accuracies were measured on.
    examples: int


def expect(
    evolved: ElasticNetwork, network: ElasticNetwork, dataset: Dataset, tick: Tick = silent
) -> dict[Recipe, Estimate]:
    """Estimates for the branches that were not trained.

    Args:
        evolved: the network with the new branches, ready to answer.
        network: the trained one that they are derived from.
        dataset: accuracy is measured on its validation split.
        tick: called with "compare" for each trunk.

    Returns:
        An estimate for each recipe that was never trained, except where fewer than two trained branches are known or
        where none is as cheap.
    """
    branches = {_key(network, recipe): _Branch.of(network, recipe) for recipe in (Recipe(), *network.recipes)}
    new = {recipe: _Branch.of(evolved, recipe) for recipe in evolved.recipes if _key(evolved, recipe) not in branches}
    if not new:
        return {}
    measured = Measured(dataset)
    trunks = list(dict.fromkeys(branch.trunk for branch in (*branches.values(), *new.values())))
    for number, trunk in enumerate(trunks, start=1):
        measured.accuracy(trunk, 1)
        tick("compare", number, len(trunks), str(trunk.recipe))
    estimates = {}
    for recipe, branch in new.items():
        points = [
            (known.macs, measured.accuracy(known.trunk, known.exit))
            for known in branches.values()
            if known.early == branch.early and (known.limited == branch.limited or not known.trunk.recipe.steps)
        ]
        expected = interpolated(points, branch.macs)
        if expected is not None:
            reached = measured.accuracy(branch.trunk, branch.exit)
            best, error = max(expected, reached), held_out_error(points)
            estimates[recipe] = Estimate(
                best, reached, 100 * (best - reached), None if error is None else 100 * error,
                len(points), measured.examples,
            )  # fmt: skip
    return estimates


def facts(estimates: dict[Recipe, Estimate]) -> dict[Recipe, dict[str, Any]]:
    """What a manifest's ``training`` keeps of estimates, by recipe."""
    return {recipe: {"estimate": asdict(estimate)} for recipe, estimate in estimates.items()}


def interpolated(points: Sequence[tuple[float, float]], macs: float) -> float | None:
    """The accuracy at so many MACs on a monotone curve through points of (MACs, accuracy).

    None if the points have fewer than two different MACs, or lie all to one side.
    """
    from sklearn.isotonic import IsotonicRegression

    x, y = np.log([point[0] for point in points]), [point[1] for point in points]
    if len(set(x)) < 2 or not min(x) <= np.log(macs) <= max(x):
        return None
    return float(IsotonicRegression().fit(x, y).predict([np.log(macs)])[0])


def held_out_error(points: Sequence[tuple[float, float]]) -> float | None:
    """The mean absolute error of :func:`interpolated` at each point, from the others; None if none can be estimated."""
    errors = []
    for number, (macs, accuracy) in enumerate(points):
        expected = interpolated([*points[:number], *points[number + 1 :]], macs)
        if expected is not None:
            errors.append(abs(expected - accuracy))
    return float(np.mean(errors)) if errors else None


@dataclass(frozen=True)
class _Branch:
    """Where a branch's answers come from."""

    trunk: Trunk
    #: The exit's number, counted from 1.
    exit: int
    #: Whether it is an exit before the last.
    early: bool
    #: Multiply-accumulates that are not by zero.
    macs: float
    #: Whether its weights are limited, such as pruned ones.
    limited: bool

    @classmethod
    def of(cls, network: ElasticNetwork, recipe: Recipe) -> _Branch:
        from adascale_tf import operators
        from adascale_tf.bridge.functional import slots
        from adascale_tf.graph import shapes

        trunk, number = network.trunk(recipe), network.exit(recipe)
        graph = network.plan(recipe).graph
        weights: dict[str, list[int]] = {}  # by layer: those that are not zero, and all
        for (layer, _), slot in slots(trunk.settle()).items():
            if len(slot.variable.shape) > 1:
                value = slot.variable.numpy()
                count = weights.setdefault(layer, [0, 0])
                count[0] += int(np.count_nonzero(value))
                count[1] += value.size
        macs = 0.0
        for node in graph.nodes:
            kept, size = weights.get(node.name, (1, 1))
            macs += shapes.layer_macs(graph, node) * kept / max(1, size)
        limited = any(operators.lookup(step).kind == "weights" for step in trunk.recipe.steps)
        return cls(trunk, number, number < network.trunks[0].exits, macs, limited)


def _key(network: ElasticNetwork, recipe: Recipe) -> tuple[Recipe, int]:
    """What training knows of a branch: its structure and its exit."""
    from adascale_tf import operators

    return operators.trunk(recipe), network.exit(recipe)


class Measured:
    """Accuracies on the validation split, each trunk computed once for all its exits."""

    def __init__(self, dataset: Dataset) -> None:
        x, self._y = dataset.validation
        self._parts = [dataset.inputs(x[i : i + 256]) for i in range(0, len(x), 256)]
        self._known: dict[Trunk, list[float]] = {}

    @property
    def examples(self) -> int:
        """How many there are."""
        return len(self._y)

    def accuracy(self, trunk: Trunk, exit: int) -> float:
        """Share of right answers of one exit."""
        if trunk not in self._known:
            answers = [[np.argmax(out, -1) for out in trunk.call(x, training=False)] for x in self._parts]
            self._known[trunk] = [
                float(np.mean(np.concatenate(parts) == self._y)) for parts in zip(*answers, strict=True)
            ]
        return self._known[trunk][exit - 1]
