"""The lines of the table of ``predict.py``: predictions against measurements."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import drift
import numpy as np
from predict_phases import ByModel

from adascale_runtime.seams import speed
from adascale_runtime.seams.predictors import Predictor
from adascale_runtime.seams.records import Measurement
from adascale_runtime.seams.speed import Figure
from profiling import fit

LEVELS = (0.05, 0.10, 0.15, 0.20)
#: Predicted and measured, by branch.
Pairs = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """A line of the table: ``within``: shares of predictions within :data:`LEVELS`; ``errors``: signed, by branch.

    ``met``: None without a goal. ``level``: what counts as close. ``note``: what else to know.
    """

    what: str
    goal: str
    count: int
    within: tuple[float, ...]
    mape: float
    met: bool | None
    errors: dict[str, float]
    level: float
    note: str = ""


def row(what: str, level: float, pairs: Pairs, goal: str = "", share: float | None = None) -> Row:
    """Judge predictions against measurements, by branch. ``share`` of them within ``level``; None: the mean error."""
    errors = {name: predicted / measured - 1 for name, (predicted, measured) in pairs.items()}
    sizes = np.abs(list(errors.values()))
    mape = float(np.mean(sizes))
    met = mape <= level if share is None else bool(np.mean(sizes <= level) >= share)
    within = tuple(float(np.mean(sizes <= at)) for at in LEVELS)
    return Row(what, goal, len(errors), within, mape, met if goal else None, errors, level)


def shares(options: argparse.Namespace, what: str, level: float, goals: tuple[float, float], pairs: Pairs) -> Row:
    """A line whose goal is a share of predictions within ``level``: on a quiet machine, and on one that wanders."""
    share = goals[1] if options.wander else goals[0]
    goal = drift.goal(options, *(f">= {100 * at:.0f} % within {100 * level:.0f} %" for at in goals))
    return row(what, level, pairs, goal, share)


def beside_repeats(line: Row, repeats: Row, share: float) -> Row:
    """A line with a note where the repeat error alone exceeds its goal."""
    same = repeats.within[LEVELS.index(line.level)]
    note = f"repeats alone: {same:.0%} within {line.level:.0%}" if same < share else ""
    return replace(line, note=note)


def seen_as_usual(predictor: Predictor, m: Measurement) -> float:
    """A measured idle latency at the speed that is usual to a predictor, in ms."""
    known = {kind: Figure(ms, ms, ms) for kind, ms in predictor.anchors.items()}
    return fit.idle_ms(m, {speed.place_of(m.device, m.settings): known})


def held_out(
    idle: dict[str, list[Measurement]], kernels: list[Measurement], few: dict[str, list[str]]
) -> dict[tuple[str, str], Pairs]:
    """(predicted, measured) by ``model/branch``, of (latency_ms or memory_mb, held-out branches or models)."""
    found: dict[tuple[str, str], Pairs] = {
        (q, h): {} for q in ("latency_ms", "memory_mb") for h in ("branches", "models")
    }
    for name, members in idle.items():
        known = [m for m in members if m.branch in few[name]]
        unknown = [m for m in members if m.branch not in few[name]]
        rest = [m for other, ms in idle.items() if other != name for m in ms]
        for how, training, judged in (("branches", known, unknown), ("models", rest, members)):
            fitted = fit.fit(training + kernels)
            for quantity in ("latency_ms", "memory_mb"):
                predictor = fitted.find(quantity, "cpu", 1)
                for m in judged if predictor is not None else ():
                    assert predictor is not None
                    measured = seen_as_usual(predictor, m) if quantity == "latency_ms" else m.memory_mb
                    if measured is not None:
                        predicted = predictor.predict(m.cost, m.precision)
                        found[quantity, how][f"{name}/{m.branch}"] = (predicted, measured)
    return found


def under_load(
    idle: dict[str, list[Measurement]], strained: dict[str, list[Measurement]], kernels: list[Measurement]
) -> Pairs:
    """(predicted, measured) mean latencies in contexts, of models whose branches were measured nowhere."""
    found = {}
    for name, members in strained.items():
        rest = [m for source in (idle, strained) for other, ms in source.items() if other != name for m in ms]
        fitted = fit.fit(rest + kernels).find("latency_ms", "cpu", 1)
        assert fitted is not None
        for m in members:
            ends = (m.context_before, m.context_after)
            predicted = float(np.mean([fitted.predict(m.cost, m.precision, context) for context in ends]))
            found[f"{name}/{m.branch}/{m.settings['context']}"] = (predicted, mean_ms(m))
    return found


def mean_ms(m: Measurement) -> float:
    """The mean of a measurement's runs, as they were seen."""
    return sum(m.latency_ms) / len(m.latency_ms)


def repeats(first: ByModel, second: ByModel, value: Callable[[Measurement], float]) -> Pairs:
    """(first, second) value of what was measured twice."""
    found = {}
    for name, members in second.items():
        earlier = {(m.branch, m.settings.get("context")): m for m in first[name]}
        for m in members:
            context = m.settings.get("context")
            where = "/".join((name, m.branch, *([context] if context else [])))
            found[where] = (value(earlier[m.branch, context]), value(m))
    return found


def at_rest(measured: Sequence[Measurement]) -> Callable[[Measurement], float]:
    """Gives the mean of a measurement over the slowdown of its context, in ms: what others used differs between two
    measurements under one load, and predictions are told of it."""
    fitted = fit.fit(list(measured)).find("latency_ms", "cpu", 1)
    assert fitted is not None

    def value(m: Measurement) -> float:
        return mean_ms(m) / float(np.mean([fitted.factor(context) for context in (m.context_before, m.context_after)]))

    return value


def energies(measurements: Sequence[Measurement]) -> dict[str, Pairs]:
    """(predicted, measured) energies on a phone: each branch left out in turn.

    ``latency measured``: the branch's latency on the phone is known, as a session knows it, only its energy is not.
    ``nothing measured``: both are predicted.
    """
    pairs: dict[str, Pairs] = {"latency measured": {}, "nothing measured": {}}
    known = [m for m in measurements if m.energy.value_mj is not None and m.energy.how.startswith("measured")]
    for m in known:
        fitted = fit.fit([other for other in known if other is not m]).find("energy_mj", "cpu", 1)
        assert fitted is not None
        assert m.energy.value_mj is not None
        where = f"{m.bundle}/{m.branch}"
        latency = m.latency_quantile_ms(0.25)
        pairs["latency measured"][where] = (
            fitted.predict(m.cost, m.precision, latency_ms=latency),
            m.energy.value_mj,
        )
        pairs["nothing measured"][where] = (fitted.predict(m.cost, m.precision), m.energy.value_mj)
    return pairs
