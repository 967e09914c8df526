"""What options take when a session opens, and how fast the device was just then.

The anchors (:mod:`adascale_runtime.measuring.anchors`) run before, between and after the rounds of the probe. What an
option took, divided by what the anchor of its arithmetic took beside it, times what that anchor usually takes on the
device is its latency at usual speed (:mod:`adascale_runtime.seams.speed`): a table that was measured at a lucky moment
is as one that was not. What the anchors took last, over what they usually take, is the slowdown that a session begins
with.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.measuring.anchors import Anchors
from adascale_runtime.policies.limits import Engine
from adascale_runtime.seams import speed
from adascale_runtime.seams.pace import KINDS, Pace
from adascale_runtime.seams.records import quantile
from adascale_runtime.seams.speed import Figure, Timed

#: How long the latency of each option is measured when a session opens, in seconds.
PROBE_S = 0.03
#: Rounds at most, and those that every option gets however slow it is.
MOST, LEAST = 200, 5
#: About so many looks at the anchors; the rounds between two last at least so many seconds, and so many times what a
#: look takes.
LOOKS, APART_S, SPARE = 8, 0.01, 10.0
#: Looks that tell the speed of the moment: one alone may have been interrupted.
LATEST = 5
_PLACE = "", ""


class Probe(NamedTuple):
    """What was measured when a session opened; options by id."""

    #: The latencies of each option, in ms, one after the other; an option that failed is not there.
    latency_ms: Dict[str, Tuple[float, ...]]
    #: What the anchors took; of each option's runs, those that ``run`` counts were done before. None without anchors.
    paces: Dict[str, Tuple[Pace, ...]]

    def took(self, latest: int = 0) -> Dict[str, float]:
        """What each anchor took, by kind, in ms: the median over all looks, or the ``latest`` ones."""
        looks = next(iter(self.paces.values()), ())[-latest:]
        told = {kind: [ms for ms in (pace.of(kind) for pace in looks) if ms is not None] for kind in KINDS}
        return {kind: quantile(values, 0.5) for kind, values in told.items() if values}


def probe(
    runners: Mapping[str, Any],
    anchors: Optional[Anchors] = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """Run each runner on zeros, in interleaved rounds of about :data:`PROBE_S` for each, with the anchors between them.

    Args:
        runners: What runs each option; a branch that fails has no entry in what comes back.
        anchors: What tells the device's speed; None for runs alone.
        clock: Seconds.
    """
    inputs = {key: runner.zeros() for key, runner in runners.items()}
    spent: Dict[str, List[float]] = {key: [] for key in runners}
    beside: Dict[str, List[Pace]] = {key: [] for key in runners}
    apart_s, due_s = max(APART_S, len(runners) * PROBE_S / LOOKS), -math.inf
    for number in range(MOST):
        left = [key for key in spent if number < LEAST or sum(spent[key]) <= 1e3 * PROBE_S]
        if not left:
            break
        if anchors is not None and clock() >= due_s:
            looked_s = clock()
            _look(anchors, spent, beside)
            ended_s = clock()
            due_s = ended_s + max(apart_s, SPARE * (ended_s - looked_s))
        for key in left:
            begun = clock()
            try:
                runners[key](inputs[key])
            except (AdaScaleError, RuntimeError, ValueError):
                del spent[key], beside[key]
                continue
            spent[key].append(1e3 * (clock() - begun))
    if anchors is not None:
        _look(anchors, spent, beside)
    return Probe(
        {key: tuple(values) for key, values in spent.items()},
        {key: tuple(paces) for key, paces in beside.items() if paces},
    )


def _look(anchors: Anchors, spent: Mapping[str, Sequence[float]], beside: Mapping[str, List[Pace]]) -> None:
    """Look at the anchors, beside the runs of all options."""
    pace = anchors.pace(0)
    for key, paces in beside.items():
        paces.append(replace(pace, run=len(spent[key])))


def usual_of(openings: Mapping[str, Sequence[float]], took: Mapping[str, float]) -> Dict[str, float]:
    """What each anchor usually takes on a device, in ms by kind: the median over its openings.

    Args:
        openings: What the anchors took when earlier sessions opened, in ms by kind; empty if nothing is known.
        took: What they take now.
    """
    return {kind: quantile([*openings.get(kind, ()), ms], 0.5) for kind, ms in took.items()}


def latencies(probed: Probe, anchors: Mapping[str, Optional[str]], usual: Mapping[str, float]) -> Dict[str, float]:
    """The latency of each option at the device's usual speed, in ms; its median as seen where no anchor tells it.

    Args:
        probed: What was measured.
        anchors: The kind of anchor that tells each option's speed (:func:`.speed.anchor_of`).
        usual: What each anchor usually takes, in ms by kind.
    """
    known = {_PLACE: {kind: Figure(ms, ms, ms) for kind, ms in usual.items()}}
    return {
        key: speed.figure(Timed(_PLACE, spent, probed.paces.get(key, ()), anchor=anchors[key]), known).value_ms
        for key, spent in probed.latency_ms.items()
    }


def slowdowns(
    probed: Probe, options: Sequence[Tuple[Engine, Optional[str]]], usual: Mapping[str, float]
) -> Dict[Engine, float]:
    """How many times longer than usual each engine takes just now: the median over its options; without those that no
    anchor tells of.

    Args:
        probed: What was measured.
        options: The engine of each option, and the kind of anchor that tells its speed.
        usual: What each anchor usually takes, in ms by kind.
    """
    now = {kind: ms / usual[kind] for kind, ms in probed.took(LATEST).items() if kind in usual}
    told: Dict[Engine, List[float]] = {}
    for engine, kind in options:
        if kind in now:
            told.setdefault(engine, []).append(now[kind])
    return {engine: quantile(values, 0.5) for engine, values in told.items()}
