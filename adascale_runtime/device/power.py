"""Battery power from the readings of fuel gauges: which entry, which unit, which sign.

The kernel's rule is microamperes, negative while discharging, and microvolts; phones break each of these. What decides
here are ranges that no phone leaves: a running phone draws between 10 mA and 10 A, a cell has 2 to 20 V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from adascale_runtime.device.sensors import Supply, batteries, charging
from adascale_runtime.seams.facts import EnergyFact

#: A largest current below this many units must be milliamperes: in microamperes it would be 10 mA, less than any
#: phone draws while a program runs; above it, in milliamperes it would be over 10 A, more than any battery gives.
MICROAMPERES_FROM = 10_000
#: The same for voltages: 10,000 is 10 V in millivolts and 0.01 V in microvolts.
MICROVOLTS_FROM = 20_000


@dataclass(frozen=True)
class Sample:
    """What all supplies said at a time, in seconds of a monotonic clock."""

    time_s: float
    supplies: Tuple[Supply, ...]


@dataclass(frozen=True)
class Gauge:
    """The battery entry that measures, and how to read it: watts = |current| * ampere * |voltage| * volt."""

    name: str
    ampere: float
    volt: float

    def watts(self, sample: Sample) -> Optional[float]:
        """The power at a sample, whatever the sign that the vendor gives to discharging."""
        for supply in sample.supplies:
            if supply.name == self.name and supply.current is not None and supply.voltage is not None:
                return abs(supply.current) * self.ampere * abs(supply.voltage) * self.volt
        return None


def choose(samples: Sequence[Sample]) -> Tuple[Optional[Gauge], Optional[str]]:
    """The gauge that moves most often, or None and why there is none that can be trusted.

    Entries that never change are frozen copies. Among equals the one named ``battery`` comes first. While the device
    charges, the battery's current says nothing of what the device uses.
    """
    if not samples:
        return None, "nothing was sampled"
    if any(charging(list(sample.supplies)) for sample in samples):
        return None, "the device was charging, so the battery does not show what it uses"
    currents: Dict[str, List[float]] = {}
    volts: Dict[str, float] = {}
    for sample in samples:
        for supply in batteries(list(sample.supplies)):
            if supply.current is not None and supply.voltage is not None:
                currents.setdefault(supply.name, []).append(supply.current)
                volts[supply.name] = abs(supply.voltage)
    if not currents:
        return None, "no battery of this device reports current and voltage"
    moves = {name: sum(a != b for a, b in zip(values, values[1:])) for name, values in currents.items()}
    best = max(moves, key=lambda name: (moves[name], name == "battery", name))
    if not moves[best]:
        return None, "the battery's current never changed, so it is frozen"
    return Gauge(
        best,
        1e-6 if max(abs(value) for value in currents[best]) >= MICROAMPERES_FROM else 1e-3,
        1e-6 if volts[best] >= MICROVOLTS_FROM else 1e-3,
    ), None


def update_interval_s(samples: Sequence[Sample], gauge: Gauge) -> float:
    """The mean time between changes of a gauge; that of the samples if every one differs."""
    watts = [(sample.time_s, gauge.watts(sample)) for sample in samples]
    changes = [b[0] for a, b in zip(watts, watts[1:]) if a[1] != b[1]]
    if len(changes) < 2:
        return samples[-1].time_s - samples[0].time_s if samples else math.inf
    return (changes[-1] - changes[0]) / (len(changes) - 1)


def mean_watts(samples: Sequence[Sample], gauge: Gauge, begin_s: float, end_s: float) -> Tuple[float, float]:
    """The mean power between two times and its standard error.

    Readings are held until they change. The error counts changes, not samples: a held value is one reading.
    """
    inside = [(s.time_s, gauge.watts(s)) for s in samples if begin_s <= s.time_s <= end_s]
    values = [(time_s, watts) for time_s, watts in inside if watts is not None]
    if len(values) < 2:
        return math.nan, math.nan
    spans = [(b[0] - a[0], a[1]) for a, b in zip(values, values[1:])]
    total = sum(span for span, _ in spans)
    if not total > 0:
        return math.nan, math.nan
    mean = sum(span * watts for span, watts in spans) / total
    variance = sum(span * (watts - mean) ** 2 for span, watts in spans) / total
    readings = 1 + sum(a[1] != b[1] for a, b in zip(values, values[1:]))
    return mean, math.sqrt(variance / readings)


def energy_per_run(
    samples: Sequence[Sample], idle: Tuple[float, float], busy: Tuple[float, float], runs: int
) -> EnergyFact:
    """Energy of one run above idle, from samples of an idle and a busy span (begin, end in seconds).

    Where it cannot be told there is a reason instead, and ``retry_longer`` where longer spans could tell it. The
    beginning of a span is left out until the gauge has changed twice, because a gauge averages.
    """
    gauge, reason = choose([s for s in samples if idle[0] <= s.time_s <= busy[1]])
    if gauge is None:
        return EnergyFact(reason=reason)
    interval = update_interval_s([s for s in samples if busy[0] <= s.time_s <= busy[1]], gauge)
    settle = 2 * interval
    if busy[1] - busy[0] < 3 * settle or idle[1] - idle[0] < 1.5 * settle:
        why = "the gauge changes every {:.1f} s; measure longer".format(interval)
        return EnergyFact(reason=why, retry_longer=True)
    resting, resting_error = mean_watts(samples, gauge, idle[0] + settle, idle[1])
    working, working_error = mean_watts(samples, gauge, busy[0] + settle, busy[1])
    seconds = (busy[1] - busy[0]) / runs
    value = 1e3 * (working - resting) * seconds
    error = 1e3 * math.hypot(resting_error, working_error) * seconds
    if not value > 0:
        return EnergyFact(reason="the power while running was not above the idle power")
    details = {
        "gauge": gauge.name, "idle_mw": 1e3 * resting, "busy_mw": 1e3 * working, "runs": runs,
        "busy_s": [busy[0], busy[1]], "update_s": interval,
    }  # fmt: skip
    return EnergyFact(value, "measured:battery", uncertainty_mj=error, details=details)
