"""Predictors from measurements: non-negative regressions on static features, judged on branches they did not see.

Latencies are those at the device's usual speed (:mod:`adascale_runtime.seams.speed`): what was measured while the
device was slow is comparable with what was measured while it was fast. Measurements without paces are taken as seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from adascale_runtime.engines.delegates import DELEGATES
from adascale_runtime.errors import BadInput
from adascale_runtime.seams import predictors, speed
from adascale_runtime.seams.predictors import Predictor, Predictors
from adascale_runtime.seams.records import Context, Measurement, quantile
from adascale_runtime.seams.speed import Usual
from profiling import device, meters
from profiling.promises import variants
from profiling.regression import regression

#: Sets of features, from few to all: with a dozen branches fewer often predict better, so the error decides.
_MACS = ("macs_float_m", "macs_hybrid_m", "macs_integer_m", "macs_wide_m")
FEATURE_SETS = (
    ("one", *_MACS),
    ("one", *_MACS, "activations_mb"),
    ("one", *_MACS, "activations_mb", "ops"),
    ("one", "weights_mb", "peak_mb"),
    ("one", *_MACS, "weights_mb", "activations_mb", "peak_mb", "ops"),
)
#: What a process needs: the mapped file, the weights that XNNPACK packs anew, the arena, a record for each operator,
#: the code of each class of kernels: an int8 branch runs more of them than a micro-kernel, 0.8 MB in all (measured).
_PROCESS = ("one", "one_integer", "one_hybrid", "kinds", "file.bytes", "file.packed_bytes", "file.operators", "peak_mb")
#: E = s1*MACs + s2*eps*M + s3*(1-eps)*M + s4*t; for each kind of arithmetic an s1 of its own.
_ENERGY = (*_MACS, "hit_mb", "missed_mb", "latency_ms")
MINIMUM = 4
#: Where a device does not report its caches: one, of a phone's usual size.
_CACHES = {"L3": meters.CACHE_BYTES}
#: Up to so many branches each is left out alone; of more, a twelfth at a time.
_ALONE, _FOLDS = 40, 12


@dataclass(frozen=True)
class Row:
    """A measurement as a regression sees it. ``kernel``: a micro-kernel, which is learned from but not judged on."""

    values: dict[str, float]
    target: float
    kernel: bool
    source: Measurement


def fit(measurements: list[Measurement], share: str = "none") -> Predictors:
    """Predictors of latency, memory and energy for each device x delegate x threads among the measurements.

    ``share``: "model" takes phones of a model for one device (:func:`profiling.device.kind_of`). Micro-kernels
    (``settings["kernel"]``) are learned from; branches in other contexts than idle (``settings["context"]``) give the
    slowdown. The features are chosen by the same held-out error that is reported, which makes it too low where
    branches are few: by a quarter at 4, an eighth at 6, a twentieth at 10 (measured on synthetic costs; choosing anew
    in every fold was further from the truth). Raises :class:`BadInput` for fewer than four in a cell.
    """
    cells: dict[tuple[str, str, int], list[Measurement]] = {}
    for m in measurements:
        cells.setdefault((device.kind_of(m.device, share), m.delegate, m.threads), []).append(m)
    if not cells:
        raise BadInput("There are no measurements to fit; write some with 'adascale profile'.")
    fitted: list[Predictor] = []
    usual = speed.usual(measurements)
    for (name, _, _), members in cells.items():
        fitted += fit_cell(members, name, usual)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Predictors(predictors.FORMAT, tuple(fitted), created, device.versions())


def idle_ms(m: Measurement, usual: Usual) -> float:
    """What predictors learn of an idle measurement: its runs at usual speed, in ms."""
    return speed.at_usual(m, usual).value_ms


def fit_cell(members: Sequence[Measurement], name: str, usual: Usual | None = None) -> list[Predictor]:
    """The predictors of one device, called ``name``, x delegate x threads.

    ``usual``: what anchors usually take there, by more measurements than ``members`` perhaps; None: by these.
    """
    usual = speed.usual(members) if usual is None else usual
    idle = [m for m in members if is_idle(m)]
    if len(idle) < MINIMUM:
        raise BadInput(
            f"Only {len(idle)} branches were measured on {members[0].delegate} with {members[0].threads} threads; "
            f"a predictor needs at least {MINIMUM}, so profile a bundle with more."
        )
    caches = {k: int(v) for k, v in dict(idle[0].device.get("caches") or _CACHES).items()}
    first = idle[0]
    empty = Predictor("", name, first.delegate, first.threads, "fitted", {}, {}, 0)
    empty = replace(empty, caches=caches, about=_about(members), anchors=_anchors(idle, usual))
    latencies = {id(m): idle_ms(m, usual) for m in idle}
    rows = _rows(idle, [latencies[id(m)] for m in idle], caches)
    sets: tuple[tuple[str, ...], ...] = (*FEATURE_SETS, _kernel_set(rows))
    latency, guessed = _fit(replace(empty, quantity="latency_ms"), rows, sets)
    names = _support(idle)
    if names:
        rows = [replace(r, values={**r.values, predictors.PARTITIONS: float(r.source.partitions or 0)}) for r in rows]
        cut = replace(empty, quantity="latency_ms", support=names)
        other, others = _fit(cut, rows, tuple((*own, predictors.PARTITIONS) for own in sets))
        if other.error is not None and latency.error is not None and other.error < latency.error:
            latency, guessed, empty = other, others, replace(empty, support=names)
    slowdown, spread, reference = _slowdown(members, latencies)
    latency = replace(latency, slowdown=slowdown, strained=spread, reference=reference)
    fitted = [latency]
    rows = _rows(idle, [m.memory_mb for m in idle], caches)
    if len(rows) >= MINIMUM:
        sets = (_PROCESS,) if any(row.kernel for row in rows) else (*FEATURE_SETS, _PROCESS)
        fitted.append(_fit(replace(empty, quantity="memory_mb"), rows, sets)[0])
    measured = [m.energy.value_mj if m.energy.how.startswith("measured") else None for m in idle]
    rows = _rows(idle, measured, caches)
    energy = replace(empty, quantity="energy_mj")
    if len(rows) >= MINIMUM:
        fitted.append(_fit_energy(energy, rows, latency, guessed, latencies))
    else:
        rows = _rows(idle, [meters.estimate_mj(m.cost, m.precision) for m in idle], caches)
        estimated, _ = _fit(energy, rows, FEATURE_SETS)
        # Against an estimate there is no measured error.
        fitted.append(replace(estimated, how="estimated:model", error=None, spread=()))
    return fitted


def _about(members: Sequence[Measurement]) -> dict[str, str]:
    """What all measured devices have in common of what tells devices apart."""
    keys = ("serial", "manufacturer", "model", "soc", "board", "cpu")
    values = {key: {str(m.device.get(key) or "") for m in members} for key in keys}
    return {key: told.pop() for key, told in values.items() if len(told) == 1 and told != {""}}


def _anchors(idle: Sequence[Measurement], usual: Usual) -> dict[str, float]:
    """What each anchor usually takes on the device, in ms: the median where it is several, or several cores."""
    places = {speed.place_of(m.device, m.settings) for m in idle if m.paces}
    found: dict[str, list[float]] = {}
    for place in sorted(places & set(usual)):
        for kind, figure in usual[place].items():
            found.setdefault(kind, []).append(figure.value_ms)
    return {kind: float(quantile(values, 0.5)) for kind, values in found.items()}


def _support(idle: Sequence[Measurement]) -> tuple[str, ...]:
    """The entries of branches' support that tell in how many partitions the delegate takes them.

    None where that tells nothing of latency: on the CPU, whose kernels need no copies, and where it is the same for all
    branches, or not known of all.
    """
    first, counts = idle[0], {m.partitions for m in idle}
    if first.delegate not in DELEGATES or DELEGATES[first.delegate].hardware == "cpu":
        return ()
    if None in counts or len(counts) < 2:
        return ()
    return variants(first.delegate, first.device, first.versions)


def is_idle(m: Measurement) -> bool:
    """Whether a measurement was taken without load beside it."""
    return bool(m.settings.get("context", "idle") == "idle")


def _rows(members: Sequence[Measurement], targets: Sequence[float | None], caches: dict[str, int]) -> list[Row]:
    known = [(m, t) for m, t in zip(members, targets, strict=True) if t is not None and t > 0]
    return [
        Row(predictors.features(m.cost, m.precision, caches), t, bool(m.settings.get("kernel")), m) for m, t in known
    ]


def _kernel_set(rows: list[Row]) -> tuple[str, ...]:
    """Every sum of the kernels, and what misses the caches; what is only prepared costs no time later."""
    names = {n for row in rows for n in row.values if ("." in n and not n.startswith("file.")) or n.startswith("miss_")}
    return ("one", *sorted(names))


def _fit(empty: Predictor, rows: list[Row], sets: Sequence[tuple[str, ...]]) -> tuple[Predictor, dict[int, float]]:
    """``empty`` with the coefficients of the best set; and the held-out predictions by ``id`` of their measurement."""
    y = np.array([row.target for row in rows])
    kernel = np.array([row.kernel for row in rows])
    best: tuple[float, tuple[str, ...], dict[int, float]] | None = None
    for names in sets:
        if not any(name in row.values for row in rows for name in names[1:]):
            continue
        x = _matrix(rows, names)
        guesses = held_out(x, y, kernel)
        error = float(np.mean([abs(guess / y[i] - 1) for i, guess in guesses.items()]))
        if best is None or error < best[0]:
            best = (error, names, guesses)
    assert best is not None
    error, chosen, guesses = best
    coefficients = regression(_matrix(rows, chosen), y, kernel)
    ratios = [y[i] / guess for i, guess in guesses.items() if guess > 0]
    fitted = replace(
        empty,
        coefficients={n: float(c) for n, c in zip(chosen, coefficients, strict=True) if c > 0},
        ranges=_ranges(rows, chosen),
        samples=len(rows),
        error=error,
        spread=_spread(ratios),
    )
    return fitted, {id(rows[i].source): guess for i, guess in guesses.items()}


def _spread(ratios: list[float]) -> tuple[float, ...]:
    """What 5 % and 95 % of the ratios of measured to predicted stay below."""
    return (float(quantile(ratios, 0.05)), float(quantile(ratios, 0.95))) if ratios else ()


def _ranges(rows: list[Row], chosen: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """Smallest and largest values, of the sums only where they were used: a manifest holds many that say the same."""
    names = {
        n
        for row in rows
        for n in row.values
        if "." not in n and not n.startswith(("one", "miss", "hit")) and (n != "kinds" or n in chosen)
    }
    counts = {n for row in rows for n in row.values if n.endswith(".count")} if any("." in n for n in chosen) else set()
    values = {n: [row.values.get(n, 0.0) for row in rows] for n in sorted(names | counts)}
    return {n: (min(v), max(v)) for n, v in values.items()}


def _fit_energy(
    empty: Predictor, rows: list[Row], latency: Predictor, guessed: dict[int, float], latencies: dict[int, float]
) -> Predictor:
    """E of MACs, served and missed bytes, and time; its error is that of energies from *predicted* latencies.

    ``guessed``: held-out latencies; ``latencies``: measured ones; both by ``id`` of their measurement.
    """
    caches = empty.caches
    missed = f"miss_{max(caches, key=lambda name: caches[name])}_mb" if caches else "missed_mb"
    timed = [replace(row, values={**row.values, "latency_ms": latencies[id(row.source)]}) for row in rows]
    names = tuple(missed if n == "missed_mb" else n for n in _ENERGY)
    fitted, _ = _fit(replace(empty, latency=latency.coefficients), timed, (("one", *names), ("one", "latency_ms")))
    chosen = tuple(fitted.coefficients)
    y = np.array([row.target for row in timed])
    x = _matrix(timed, chosen)
    ratios = []
    for train, test in _folds(len(rows)):
        coefficients = regression(x[train], y[train], np.zeros(len(train), bool))
        for i in test:
            values = {**timed[i].values, "latency_ms": guessed.get(id(timed[i].source), timed[i].values["latency_ms"])}
            guess = float(np.dot(coefficients, [values.get(n, 0.0) for n in chosen]))
            ratios.append(y[i] / guess if guess > 0 else np.inf)
    error = float(np.mean([abs(1 / ratio - 1) for ratio in ratios]))
    return replace(fitted, error=error, spread=_spread(ratios))


def held_out(x: np.ndarray, y: np.ndarray, kernel: np.ndarray) -> dict[int, float]:
    """Predictions for rows that were left out of the fit: of all branches, or of micro-kernels where there are no
    others.

    ``x``: features (rows, features). ``y``: the quantity (rows,), positive. ``kernel``: which rows are micro-kernels.
    """
    judged = np.flatnonzero(~kernel) if (~kernel).sum() >= MINIMUM else np.arange(len(y))
    predicted: dict[int, float] = {}
    for _, left_out in _folds(len(judged)):
        test = judged[left_out]
        train = np.setdiff1d(np.arange(len(y)), test)
        coefficients = regression(x[train], y[train], kernel[train])
        predicted.update({int(i): float(x[i] @ coefficients) for i in test})
    return predicted


def held_out_error(x: np.ndarray, y: np.ndarray) -> float:
    """Mean absolute percentage error (a fraction) over branches that were left out of the fit.

    ``x``: features (branches, features). ``y``: the quantity (branches,), positive.
    """
    return float(np.mean([abs(guess / y[i] - 1) for i, guess in held_out(x, y, np.zeros(len(y), bool)).items()]))


def _folds(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    folds = KFold(count) if count <= _ALONE else KFold(_FOLDS, shuffle=True, random_state=0)
    return list(folds.split(np.zeros(count)))


def _matrix(rows: list[Row], names: Sequence[str]) -> np.ndarray:
    return np.array([[row.values.get(name, 0.0) for name in names] for row in rows])


def _slowdown(
    members: Sequence[Measurement], latencies: dict[int, float]
) -> tuple[dict[str, float], tuple[float, ...], dict[str, float]]:
    """What each strain of a context adds, how far measured means lie from that, and the idle reference.

    Means, as they were seen, against the same branch's idle latency at usual speed (``latencies``, by ``id``): under
    load most short runs are untouched, a few wait for milliseconds.
    """
    idle = {m.key: m for m in members if is_idle(m) and not m.settings.get("kernel")}
    pairs = [(m, idle[m.key]) for m in members if not is_idle(m) and m.key in idle]
    if not pairs:
        return {}, (), {}
    reference = {}
    for name in ("cpu_freq_mhz", "memory_free_mb"):
        known = [getattr(m.context_before, name) for m in idle.values() if getattr(m.context_before, name)]
        if known:
            reference[name] = quantile(known, 0.5)
    loads = [c.cpu_load for m in idle.values() for c in (m.context_before, m.context_after) if c.cpu_load is not None]
    if loads:
        reference["cpu_load"] = quantile(loads, 0.5)
    names = ("load", "waiting", "clock", "memory")
    x = np.array([[strain(m, reference)[name] for name in names] for m, _ in pairs])
    y = np.array([sum(m.latency_ms) / len(m.latency_ms) / latencies[id(base)] for m, base in pairs])
    fitted = LinearRegression(positive=True, fit_intercept=False).fit(x / y[:, None], (y - 1.0) / y)
    ratios = list(y / (1.0 + x @ fitted.coef_))
    weights = {name: float(c) for name, c in zip(names, fitted.coef_, strict=True) if c > 0}
    return weights, _spread(ratios), reference


def strain(m: Measurement, reference: dict[str, float]) -> dict[str, float]:
    """The mean strain of a measurement's contexts before and after."""
    ends = [predictors.strain(c, m.threads, reference) for c in (m.context_before, m.context_after) if _told(c)]
    ends = ends or [predictors.strain(Context(0.0), m.threads, reference)]
    return {name: sum(end[name] for end in ends) / len(ends) for name in ends[0]}


def _told(context: Context) -> bool:
    return context.cpu_load is not None or context.runnable is not None
