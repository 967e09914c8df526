"""The background sampler of the device's context, at a bounded cost."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, Dict, Optional, Tuple, Type

from adascale_runtime.device import memory, sensors
from adascale_runtime.seams.records import Context

#: Is told each new snapshot.
Watcher = Callable[[Context], None]


class Monitor:
    """Samples a :class:`Context` again and again in a daemon thread; :meth:`latest` only reads a field.

    What the device does not report is None in a snapshot; sampling never raises. The thread runs inside a ``with``
    block; before it there is one snapshot.

    Args:
        period_s: The time between samples, in seconds.
        clock: Tells the time, in seconds.
        sampler: What has ``sample(time_s)``; by default one that asks psutil, where it is installed.
    """

    def __init__(self, period_s: float = 0.1, clock: Callable[[], float] = time.monotonic, sampler: Any = None) -> None:
        self._period_s = period_s
        self._clock = clock
        self._start = clock()
        self._sampler = sampler or SystemSampler()
        self._latest = self._sampler.sample(0.0)
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._watchers: Tuple[Watcher, ...] = ()

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

    def watch(self, watcher: Watcher) -> None:
        """Have each new snapshot told to a function, in the monitor's thread: it must be quick, and must not raise."""
        self._watchers += (watcher,)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell a function no more."""
        self._watchers = tuple(one for one in self._watchers if one != watcher)

    def memory_free_mb(self) -> Optional[float]:
        """Memory that can be had just now, in MB; that of the newest snapshot where the sampler tells it only there."""
        tell = getattr(self._sampler, "memory_free_mb", None)
        free_mb: Optional[float] = self._latest.memory_free_mb if tell is None else tell()
        return free_mb

    def now(self) -> float:
        """Seconds since the monitor's creation."""
        return self._clock() - self._start

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self._latest = self._sampler.sample(self.now())
            for watcher in self._watchers:
                watcher(self._latest)


def here() -> Monitor:
    """A monitor of this device: by psutil where it is installed, else by the files of Linux and Android."""
    try:
        import psutil  # noqa: F401  (only whether it is there)
    except ImportError:
        return Monitor(sampler=sensors.FileSampler())
    return Monitor()


class SystemSampler:
    """What psutil tells: differences of CPU counters between samples, and everything that needs none."""

    #: Slow-changing signals are read every so many samples: reading a battery can take a millisecond.
    SLOW = 20

    def __init__(self) -> None:
        try:
            import psutil
        except ImportError:
            psutil = None
        self._psutil: Any = psutil
        #: What a signal that the device lacks or denies raises.
        self._lacking: Tuple[Type[Exception], ...] = (
            ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError,
        )  # fmt: skip
        if psutil is not None:
            self._lacking += (psutil.Error,)
        self._cores = os.cpu_count()
        self._busy: Optional[float] = None
        self._own = 0.0
        self._wall = 0.0
        self._count = 0
        self._slow: Dict[str, Any] = {}

    def sample(self, time_s: float) -> Context:
        """The context now."""
        if self._count % self.SLOW == 0:
            battery = self._tell("sensors_battery", lambda told: (told.percent / 100, bool(told.power_plugged)))
            level, charging = battery or (None, None)
            self._slow = {
                "cpu_freq_mhz": self._tell("cpu_freq", lambda told: float(told.current)),
                "battery": level,
                "charging": charging,
                "temperature_c": self._tell("sensors_temperatures", _highest),
            }
        self._count += 1
        return Context(
            time_s=time_s,
            cpu_load=self._tell("cpu_times", self._load),
            runnable=_runnable(),
            cores=self._cores,
            memory_free_mb=self.memory_free_mb(),
            clock_cap_mhz=sensors.clock_cap_mhz("/"),
            **self._slow,
        )

    def memory_free_mb(self) -> Optional[float]:
        """What a snapshot would tell of memory just now; from any thread."""
        return self._tell("virtual_memory", lambda told: memory.free_mb("/", float(told.available) / 1e6))

    def _tell(self, name: str, read: Callable[[Any], Any]) -> Any:
        """What ``read`` makes of the answer of psutil's function ``name``; None for a signal that this device lacks."""
        ask = getattr(self._psutil, name, None)  # some functions are there on some systems only
        if ask is None:
            return None
        try:
            answer = ask()
            return None if answer is None else read(answer)
        except self._lacking:
            return None

    def _load(self, times: Any) -> Optional[float]:
        """The share of all cores that others took since the sample before."""
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        own, wall = time.process_time(), time.monotonic()
        before = (self._busy, self._own, self._wall)
        self._busy, self._own, self._wall = busy, own, wall
        if before[0] is None or wall <= before[2]:
            return None
        others = (busy - before[0]) - (own - before[1])
        return max(0.0, min(1.0, others / ((wall - before[2]) * (self._cores or 1))))


def _highest(groups: Any) -> Optional[float]:
    """The highest of all temperatures, in degrees; None where there is none."""
    readings = [entry.current for group in groups.values() for entry in group]
    return max(readings) if readings else None


def _runnable() -> Optional[int]:
    """Processes that want a core now, without the one that asks; None where the system does not report it."""
    try:
        return sensors.runnable("/")
    except (LookupError, OSError, ValueError):
        return None
