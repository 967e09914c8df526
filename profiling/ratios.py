"""The ratio of two medians with an interval, from runs that were measured in rounds; pure.

Devices drift, so runs of one block have more in common than runs of two, and a single run says little of its own: what
is drawn again in the bootstrap is a round, not a run. Where two cells were measured in interleaved rounds, a round
gives a block of each, and both are drawn together: what slowed the device for a while then cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adascale_runtime.seams.speed import CONFIDENCE

#: Blocks of runs in the order of their rounds.
Blocks = Sequence[Sequence[float]]

#: How often rounds are drawn again.
DRAWS = 2000
#: Of more rounds neighbours are joined, which bounds time and memory.
MOST = 32
#: The logarithm of the largest ratio that is told.
_FAR = 50.0


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians, without a unit."""

    value: float
    low: float
    high: float
    #: How many rounds the interval counts: pairs of blocks, or blocks of the side that has fewer. With one round it
    #: counts the runs of that round instead, and knows nothing of a drift.
    rounds: int
    #: Whether both sides of a round were drawn together.
    paired: bool

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above 1."""
        return self.low > 1.0

    @property
    def below(self) -> bool:
        """Whether the whole interval lies below 1."""
        return self.high < 1.0


def ratio(ones: Blocks, others: Blocks, *, paired: bool = True, seed: int = 0, draws: int = DRAWS) -> Ratio | None:
    """The median of ``ones`` divided by that of ``others``, with an interval of 95 %.

    A block counts by its median, so every round counts alike. Over rounds the centre of the logarithms is taken
    (Hodges and Lehmann's, which a round that something else disturbed hardly moves). The interval is a percentile
    bootstrap over rounds, made wider by ``t(n-1) / z * sqrt(n / (n-1))`` for n rounds, since with few rounds the plain
    one is too narrow (Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69, 2015).

    Args:
        ones: The runs of each block of one cell, all positive, in any unit.
        others: Those of the other cell, in the same unit.
        paired: Blocks of the same place are of the same round; those that have no partner are left out.
        seed: What the draws follow from.
        draws: How often rounds are drawn.

    Returns:
        None where nothing tells an interval: a side is empty, or there is one round with a single run.
    """
    ones, others = [block for block in ones if len(block)], [block for block in others if len(block)]
    rounds = min(len(ones), len(others))
    if paired:
        ones, others = ones[:rounds], others[:rounds]
    if rounds == 1:  # nothing but runs is left to be drawn
        (ones, others), paired = ([[run] for block in side for run in block] for side in (ones, others)), False
    counted = min(len(ones), len(others))
    if counted < 2:
        return None
    random = np.random.default_rng(seed)
    top, bottom = (np.log([float(np.median(block)) for block in side]) for side in (ones, others))
    if paired:
        value, drawn = _spread(top - bottom, random, draws)
    else:
        (upper, uppers), (lower, lowers) = (_spread(side, random, draws) for side in (top, bottom))
        value, drawn = upper - lower, uppers - lowers
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    wider = _student(counted - 1) / _student(None) * math.sqrt(counted / (counted - 1))
    ends = (value - wider * max(0.0, value - float(low)), value + wider * max(0.0, float(high) - value))
    # Two rounds of very different speed say next to nothing; the ends still have to be numbers.
    below, above = (math.exp(min(max(end, -_FAR), _FAR)) for end in ends)
    return Ratio(math.exp(value), below, above, rounds, paired)


def _spread(logs: np.ndarray, random: np.random.Generator, draws: int) -> tuple[float, np.ndarray]:
    """The centre of some values, and the centres, (draws,), of as many of them drawn with replacement."""
    if len(logs) > MOST:  # neighbours in time become one
        logs = np.array([piece.mean() for piece in np.array_split(logs, MOST)])
    chosen = logs[random.integers(0, len(logs), (draws, len(logs)))]
    return float(_centre(logs[None])[0]), _centre(chosen)


def _centre(values: np.ndarray) -> np.ndarray:
    """Hodges and Lehmann's centre of each row of (D, n): the median of the means of all pairs, each with itself too."""
    one, other = np.triu_indices(values.shape[1])
    return np.asarray(np.median((values[:, one] + values[:, other]) / 2, axis=1))


def _student(freedom: int | None) -> float:
    """The quantile of Student's t distribution that leaves half of what :data:`CONFIDENCE` excludes above it.

    ``freedom``: degrees of freedom, 1 or more; None for the normal distribution, which 200 degrees are as good as.
    """
    if freedom is None or freedom > 200:
        return 1.959964
    low, high = 0.0, 1e3
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < CONFIDENCE else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """The probability that Student's t lies between -t and t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(freedom))
    cos2 = math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(2 if odd else 1, freedom, 2):
        total += term
        term *= cos2 * k / (k + 1)
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
