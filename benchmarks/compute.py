"""Accuracy against total training compute: ours, and networks trained one by one with a shared teacher. Pure.

*Total* means from nothing to everything that ships. Both sides first train the full network once, which is the teacher.
Ours then joins (or not) and trains every shipped structure for ``length`` of the epochs; a rival trains every shipped
network from scratch for ``length`` of the epochs. The longer a rival trains the better it is, so that both are compared
at the same total compute: the rival's accuracy there is read off the line through its measured lengths, over the
logarithm of the length. It is an estimate, and is called one wherever it is shown.

Costs are shares of one unit: the multiply-accumulates of training every one of thirty branches alone for all epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import mean

#: Of training on an image: forward and backward. The teacher computes forward only.
STEP, PASS = 3.0, 1.0


@dataclass(frozen=True)
class Curve:
    """Accuracy in [0, 1] at several lengths, which are shares of the epochs above 0."""

    points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, accuracies: Mapping[float, float]) -> Curve:
        """A curve from accuracies by length.

        Raises:
            ValueError: there is none.
        """
        if not accuracies:
            raise ValueError("a curve needs a measured length")
        return cls(tuple(sorted(accuracies.items())))

    def at(self, length: float) -> float:
        """The accuracy at a length, on the line through its measured neighbours.

        Below the shortest measured length it is flat, above the longest one the last line goes on. Both are more than
        a rival would reach, so that neither speaks for us; :meth:`measured` says whether it is the case.
        """
        (left, low), *rest = self.points
        if length <= left or not rest:
            return low
        later = [point for point in rest if point[0] >= length] or rest[-1:]
        right, high = later[0]
        left, low = max(point for point in self.points if point[0] < right)
        return low + (high - low) * (log(length) - log(left)) / (log(right) - log(left))

    def measured(self, length: float) -> bool:
        """Whether a length lies among the measured ones."""
        return self.points[0][0] <= length <= self.points[-1][0]


@dataclass(frozen=True)
class Shipped:
    """What ships: the forward MACs that are trained one by one, and those of the teacher."""

    macs: tuple[int, ...]
    teacher: int

    def cost(self, length: float, unit: float) -> float:
        """Share of the unit that training each alone for a length takes, with one teacher pass for all of them.

        ``unit``: forward MACs of the thirty branches.
        """
        return length * (STEP * sum(self.macs) + PASS * self.teacher) / (STEP * unit)

    def length(self, cost: float, unit: float) -> float:
        """The length that a share of the unit pays for."""
        return cost / self.cost(1.0, unit)


@dataclass(frozen=True)
class Comparison:
    """Ours against rivals with a shared teacher, at the same total compute."""

    #: Total cost, in shares of the unit.
    cost: float
    #: Mean accuracy of our branches.
    ours: float
    #: Of the rivals, estimated at that cost.
    rival: float
    #: The share of the epochs that this cost leaves for each rival.
    length: float
    #: Whether that length lies among the measured ones.
    measured: bool

    @property
    def points(self) -> float:
        """Ours minus the rivals'."""
        return 100 * (self.ours - self.rival)


def compare(
    shipped: Shipped, curve: Curve, *, ours: float, cost: float, teacher_cost: float, unit: float
) -> Comparison:
    """Compare at equal total compute.

    Args:
        shipped: the rivals' networks.
        curve: their mean accuracy by length.
        ours: our mean accuracy.
        cost: our total cost.
        teacher_cost: what the shared teacher took out of the same total.
        unit: forward MACs of the thirty branches.
    """
    length = shipped.length(cost - teacher_cost, unit)
    return Comparison(cost, ours, curve.at(length), length, curve.measured(length))


def break_even(
    one: float, teacher: float, extra: float, *, length: float, ours: float, rival: Curve, most: int = 100
) -> int | None:
    """The least number of shipped branches from which on ours is at least as good at the same total compute.

    Shipping n branches of the mean size, ours takes ``extra`` and then ``length`` of each; a rival gets all of it for
    its n networks, so that its length falls towards ours as n grows.

    Args:
        one: cost of training a branch of the mean size for all epochs.
        teacher: cost of the teacher's pass over all epochs.
        extra: what ours takes beside (the join).
        length: for how long ours trains each shipped branch.
        ours: our mean accuracy then.
        rival: the rivals' mean accuracy by length.
        most: the largest number to try.

    Returns:
        The number, or None if none up to ``most`` is enough.
    """
    for count in range(1, most + 1):
        if ours >= rival.at(length + extra / (count * one + teacher)):
            return count
    return None


def spread(macs: Mapping[str, int], count: int) -> tuple[str, ...]:
    """A sample of branches spread by MACs: the middle one of each of ``count`` equal parts of them, in order."""
    ordered = sorted(macs, key=lambda name: (macs[name], name))
    part = len(ordered) / count
    return tuple(ordered[int(part * (number + 0.5))] for number in range(count))


def line(points: Sequence[tuple[float, float]], x: float) -> float:
    """The value at ``x`` of the least-squares line through points (x, y); of equal x, their mean."""
    middle_x, middle_y = mean(p[0] for p in points), mean(p[1] for p in points)
    squares = sum((p[0] - middle_x) ** 2 for p in points)
    slope = sum((p[0] - middle_x) * (p[1] - middle_y) for p in points) / squares if squares else 0.0
    return middle_y + slope * (x - middle_x)
