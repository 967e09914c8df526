"""Latencies at a device's usual speed: pure functions on measurements with the paces of their anchors.

A measurement's runs lie in chunks of some 10 ms, each between two looks at the anchors (:mod:`.pace`). A chunk's
relative cost is what a run took divided by what the anchor of the same arithmetic took just before and after it. Times
what that anchor usually takes on the device, it is the latency at the device's usual speed.

A chunk counts by the mean of its runs, because only a mean is slowed down in proportion: where a device is slow because
something takes a share of each moment, a short run is hit or it is not, and the median run says nothing until every
other one is.

Anchors stand for the speed of CPU cores, so only branches on delegates of the CPU are corrected; and only measurements
of an idle device, since what other processes take away is what a measurement under load is about.
Standard library, Python 3.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from adascale_runtime.engines.registry import preempted
from adascale_runtime.seams.pace import KINDS, Pace
from adascale_runtime.seams.precisions import arithmetic
from adascale_runtime.seams.records import Measurement, quantile

#: The probability that an interval contains the true value.
CONFIDENCE = 0.95
#: Percent, to either side, as well as which a latency is to be known where nothing else is asked for.
PRECISE = 1.5
#: Percent, to either side, that a branch differs by when it is opened again, however long it is measured: where its
#: weights come to lie is the same in all blocks, so that they say nothing of it.
REOPENED = 1.0
#: With fewer blocks than this an interval counts chunks, and with fewer chunks runs.
FEW = 3
#: A run that takes more than so many times the median of its chunk waited for a time slice of another process, which is
#: not what a device's speed is about.
STALLED = 4.0
#: The anchor of each arithmetic: int8 weights are multiplied as integers, whatever the activations are.
_ANCHORS = {"float": "float", "hybrid": "integer", "integer": "integer", "wide": "integer"}


@dataclass(frozen=True)
class Figure:
    """A latency in milliseconds with an interval."""

    value_ms: float
    low_ms: float
    high_ms: float
    #: Whether anchors corrected it to the device's usual speed; else it is as seen.
    corrected: bool = False

    @property
    def percent(self) -> float:
        """Half the interval's width, in percent of the value."""
        return 50.0 * (self.high_ms - self.low_ms) / self.value_ms


#: A device, with the cores that it was kept to: its name, and the affinity or "".
Place = Tuple[str, str]
#: What each anchor usually takes at a place.
Usual = Mapping[Place, Mapping[str, Figure]]


@dataclass(frozen=True)
class Timed:
    """The timed runs of a cell, as far as their speed is concerned: of a measurement, or of one that goes on."""

    place: Place
    latency_ms: Tuple[float, ...]
    paces: Tuple[Pace, ...] = ()
    #: In how many blocks the runs were done, which paces tell, too.
    rounds: int = 1
    #: The anchor that corrects it, one of :data:`~.pace.KINDS`; None where none does.
    anchor: Optional[str] = None
    #: Whether nothing else was made to run beside it.
    idle: bool = True


def timed(m: Measurement) -> Timed:
    """A measurement as what the functions of this module take."""
    idle = m.settings.get("context", "idle") == "idle"
    anchor = anchor_of(m.delegate, m.precision, m.cost.arithmetic) if idle else None
    return Timed(place_of(m.device, m.settings), m.latency_ms, m.paces, m.rounds, anchor, idle)


def place_of(device: Mapping[str, object], settings: Mapping[str, object]) -> Place:
    """The place of a measurement with that ``device`` and these ``settings``."""
    return str(device.get("name")), str(settings.get("affinity") or "")


def anchor_of(delegate: str, precision: str, told: str = "") -> Optional[str]:
    """The anchor of a branch's arithmetic; None on a delegate whose time is not that of the CPU's cores.

    Args:
        delegate: The delegate's name.
        precision: The branch's precision.
        told: Its ``cost.arithmetic``.
    """
    return _ANCHORS[arithmetic(precision, told)] if preempted(delegate) else None


def usual(measurements: Sequence[Measurement]) -> Usual:
    """What each anchor usually takes at each place: the median over its paces in all measurements of idle devices."""
    return usual_of([timed(m) for m in measurements])


def usual_of(cells: Sequence[Timed]) -> Usual:
    """As :func:`usual`, of what :func:`timed` gave."""
    found: Dict[Place, Dict[str, List[float]]] = {}
    for cell in cells:
        for pace in cell.paces if cell.idle else ():
            for kind in KINDS:
                ms = pace.of(kind)
                if ms is not None:
                    found.setdefault(cell.place, {}).setdefault(kind, []).append(ms)
    return {
        place: {kind: _figure(quantile(taken, 0.5), taken) for kind, taken in kinds.items()}
        for place, kinds in found.items()
    }


def speed_of(usual: Mapping[str, float], pace: Pace) -> Dict[str, float]:
    """How fast a device is now, by kind of anchor: 1.0 is its usual speed, 0.8 means everything takes 1/0.8 as long.

    Args:
        usual: What each anchor usually takes there, in ms by kind, as predictors hold it.
        pace: What the anchors take now; kinds that either does not know are left out. :func:`anchor_of` gives the kind
            that a branch's speed is told by.
    """
    taken = {kind: pace.of(kind) for kind in KINDS if kind in usual}
    return {kind: usual[kind] / ms for kind, ms in taken.items() if ms is not None}


def relative(m: Measurement) -> List[float]:
    """The relative costs of a measurement's chunks; none without paces of its anchor."""
    return [cost for block in _relative(timed(m)) for cost in block]


def at_usual(m: Measurement, usual: Usual) -> Figure:
    """A measurement's latency at its device's usual speed.

    Args:
        m: The measurement.
        usual: What :func:`usual` gave for measurements of the device.

    Returns:
        The mean of runs that did not stall, with an interval of 95 %: order statistics over blocks, since the chunks of
        a block share what anchors do not explain, of the anchor's own usual time, and of :data:`REOPENED`. For few
        blocks it is their range.
        On accelerators, under load and without paces it is the median as it was seen, and ``corrected`` is false.
    """
    return figure(timed(m), usual)


def figure(cell: Timed, usual: Usual) -> Figure:
    """As :func:`at_usual`, of what :func:`timed` gave."""
    blocks = _relative(cell)
    known = None if cell.anchor is None else usual.get(cell.place, {}).get(cell.anchor)
    if not blocks or known is None:
        return _figure(quantile(cell.latency_ms, 0.5), _units(_seen(cell)))
    middle = quantile([cost for block in blocks for cost in block], 0.5)
    costs = _figure(middle, _units([[[cost] for cost in block] for block in blocks]))
    again = 1.0 + REOPENED / 100.0
    below = _all(costs.value_ms / costs.low_ms, known.value_ms / known.low_ms, again)
    above = _all(costs.high_ms / costs.value_ms, known.high_ms / known.value_ms, again)
    value = costs.value_ms * known.value_ms
    return Figure(value, value / below, value * above, corrected=True)


def seen(m: Measurement) -> Figure:
    """The median of a measurement's runs, and p10 and p90 of the medians of its chunks: what drift did to it."""
    chunks = [quantile(runs, 0.5) for block in _seen(timed(m)) for runs in block]
    return Figure(quantile(m.latency_ms, 0.5), quantile(chunks, 0.1), quantile(chunks, 0.9))


def blocks(m: Measurement) -> List[List[float]]:
    """The timed runs of each block of a measurement, in ms as they were seen, in the order of the rounds."""
    return [[ms for chunk in block for ms in chunk] for block in _seen(timed(m))]


def wandered(
    measurements: Sequence[Measurement], usually: Optional[Usual] = None
) -> Dict[Place, Dict[str, Tuple[float, float]]]:
    """How far each place's speed wandered: p10 and p90 of each anchor's speed, relative to the usual one (1.0).

    ``usually``: what :func:`usual` gave, of more measurements perhaps; None for that of these.
    """
    usually = usual(measurements) if usually is None else usually
    speeds: Dict[Place, Dict[str, Tuple[float, float]]] = {}
    for place, kinds in usually.items():
        cells = [cell for cell in map(timed, measurements) if cell.place == place and cell.idle]
        for kind, known in kinds.items():
            all_ms = [pace.of(kind) for cell in cells for pace in cell.paces]
            rates = [known.value_ms / ms for ms in all_ms if ms is not None]
            if rates:
                speeds.setdefault(place, {})[kind] = (quantile(rates, 0.1), quantile(rates, 0.9))
    return speeds


def level(runs: Sequence[float]) -> float:
    """The mean of runs, without those that stalled (:data:`STALLED`)."""
    most = STALLED * quantile(runs, 0.5)
    counted = [ms for ms in runs if ms <= most]
    return sum(counted) / len(counted)


def _relative(cell: Timed) -> List[List[float]]:
    """The relative costs of the chunks of each block."""
    if cell.anchor is None:
        return []
    blocks = []
    for block in _blocks(cell.paces):
        costs = []
        for before, after in block:
            around = [ms for ms in (before.of(cell.anchor), after.of(cell.anchor)) if ms is not None]
            if around:
                costs.append(level(cell.latency_ms[before.run : after.run]) * len(around) / sum(around))
        if costs:
            blocks.append(costs)
    return blocks


def _blocks(paces: Sequence[Pace]) -> List[List[Tuple[Pace, Pace]]]:
    """The chunks of each block: two paces with runs between them. Two without any are the border of blocks."""
    blocks: List[List[Tuple[Pace, Pace]]] = [[]]
    for before, after in zip(paces, paces[1:]):
        if before.run < after.run:
            blocks[-1].append((before, after))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _seen(cell: Timed) -> List[List[Sequence[float]]]:
    """The runs of each chunk of each block; without paces a block is one chunk, and blocks are equally long."""
    if cell.paces:
        return [[cell.latency_ms[a.run : b.run] for a, b in block] for block in _blocks(cell.paces)]
    count, rounds = len(cell.latency_ms), max(1, min(cell.rounds, len(cell.latency_ms)))
    borders = [count * number // rounds for number in range(rounds + 1)]
    return [[cell.latency_ms[a:b]] for a, b in zip(borders, borders[1:])]


def _units(blocks: Sequence[Sequence[Sequence[float]]]) -> List[float]:
    """What an interval counts: the medians of blocks, of chunks where there are few blocks, runs where few chunks."""
    units = [quantile([value for chunk in block for value in chunk], 0.5) for block in blocks]
    if len(units) < FEW:
        units = [quantile(chunk, 0.5) for block in blocks for chunk in block]
    if len(units) < FEW:
        units = [value for block in blocks for chunk in block for value in chunk]
    return units


def _figure(value: float, units: Sequence[float]) -> Figure:
    low, high = interval(units)
    return Figure(value, min(value, low), max(value, high))


def interval(values: Sequence[float]) -> Tuple[float, float]:
    """The interval of :data:`CONFIDENCE` for the median, from order statistics; for few values it is their range."""
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        return math.nan, math.nan
    if count > 200:  # the binomial distribution is as good as normal
        left = max(0, math.floor((count - 1.96 * math.sqrt(count)) / 2) - 1)
    else:
        left, tail, most = 0, 0.5**count, (1.0 - CONFIDENCE) / 2
        while tail + math.comb(count, left + 1) * 0.5**count <= most:
            left += 1
            tail += math.comb(count, left) * 0.5**count
    return ordered[left], ordered[-1 - left]


def _all(*errors: float) -> float:
    """The factor of independent errors, each given as a factor of 1 or more."""
    return math.exp(math.sqrt(sum(math.log(error) ** 2 for error in errors)))
