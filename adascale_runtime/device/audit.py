"""The energy audit: what a meter tells of inferences while they run, against what was predicted of them.

It matters where a budget limits energy, power or battery life. A daemon thread reads the meter, spending at most
:data:`SHARE` of a core on it, and makes spans of some seconds of the readings;
:mod:`adascale_runtime.device.attribution` learns from these how wrong predictions are.
"""

from __future__ import annotations

import bisect
import math
import threading
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from adascale_runtime.device import attribution, meters
from adascale_runtime.device.attribution import Attribution
from adascale_runtime.device.meters import Gauge, Meter
from adascale_runtime.policies.limits import Engine, engine_name
from adascale_runtime.seams.events import Audit

#: The time between readings, in seconds, and the share of a core that they may take.
PERIOD_S, SHARE = 0.2, 0.005
#: Spans are this long, and hold so many changes of a gauge; one that does not get there in time is given up.
SPAN_S, CHANGES, LONGEST_S = 3.0, 5, 600.0
#: How long a session waits at most to see what the device draws at rest; the first changes of a gauge are left out,
#: because it averages over what was before.
QUIET_S, SETTLE = 4.0, 2
#: What is published differs from what was by so much, as a share.
WORTH = 0.01


class Reading(NamedTuple):
    """The mean power of a span: from when to when, in seconds, in mW with its standard error."""

    begin_s: float
    end_s: float
    power_mw: float
    error_mw: float


class Auditor:
    """Compares power with predictions in the background; a context manager.

    Args:
        meter: A counter or a gauge of this device.
        clock: Tells the time in seconds, the one that the meter's readings have.
    """

    def __init__(self, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter, self._clock = meter, clock
        self._totals: Dict[Engine, float] = {}
        self._ledger: List[Tuple[float, Mapping[Engine, float]]] = []
        self._joules: List[Tuple[float, float]] = []
        self._known = Attribution()
        self._seen_s: Optional[float] = None
        self._latest: Optional[Audit] = None
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def __enter__(self) -> "Auditor":
        self.rest()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="adascale-audit", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def latest(self) -> Optional[Audit]:
        """What is known now; None before the first span."""
        return self._latest

    def spent(self, engine: Engine, energy_mj: float) -> None:
        """An inference was predicted to take so much on an engine."""
        self._totals[engine] = self._totals.get(engine, 0.0) + energy_mj

    def rest(self) -> None:
        """Wait until it is known what the device draws at rest, at most :data:`QUIET_S` seconds; not while a gauge
        cannot tell."""
        if isinstance(self._meter, Gauge) and self._meter.obstacle() is not None:
            return
        begun = self._clock()
        while self._clock() - begun < QUIET_S:
            wait_s = self.step(spans=False)
            if self._clock() - begun >= QUIET_S / 4 and self._learn(SETTLE):
                return
            time.sleep(wait_s)

    def step(self, spans: bool = True) -> float:
        """Read the meter, and learn if a span is over; gives the seconds to wait until the next reading.

        Args:
            spans: Whether a span may end now.
        """
        begun, used = self._clock(), time.thread_time()
        try:
            if isinstance(self._meter, Gauge):
                self._meter.sample()
            else:
                self._joules.append((begun, self._meter()))
        except (OSError, ValueError):  # a meter that is away for a moment, or denied
            return PERIOD_S
        self._ledger.append((begun, dict(self._totals)))
        if spans and begun - self._ledger[0][0] >= SPAN_S and not self._learn() and self._overdue(begun):
            self._begin(begun)
        return max(PERIOD_S, (time.thread_time() - used) / SHARE)

    def _run(self) -> None:
        wait_s = PERIOD_S
        while not self._stop.wait(wait_s):
            wait_s = self.step()

    def _overdue(self, now_s: float) -> bool:
        return now_s - self._ledger[0][0] >= LONGEST_S

    def _begin(self, now_s: float) -> None:
        """Begin a span: readings before that time count no more."""
        self._ledger = [entry for entry in self._ledger if entry[0] >= now_s]
        self._joules = [entry for entry in self._joules if entry[0] >= now_s]
        if isinstance(self._meter, Gauge):
            self._meter.forget(now_s)

    def _learn(self, settle: int = 0) -> bool:
        """Learn from the readings of this span; False if they are too few."""
        if isinstance(self._meter, Gauge):
            reading = gauged(self._meter.readings(), settle)
        else:
            reading = counted(self._joules)
        if reading is None:
            return False
        before, after = self._predicted(reading.begin_s), self._predicted(reading.end_s)
        seconds = reading.end_s - reading.begin_s
        predicted = {engine: (total - before.get(engine, 0.0)) / seconds for engine, total in after.items()}
        since_s = seconds if self._seen_s is None else max(0.0, reading.end_s - self._seen_s)
        self._known = attribution.seen(self._known, reading.power_mw, reading.error_mw, predicted, since_s)
        self._seen_s = reading.end_s
        self._publish()
        self._begin(reading.end_s)
        return True

    def _predicted(self, time_s: float) -> Mapping[Engine, float]:
        """What had been predicted until then, in mJ by engine."""
        times = [entry[0] for entry in self._ledger]
        index = bisect.bisect_right(times, time_s)
        return self._ledger[max(0, index - 1)][1]

    def _publish(self) -> None:
        rest_mw = self._known.rest_mw
        made = Audit(
            None if rest_mw is None else round(rest_mw, 1),
            {engine_name(engine): round(k, 3) for engine, k in self._known.energies.items()},
        )
        if self._latest is None or _differ(self._latest, made):
            self._latest = made


def gauged(readings: Sequence[Tuple[float, float]], settle: int = 0) -> Optional[Reading]:
    """The mean power between changes of a gauge, each of which tells the mean since the one before.

    Args:
        readings: Times in seconds, and power in W.
        settle: How many changes are left out at the beginning.

    Returns:
        None where there are fewer than :data:`CHANGES` changes.
    """
    changes = [after for before, after in zip(readings, readings[1:]) if before[1] != after[1]][settle:]
    if len(changes) < CHANGES:
        return None
    spans = [(after[0] - before[0], after[1]) for before, after in zip(changes, changes[1:])]
    seconds = changes[-1][0] - changes[0][0]
    if not seconds > 0.0:
        return None
    mean = sum(span * watts for span, watts in spans) / seconds
    variance = sum(span * (watts - mean) ** 2 for span, watts in spans) / seconds
    return Reading(changes[0][0], changes[-1][0], 1e3 * mean, 1e3 * math.sqrt(variance / len(spans)))


def counted(joules: Sequence[Tuple[float, float]]) -> Optional[Reading]:
    """The mean power between the first and the last reading of a counter, in seconds and joules; None if it stood."""
    if len(joules) < 2:
        return None
    (begin_s, first), (end_s, last) = joules[0], joules[-1]
    if not (end_s > begin_s and last > first):
        return None
    return Reading(begin_s, end_s, 1e3 * (last - first) / (end_s - begin_s), 0.0)


def here(root: str = "/") -> Optional[Auditor]:
    """An auditor with this device's own meter, None where it has none: a counter, as profiles of hosts take it, else a
    gauge.

    Args:
        root: The folder that stands for ``/``.
    """
    counter = meters.find(root)
    if counter is not None:
        return Auditor(counter[1])
    return next((Auditor(made) for _, made in meters.opened(root) if isinstance(made, Gauge)), None)


def _differ(one: Audit, other: Audit) -> bool:
    """Whether what is known has changed by as much as is worth telling."""
    if set(one.energies) != set(other.energies) or (one.rest_mw is None) != (other.rest_mw is None):
        return True
    pairs = [(one.energies[name], k) for name, k in other.energies.items()]
    if one.rest_mw is not None and other.rest_mw is not None:
        pairs.append((one.rest_mw, other.rest_mw))
    return any(abs(a - b) > WORTH * abs(a) for a, b in pairs)
