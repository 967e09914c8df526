"""Predictors: fitted regressions from a branch's static cost to latency, memory and energy, as plain coefficients.

Format ``adascale-predictors/1``. Standard library only and Python 3.8 compatible: fitted by :mod:`profiling.fit` with
scikit-learn, used on a phone without it. A prediction is the dot product of non-negative coefficients with
:func:`features`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from adascale_tf import codec
from adascale_tf.bundle import Branch, Cost
from adascale_tf.errors import BadInput

FORMAT = "adascale-predictors/1"

#: How the multiplications of a precision are computed: float kernels, int8 weights with float activations, integers,
#: or integers with 16-bit activations.
COMPUTE = {
    "float32": "float", "float16": "float", "dynamic": "hybrid", "int8": "integer", "qat": "integer", "int16x8": "wide",
}  # fmt: skip


def features(cost: Cost, precision: str) -> Dict[str, float]:
    """The named, non-negative features of a branch: MACs in millions by kind of arithmetic, bytes moved in MB, ops."""
    values = {"one": 1.0, **{"macs_{}_m".format(kind): 0.0 for kind in COMPUTE.values()}}
    values["macs_{}_m".format(COMPUTE[precision])] = cost.macs / 1e6
    values["weights_mb"] = cost.weight_bytes / 1e6
    values["activations_mb"] = cost.activation_bytes / 1e6
    values["peak_mb"] = cost.peak_bytes / 1e6
    values["ops"] = float(cost.ops)
    return values


@dataclass(frozen=True)
class Predictor:
    """One quantity (``latency_ms``, ``memory_mb``, ``energy_mj``) on one device x delegate x threads.

    ``how``: ``fitted`` or, for energy without a meter, ``estimated:...``. ``error``: mean absolute percentage error
    in [0, ...) on held-out branches (leave-one-out), None where nothing was fitted. ``ranges``: smallest and largest
    value of each feature among the ``samples`` measurements it was fitted on.
    """

    quantity: str
    device: str
    delegate: str
    threads: int
    how: str
    coefficients: Dict[str, float]
    ranges: Dict[str, Tuple[float, ...]]
    samples: int
    error: Optional[float] = None

    def predict(self, cost: Cost, precision: str) -> float:
        """The predicted quantity, in the unit that its name says."""
        values = features(cost, precision)
        return sum(weight * values[name] for name, weight in self.coefficients.items())

    def outside(self, cost: Cost, precision: str) -> Tuple[str, ...]:
        """The features of a branch that lie outside the data this predictor holds for."""
        values = features(cost, precision)
        return tuple(n for n, (low, high) in self.ranges.items() if not low <= values[n] <= high)


@dataclass(frozen=True)
class Predictors:
    """All predictors of one file."""

    format: str
    predictors: Tuple[Predictor, ...]
    created: str
    versions: Dict[str, str]

    def find(self, quantity: str, delegate: str, threads: int) -> Optional[Predictor]:
        """The predictor of that cell, or None."""
        for p in self.predictors:
            if (p.quantity, p.delegate, p.threads) == (quantity, delegate, threads):
                return p
        return None

    def predict(self, quantity: str, branch: Branch, delegate: str, threads: int) -> Optional[float]:
        """The prediction for a branch, or None where there is no predictor."""
        found = self.find(quantity, delegate, threads)
        return None if found is None else found.predict(branch.cost, branch.precision)


def load(path: Path) -> Predictors:
    """Read a predictors file; :class:`BadInput` says what is wrong with it."""
    data: Any = codec.read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BadInput(
            "{} is not a predictors file ({!r} is expected); write one with 'adascale fit'.".format(path, FORMAT)
        )
    return codec.from_json(Predictors, data, str(path))
