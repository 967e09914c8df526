"""The rules of cascades: run a cheap branch first, and a better one if the first is unsure. Pure functions and a gate.

:mod:`adascale_runtime.cascade_session` applies them. The required confidence follows from the budget: as many inputs
may run twice as the *mean* latency allows.
The least sure share of the recent answers is then asked again. Confidence is the largest class probability; a
temperature makes it a frequency, which decides nothing here but when to stop: an answer that is right in ``sure`` of
cases is never asked again.

References:
    Viola and Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR 2001.
    Wang et al., "IDK Cascades: Fast Deep Learning by Learning not to Overthink", UAI 2018.
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Deque, List, Sequence, Tuple

from adascale_runtime.errors import BadInput
from adascale_runtime.policies.policy import Option, Table, rank

#: Answers whose confidences set the threshold.
RECENT = 200


@dataclass(frozen=True)
class Pair:
    """The branch that answers first and the one that is asked when it is not sure."""

    first: Option
    second: Option


def choose(table: Table, budget_ms: float) -> Pair:
    """The pair that promises the highest accuracy with a mean latency within the budget; twice the same branch where
    one alone promises as much.

    A share p of inputs can be asked twice, p = (budget - first) / second; they are taken to be those that the first is
    least sure of, where the second is right as often as it is on all inputs and the first no more often than by its
    misses allow: accuracy = a1 + min(p, 1 - a1) * a2, an estimate that only ranks pairs.

    Args:
        table: The options to choose from.
        budget_ms: What the mean latency should keep, in ms.

    Raises:
        BadInput: No branch fits.
    """
    firsts = [option for option in table if option.latency_ms <= budget_ms]
    if not firsts:
        raise BadInput("No branch fits a mean of {:g} ms; loosen the budget.".format(budget_ms))
    pairs = [Pair(a, b) for a in firsts for b in table if b is a or b.accuracy > a.accuracy]

    def order(pair: Pair) -> Tuple[float, Tuple[float, float, str], Tuple[float, float, str]]:
        return -round(_promise(pair, budget_ms), 9), rank(pair.first), rank(pair.second)

    return min(pairs, key=order)


def _promise(pair: Pair, budget_ms: float) -> float:
    """The accuracy that a pair promises."""
    first, second = pair.first, pair.second
    if first is second:
        return first.accuracy
    share = (budget_ms - first.latency_ms) / second.latency_ms
    return first.accuracy + min(share, 1.0 - first.accuracy) * second.accuracy


def softmax(values: Sequence[float], temperature: float = 1.0) -> Tuple[float, ...]:
    """Class probabilities of logits (classes,)."""
    top = max(values)
    powers = [math.exp((value - top) / temperature) for value in values]
    total = sum(powers)
    return tuple(power / total for power in powers)


def fit_temperature(outputs: Sequence[Sequence[float]], labels: Sequence[int]) -> float:
    """The temperature that makes confidences frequencies: the least negative log-likelihood, by golden section.

    Args:
        outputs: Logits of a branch, (examples, classes).
        labels: The right class of each example.

    Returns:
        A temperature in [0.05, 20].
    """

    def loss(log_t: float) -> float:
        t = math.exp(log_t)
        return -sum(math.log(max(1e-12, softmax(row, t)[label])) for row, label in zip(outputs, labels))

    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5.0) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = loss(a), loss(b)
    for _ in range(40):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = loss(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = loss(b)
    return math.exp((low + high) / 2)


class Gate:
    """Decides whether an answer is sure enough, so that on average a share of them is asked again.

    Args:
        sure: An answer of this confidence, in [0, 1], is never asked again.
    """

    def __init__(self, sure: float = 0.999) -> None:
        self.sure = sure
        self._recent: Deque[float] = deque(maxlen=RECENT)
        self._owed = 0.0

    def asks(self, confidence: float, share: float) -> bool:
        """Whether to ask again, if a ``share`` in [0, 1] of all answers may be."""
        less = sum(value < confidence for value in self._recent)
        alike = self._recent.count(confidence)
        room = share * len(self._recent) - less  # so many of those that are alike may be asked
        fits = room > 0.0 or not self._recent
        self._recent.append(confidence)
        if confidence >= self.sure or share <= 0.0 or not fits:
            return False
        if room >= alike:
            return True
        self._owed += room / alike  # integer branches answer alike often: of these, some are asked
        if self._owed < 1.0:
            return False
        self._owed -= 1.0
        return True


def share_of(pair: Pair, budget_ms: float, slowdown: float = 1.0) -> float:
    """The share of inputs that may be asked twice for the mean latency to keep the budget, in [0, 1]."""
    left = budget_ms - pair.first.latency_ms * slowdown
    return min(1.0, max(0.0, left / (pair.second.latency_ms * slowdown)))


def logits(output: Any) -> List[float]:
    """The numbers of a branch's output (batch of 1): an array's, or those of a tensor where numpy is not installed."""
    values = output.values if hasattr(output, "values") else output.reshape(-1)
    return [float(value) for value in values]


def confidence(output: Any, temperature: float) -> float:
    """The largest class probability of a branch's output (batch of 1)."""
    return max(softmax(logits(output), temperature))
