"""What the device has left, sampled in the background at a bounded cost."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, Optional

from adascale_runtime.seams.records import Context


class Monitor:
    """Samples a :class:`Context` every ``period_s`` in a daemon thread; :meth:`latest` only reads a field.

    ``sampler``: what has ``sample(time_s)``; by default one that uses psutil where it is installed. What the device
    does not tell is None; sampling never raises.
    """

    def __init__(self, period_s: float = 0.1, clock: Callable[[], float] = time.monotonic, sampler: Any = None) -> None:
        self._period_s = period_s
        self._clock = clock
        self._start = clock()
        self._sampler = sampler or SystemSampler()
        self._latest = self._sampler.sample(0.0)
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def __enter__(self) -> "Monitor":
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="adascale-monitor", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def latest(self) -> Context:
        """The newest snapshot; ``time_s`` counts from the monitor's creation."""
        return self._latest

    def now(self) -> float:
        """Seconds since the monitor's creation."""
        return self._clock() - self._start

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self._latest = self._sampler.sample(self.now())


class SystemSampler:
    """Differences of CPU counters between samples, and everything that needs none."""

    #: Slow-changing signals are read every so many samples: reading a battery can take a millisecond.
    SLOW = 20

    def __init__(self) -> None:
        try:
            import psutil
        except ImportError:
            psutil = None
        self._psutil: Any = psutil
        self._cores = os.cpu_count()
        self._busy: Optional[float] = None
        self._own = 0.0
        self._wall = 0.0
        self._count = 0
        self._slow: dict = {}  # type: ignore[type-arg]

    def sample(self, time_s: float) -> Context:
        if self._count % self.SLOW == 0:
            self._slow = {
                "cpu_freq_mhz": _quietly(self._frequency),
                "memory_free_mb": _quietly(self._memory),
                "battery": _quietly(self._battery),
                "charging": _quietly(self._charging),
                "temperature_c": _quietly(self._temperature),
            }
        self._count += 1
        return Context(
            time_s=time_s,
            cpu_load=_quietly(self._load),
            runnable=_quietly(_runnable),
            cores=self._cores,
            **self._slow,
        )

    def _load(self) -> Optional[float]:
        times = self._psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        own, wall = time.process_time(), time.monotonic()
        before = (self._busy, self._own, self._wall)
        self._busy, self._own, self._wall = busy, own, wall
        if before[0] is None or wall <= before[2]:
            return None
        others = (busy - before[0]) - (own - before[1])
        return max(0.0, min(1.0, others / ((wall - before[2]) * (self._cores or 1))))

    def _frequency(self) -> Optional[float]:
        found = self._psutil.cpu_freq()
        return float(found.current) if found else None

    def _memory(self) -> float:
        return float(self._psutil.virtual_memory().available) / 1e6

    def _battery(self) -> Optional[float]:
        found = self._psutil.sensors_battery()
        return found.percent / 100 if found else None

    def _charging(self) -> Optional[bool]:
        found = self._psutil.sensors_battery()
        return bool(found.power_plugged) if found else None

    def _temperature(self) -> Optional[float]:
        readings = [entry.current for group in self._psutil.sensors_temperatures().values() for entry in group]
        return max(readings) if readings else None


def _runnable() -> Optional[int]:
    with open("/proc/loadavg") as file:
        return max(0, int(file.read().split()[3].split("/")[0]) - 1)


def _quietly(read: Callable[[], Any]) -> Any:
    """The reading, or None: a signal that a device lacks or denies is not an error."""
    try:
        return read()
    except Exception:
        return None
