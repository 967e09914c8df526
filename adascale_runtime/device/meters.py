"""Energy meters of hosts and phones, in one registry.

A meter is registered by the name that measurements carry after ``measured:``, as a function of the folder that stands
for ``/``. It gives None where the device has no such meter, else one of two things:

* a :data:`Counter`, which gives a running total in joules (RAPL);
* a :class:`Gauge`, which tells the power at a time, so that power at rest has to be known, too (a phone's battery).

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

import os
import time
from glob import glob
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

from adascale_runtime import plugins
from adascale_runtime.device import power, sensors
from adascale_runtime.seams.facts import Busy, EnergyFact

#: A running total in joules.
Counter = Callable[[], float]
#: Seconds of running that one reading of a counter spans: RAPL counters move about every millisecond, so 0.1 s is exact
#: to about one percent, while a single inference may be over before the counter moves at all.
WINDOW_S = 0.1


class Gauge:
    """What tells power while a branch rests and runs. A meter of one's own overrides the first three methods,
    and the others if sessions should check predictions with it."""

    #: The reason in the place of an energy where the obstacle did not go away.
    in_vain = "the meter could not measure"

    def obstacle(self) -> Optional[str]:
        """Why nothing can be measured now, None if it can: a phone that charges says what to do about it."""
        raise NotImplementedError

    def sample(self) -> None:
        """Take a reading now."""
        raise NotImplementedError

    def energy(self, idle: Tuple[float, float], busy: Busy) -> EnergyFact:
        """Energy of one run above idle, from the readings since the last call.

        ``idle``: begin and end of the rest, in seconds of the monotonic clock, as in ``busy``.
        """
        raise NotImplementedError

    def readings(self) -> Sequence[Tuple[float, float]]:
        """Times (s) and power (W) of the samples so far, whatever the device does, for the energy audit of a session
        (:mod:`adascale_runtime.device.audit`); empty where the gauge cannot tell."""
        return ()

    def forget(self, before_s: float) -> None:
        """Samples before that time are not needed any more."""


Meter = Union[Counter, Gauge]
Opener = Callable[[str], Optional[Meter]]
METERS: Dict[str, Opener] = {}


def meter(name: str) -> Callable[[Opener], Opener]:
    """Declare a meter by the function that opens it, ``open(root) -> Counter, Gauge or None``.

    Raises:
        BadInput: The name is taken.
    """

    def register(open_meter: Opener) -> Opener:
        plugins.claim("meters", METERS, name, open_meter, open_meter)
        return open_meter

    return register


def opened(root: str = "/") -> List[Tuple[str, Meter]]:
    """All meters that this device has, with their names, in the order in which they were declared; plug-ins last."""
    plugins.load("meters")
    tried = [(name, open_meter(root)) for name, open_meter in METERS.items()]
    return [(name, made) for name, made in tried if made is not None]


def find(root: str = "/") -> Optional[Tuple[str, Counter]]:
    """The first counter that this device has, with its name, or None."""
    for name, made in opened(root):
        if not isinstance(made, Gauge):
            return name, made
    return None


def per_run_mj(run: Callable[[], object], counter: Counter) -> Optional[float]:
    """Millijoules of one ``run``, averaged over at least :data:`WINDOW_S` seconds of runs.

    None if the counter stood still, as it does in some virtual machines: that is no measurement of 0. The counter
    covers the whole package, so the idle power and other processes are in it.
    """
    begun, before, runs = time.perf_counter(), counter(), 0
    while runs < 2 or time.perf_counter() - begun < WINDOW_S:
        run()
        runs += 1
    spent = counter() - before
    return 1e3 * spent / runs if spent > 0 else None


@meter("battery")
def open_battery(root: str = "/") -> Optional[Gauge]:
    """The battery of a phone, by its fuel gauge."""
    return Battery(root) if sensors.batteries(sensors.supplies(root)) else None


class Battery(Gauge):
    """Current x voltage of the battery; see :mod:`adascale_runtime.device.power`."""

    in_vain = "the phone was charging, so the battery does not show what it uses"

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._samples: List[power.Sample] = []

    def obstacle(self) -> Optional[str]:
        return "the phone charges; unplug it" if sensors.charging(sensors.supplies(self._root)) else None

    def sample(self) -> None:
        self._samples.append(power.Sample(time.monotonic(), tuple(sensors.supplies(self._root))))

    def energy(self, idle: Tuple[float, float], busy: Busy) -> EnergyFact:
        samples, self._samples = self._samples, []
        return power.energy_per_run(samples, idle, (busy.begun_s, busy.ended_s), busy.runs)

    def readings(self) -> Sequence[Tuple[float, float]]:
        gauge, _ = power.choose(self._samples)
        told = [] if gauge is None else [(sample.time_s, gauge.watts(sample)) for sample in self._samples]
        return [(time_s, watts) for time_s, watts in told if watts is not None]

    def forget(self, before_s: float) -> None:
        self._samples = [sample for sample in self._samples if sample.time_s >= before_s]


@meter("rapl")
def open_rapl(root: str = "/") -> Optional[Counter]:
    """Intel's and AMD's running average power limit counters, through the kernel's powercap files."""
    return rapl(os.path.join(root, "sys/class/powercap"))


def rapl(folder: str) -> Optional[Counter]:
    """Joules consumed by all packages below ``folder`` since the counter was opened; None without a readable counter.

    ``psys`` is left out where there are packages: it counts the whole platform, so the packages once more.
    """
    tops = [
        zone for zone in sorted(glob(os.path.join(folder, "intel-rapl:*"))) if os.path.basename(zone).count(":") == 1
    ]
    zones = [zone for zone in tops if _zone_name(zone) != "psys"] or tops
    try:
        last = {zone: _number(zone, "energy_uj") for zone in zones}
        wrap = {zone: _number(zone, "max_energy_range_uj") for zone in zones}
    except (OSError, ValueError):
        return None
    if not zones:
        return None
    total = 0

    def read() -> float:
        nonlocal total
        for zone in zones:
            now = _number(zone, "energy_uj")
            step = now - last[zone]
            total += step if step >= 0 else step + wrap[zone]  # the counter wraps around within minutes
            last[zone] = now
        return total / 1e6

    return read


def _number(zone: str, name: str) -> int:
    return int(sensors.read(zone, name))


def _zone_name(zone: str) -> str:
    try:
        return sensors.read(zone, "name")
    except OSError:
        return ""
