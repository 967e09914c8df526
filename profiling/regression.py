"""Non-negative regressions of relative errors that a few measurements hit by a neighbour do not bend."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression

#: Pull of every coefficient towards 0, in units of its feature's mean contribution: decides between features that the
#: data cannot tell apart, and is far too weak to bend what it can.
_RIDGE = 1e-4
#: How much more a branch counts than a micro-kernel, in squared error: it is what will be predicted.
_BRANCH_WEIGHT = 4.0
#: Huber's constant: residuals beyond so many standard deviations count in proportion to their size, not its square.
#: With it the fit needs 5 % more measurements than least squares where all errors are normal.
_HUBER = 1.345
#: The standard deviation of a normal distribution over its median absolute deviation.
_NORMAL = 1.4826
#: A relative residual is not taken for an outlier because others are smaller than what a measurement can tell.
_LEAST_SCALE = 0.01
#: The median absolute deviation of fewer residuals says little.
_FEW = 4
_ITERATIONS, _SETTLED = 10, 0.02


def regression(x: np.ndarray, y: np.ndarray, kernel: np.ndarray) -> Any:
    """Non-negative coefficients (features,) for *relative* errors: a branch of 0.1 ms counts as much as one of 10 ms.

    Least squares, reweighted with Huber's weights until they settle (Huber, "Robust Estimation of a Location
    Parameter", 1964). The scale of residuals is from their median absolute deviation, of branches and of micro-kernels
    apart. With a weak ridge, as rows that want every coefficient to be 0.

    Args:
        x: Features (rows, features).
        y: The quantity (rows,), positive.
        kernel: Which rows are micro-kernels (rows,).
    """
    base = np.where(kernel, 1.0, _BRANCH_WEIGHT)
    relative = x / y[:, None]
    scale = np.sqrt(np.mean(base[:, None] * relative**2, axis=0))
    scale[scale == 0] = 1.0
    relative = relative / scale
    pull = _RIDGE * np.sqrt(len(y)) * np.eye(x.shape[1])
    rows, wanted = np.vstack([relative, pull]), np.concatenate([np.ones(len(y)), np.zeros(x.shape[1])])
    trust = np.ones(len(y))
    for _ in range(_ITERATIONS):
        model = LinearRegression(positive=True, fit_intercept=False)
        model.fit(rows, wanted, sample_weight=np.concatenate([base * trust, np.ones(x.shape[1])]))
        before, trust = trust, _trust(1.0 - relative @ model.coef_, kernel)
        if np.max(np.abs(trust - before)) < _SETTLED:
            break
    return model.coef_ / scale


def _trust(residuals: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Huber's weight of each row, in (0, 1], by its relative residual."""
    sizes = np.abs(residuals)
    spread = np.full(len(sizes), np.median(sizes))
    for kind in (kernel, ~kernel):
        if kind.sum() >= _FEW:
            spread[kind] = np.median(sizes[kind])
    limit = _HUBER * np.maximum(_NORMAL * spread, _LEAST_SCALE)
    return np.asarray(np.minimum(1.0, limit / np.maximum(sizes, 1e-12)))
