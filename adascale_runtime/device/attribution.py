"""What a device draws at rest, and how many times the predicted energy inferences really take, from measured power.

Measured power is taken as ``rest + sum over engines of k * predicted power``. A Kalman filter learns ``rest`` and each
engine's ``k`` from spans of some seconds. It begins with every ``k`` at 1, and lets ``rest`` drift more than ``k``:
what other programs draw changes from minute to minute, how wrong a prediction is does not. Pure.
"""

from __future__ import annotations

import math
from typing import Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from adascale_runtime.policies.limits import Engine

#: How far predictions may be off, as a standard deviation of ``k``; how unknown the rest is at first, in mW.
WRONG, UNKNOWN_MW = 0.5, 1e5
#: What the model does not know of a span's power, as a share of it, and in mW: no meter tells power better than that.
NOISE, FLOOR_MW = 0.02, 1.0
#: How far ``rest`` (as a share of the power) and ``k`` may drift in the square root of a second.
REST_DRIFT, DRIFT = 0.01, 0.003
#: A span that is further than this from what was expected, in standard deviations, counts as this far.
SURPRISE = 3.0
#: What ``k`` can be.
FACTORS = 0.1, 10.0


class Attribution(NamedTuple):
    """What is known: estimates of the rest (mW) and of each engine's ``k``, and their covariance. Immutable."""

    engines: Tuple[Engine, ...] = ()
    mean: Tuple[float, ...] = (0.0,)
    covariance: Tuple[Tuple[float, ...], ...] = ((UNKNOWN_MW**2,),)

    @property
    def rest_mw(self) -> Optional[float]:
        """What the device draws without inferences, in mW; None before anything was seen."""
        return self.mean[0] if self.covariance[0][0] < UNKNOWN_MW**2 / 2 else None

    @property
    def energies(self) -> Dict[Engine, float]:
        """How many times the predicted energy inferences take, by engine."""
        return dict(zip(self.engines, self.mean[1:]))


def seen(
    known: Attribution, power_mw: float, error_mw: float, predicted_mw: Mapping[Engine, float], seconds: float
) -> Attribution:
    """What is known after a span.

    Args:
        known: What was known before it.
        power_mw: The mean power that was measured.
        error_mw: Its standard error.
        predicted_mw: What inferences were predicted to draw over the span, by engine; empty for a span of rest.
        seconds: The time since the span before.
    """
    known = _with(known, [engine for engine, power in predicted_mw.items() if power > 0.0])
    inputs = [1.0] + [predicted_mw.get(engine, 0.0) for engine in known.engines]
    covariance = [list(row) for row in known.covariance]
    for index in range(len(covariance)):
        drift = REST_DRIFT * power_mw if index == 0 else DRIFT
        covariance[index][index] += seconds * drift**2
    spread = [_dot(row, inputs) for row in covariance]
    noise = error_mw**2 + (NOISE * power_mw) ** 2 + FLOOR_MW**2
    variance = _dot(spread, inputs) + noise
    surprise = power_mw - _dot(known.mean, inputs)
    most = SURPRISE * math.sqrt(variance)
    surprise = min(most, max(-most, surprise))
    gain = [value / variance for value in spread]
    mean = [value + share * surprise for value, share in zip(known.mean, gain)]
    mean = [max(0.0, mean[0])] + [min(FACTORS[1], max(FACTORS[0], value)) for value in mean[1:]]
    return Attribution(known.engines, tuple(mean), _left(covariance, gain, inputs, noise))


def _left(
    covariance: Sequence[Sequence[float]], gain: Sequence[float], inputs: Sequence[float], noise: float
) -> Tuple[Tuple[float, ...], ...]:
    """The covariance after a span, in Joseph's form: rounding makes the short one, ``P - gain spread'``, negative."""
    size = range(len(gain))
    keeps = [[(1.0 if i == j else 0.0) - gain[i] * inputs[j] for j in size] for i in size]
    columns = list(zip(*covariance))
    kept = [[_dot(row, column) for column in columns] for row in keeps]
    return tuple(tuple(_dot(kept[i], keeps[j]) + noise * gain[i] * gain[j] for j in size) for i in size)


def _with(known: Attribution, engines: Sequence[Engine]) -> Attribution:
    """The same with engines that are new."""
    for engine in engines:
        if engine not in known.engines:
            rows = tuple((*row, 0.0) for row in known.covariance)
            last = (*(0.0 for _ in known.mean), WRONG**2)
            known = Attribution((*known.engines, engine), (*known.mean, 1.0), (*rows, last))
    return known


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other))
