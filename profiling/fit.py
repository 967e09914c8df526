"""Predictors from measurements: non-negative regressions on static features, judged on branches they did not see."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut

from adascale_tf import predictors
from adascale_tf.errors import BadInput
from adascale_tf.predictors import Predictor, Predictors
from adascale_tf.records import Measurement
from profiling import device, meters

#: Sets of features, from few to all: with a dozen branches fewer often predict better, so the error decides.
_MACS = ("macs_float_m", "macs_hybrid_m", "macs_integer_m", "macs_wide_m")
FEATURE_SETS = (
    ("one", *_MACS),
    ("one", *_MACS, "activations_mb"),
    ("one", *_MACS, "activations_mb", "ops"),
    ("one", "weights_mb", "peak_mb"),
    ("one", *_MACS, "weights_mb", "activations_mb", "peak_mb", "ops"),
)
MINIMUM = 4


def fit(measurements: list[Measurement]) -> Predictors:
    """Predictors of latency, memory and energy for each device x delegate x threads among the measurements.

    The features are chosen by the same held-out error that is reported, which makes it too low where branches are few:
    by a quarter at 4, an eighth at 6, a twentieth at 10 (measured on synthetic costs; choosing anew in every fold was
    further from the truth). Raises :class:`BadInput` for fewer than four branches in a cell.
    """
    cells: dict[tuple[str, str, int], list[Measurement]] = {}
    for m in measurements:
        cells.setdefault((str(m.device.get("name")), m.delegate, m.threads), []).append(m)
    if not cells:
        raise BadInput("There are no measurements to fit; write some with 'adascale profile'.")
    found: list[Predictor] = []
    for (name, delegate, threads), members in cells.items():
        if len(members) < MINIMUM:
            raise BadInput(
                f"Only {len(members)} branches were measured on {delegate} with {threads} threads; "
                f"a predictor needs at least {MINIMUM}, so profile a bundle with more."
            )
        targets: dict[str, list[float | None]] = {
            "latency_ms": [m.latency_quantile_ms(0.5) for m in members],
            "memory_mb": [m.memory_mb for m in members],
            "energy_mj": [m.energy.value_mj if m.energy.how.startswith("measured") else None for m in members],
        }
        for quantity, values in targets.items():
            known = [(m, v) for m, v in zip(members, values, strict=True) if v is not None and v > 0]
            if len(known) >= MINIMUM:
                found.append(_fit(quantity, name, delegate, threads, known))
            elif quantity == "energy_mj":
                found.append(_estimate(name, delegate, threads, members))
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Predictors(predictors.FORMAT, tuple(found), created, device.versions())


def _fit(
    quantity: str, name: str, delegate: str, threads: int, known: list[tuple[Measurement, float]], how: str = "fitted"
) -> Predictor:
    rows = [predictors.features(m.cost, m.precision) for m, _ in known]
    y = np.array([value for _, value in known])
    error, chosen = min(
        ((held_out_error(_matrix(rows, names), y), names) for names in FEATURE_SETS), key=lambda pair: pair[0]
    )
    model = _regression(_matrix(rows, chosen), y)
    coefficients = {n: float(c) for n, c in zip(chosen, model.coef_, strict=True) if c > 0}
    ranges: dict[str, tuple[float, ...]] = {
        n: (min(r[n] for r in rows), max(r[n] for r in rows)) for n in rows[0] if n != "one"
    }
    return Predictor(quantity, name, delegate, threads, how, coefficients, ranges, len(known), error)


def _estimate(name: str, delegate: str, threads: int, members: list[Measurement]) -> Predictor:
    """Without a meter: the linear form that comes closest to the documented estimate, which stays an estimate."""
    known = [(m, meters.estimate_mj(m.cost, m.precision)) for m in members]
    fitted = _fit("energy_mj", name, delegate, threads, known, "estimated:model")
    return Predictor(**{**vars(fitted), "error": None})  # against an estimate there is no measured error


def held_out_error(x: np.ndarray, y: np.ndarray) -> float:
    """Mean absolute percentage error (a fraction) over branches that were each left out of the fit in turn.

    ``x``: features (branches, features). ``y``: the quantity (branches,), positive.
    """
    errors = []
    for train, test in LeaveOneOut().split(x):
        predicted = _regression(x[train], y[train]).predict(x[test])
        errors.append(abs(predicted[0] - y[test][0]) / y[test][0])
    return float(np.mean(errors))


def _matrix(rows: list[dict[str, float]], names: tuple[str, ...]) -> np.ndarray:
    return np.array([[row[name] for name in names] for row in rows])


def _regression(x: np.ndarray, y: np.ndarray) -> Any:
    """Non-negative least squares of *relative* errors: a branch of 0.1 ms counts as much as one of 10 ms."""
    return LinearRegression(positive=True, fit_intercept=False).fit(x, y, sample_weight=1.0 / y**2)
