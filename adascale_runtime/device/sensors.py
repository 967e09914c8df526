"""Sensors that Linux and Android offer as files: load, frequency, memory, heat, power supplies. Standard library only.

All functions take the folder that stands for ``/`` and raise OSError, ValueError or IndexError where the device lacks
or denies something; :class:`FileSampler` turns that into None with the reason. Android denies ``/proc/stat`` to apps
(Termux) since version 8, not to the adb shell.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from glob import glob
from typing import Any, Callable, Dict, List, Optional, Tuple

from adascale_runtime.device import memory
from adascale_runtime.seams.records import Context

#: Thermal zones whose ``type`` holds one of these tell the heat of what computes, others that of modems or chargers.
COMPUTE_ZONES = ("cpu", "soc", "gpu", "big", "little", "mid", "tsens", "x86_pkg", "skin")


@dataclass(frozen=True)
class Supply:
    """An entry of ``/sys/class/power_supply``; raw numbers in whatever unit the vendor chose, None where absent."""

    name: str
    kind: str
    status: Optional[str] = None
    current: Optional[float] = None
    voltage: Optional[float] = None
    capacity: Optional[float] = None
    temperature: Optional[float] = None
    online: Optional[bool] = None


def read(root: str, path: str) -> str:
    """The stripped text of a file below the root; bytes that are no text are replaced."""
    with open(os.path.join(root, path.lstrip("/")), encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def cpu_seconds(root: str) -> Tuple[float, float]:
    """Seconds that all cores together were busy and in existence since boot (``/proc/stat``)."""
    ticks = [_finite(n) for n in read(root, "/proc/stat").splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / 100.0, sum(ticks) / 100.0


def runnable(root: str) -> int:
    """Processes that want a core now, without the one that asks."""
    return max(0, int(read(root, "/proc/loadavg").split()[3].split("/")[0]) - 1)


def frequencies_mhz(root: str, name: str = "scaling_cur_freq") -> Dict[int, float]:
    """The frequency of each core that tells one, by its number; ``cpuinfo_max_freq`` gives the highest possible."""
    by_core: Dict[int, float] = {}
    last: Optional[Exception] = None
    for folder in sorted(glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq"))):
        try:  # a core that sleeps tells nothing
            by_core[int(folder.split(os.sep)[-2][3:])] = _finite(read(folder, name)) / 1e3
        except (OSError, ValueError) as error:
            last = error
    if not by_core:
        raise last or FileNotFoundError("no cpufreq")
    return by_core


def clock_cap_mhz(root: str) -> Optional[float]:
    """The clock that the system allows at most just now, mean over the cores that tell it; None where none does.

    Not the clock of the moment, which is low on an idle core and says nothing of what a run will get.
    """
    try:
        by_core = frequencies_mhz(root, "scaling_max_freq")
    except (OSError, ValueError):
        return None
    cap = sum(by_core.values()) / len(by_core)
    return cap if 0.0 < cap <= 1e6 else None


def _finite(text: str) -> float:
    """The number that a text holds; ValueError for what is none, NaN and infinities among it."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def memory_free_mb(root: str) -> float:
    """Memory that this process can have without swapping: what the device has left, or its control group."""
    for line in read(root, "/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return memory.free_mb(root, _finite(line[len("MemAvailable:") :].split("kB")[0]) * 1024 / 1e6)
    raise ValueError("no MemAvailable")


def temperatures_c(root: str) -> Dict[str, float]:
    """Plausible temperatures of thermal zones by type; the highest where types repeat."""
    by_zone: Dict[str, float] = {}
    denied: Optional[OSError] = None
    for zone in sorted(glob(os.path.join(root, "sys/class/thermal/thermal_zone*"))):
        try:
            kind, value = read(zone, "type"), _finite(read(zone, "temp"))
        except OSError as error:
            denied = error
            continue
        except ValueError:
            continue
        celsius = value / 1000 if abs(value) >= 1000 else value
        if -30 < celsius < 150:
            by_zone[kind] = max(celsius, by_zone.get(kind, celsius))
    if not by_zone:
        raise denied or FileNotFoundError("no thermal zone")
    return by_zone


def supplies(root: str) -> List[Supply]:
    """All entries of ``/sys/class/power_supply`` that can be read, else what Termux:API tells of the battery."""
    entries: List[Supply] = []
    for folder in sorted(glob(os.path.join(root, "sys/class/power_supply/*"))):
        try:
            kind = read(folder, "type")
        except OSError:
            continue
        number = _numbers(folder)
        online = number("online")
        entries.append(
            Supply(
                os.path.basename(folder), kind, _text(folder, "status"), number("current_now"), number("voltage_now"),
                number("capacity"), number("temp"), None if online is None else bool(online),
            )
        )  # fmt: skip
    if not any(supply.current is not None for supply in entries):
        entries += _termux()
    return entries


def parse_termux(text: str) -> List[Supply]:
    """The battery in the JSON of ``termux-battery-status``: current in microamperes, voltage in millivolts where it is
    told, temperature in degrees. Nothing if it is none."""
    try:
        told = json.loads(text)
        plugged = str(told["plugged"]).upper() != "UNPLUGGED"
        status = str(told["status"]).capitalize()
    except (ValueError, TypeError, KeyError):
        return []

    def number(name: str) -> Optional[float]:
        value = told.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    celsius = number("temperature")
    return [
        Supply(
            "termux", "Battery", status, number("current"), number("voltage"), number("percentage"),
            None if celsius is None else 10 * celsius,
        ),
        Supply("termux-charger", "USB", online=plugged),
    ]  # fmt: skip


def _termux() -> List[Supply]:
    program = shutil.which("termux-battery-status")
    if program is None:
        return []
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_termux(done.stdout.decode("utf-8", "replace"))


def _text(folder: str, name: str) -> Optional[str]:
    try:
        return read(folder, name)
    except OSError:
        return None


def _numbers(folder: str) -> Callable[[str], Optional[float]]:
    def number(name: str) -> Optional[float]:
        try:
            return _finite(read(folder, name))
        except (OSError, ValueError):
            return None

    return number


def batteries(entries: List[Supply]) -> List[Supply]:
    """The supplies that are batteries."""
    return [supply for supply in entries if supply.kind.lower() == "battery"]


def charging(entries: List[Supply]) -> Optional[bool]:
    """Whether the device is fed from outside: a status says so, or a charger is online. None if nothing tells."""
    states = [supply.status.lower() for supply in batteries(entries) if supply.status]
    if any(state in ("charging", "full") for state in states):
        return True
    chargers = [supply.online for supply in entries if supply.kind.lower() != "battery" and supply.online is not None]
    if any(chargers):
        return True
    return False if states or chargers else None


class FileSampler:
    """Snapshots of a device's context from its files; ``reasons`` says why a signal is None.

    The load of others is the difference between two samples, so the first has none.
    """

    #: Slow-changing signals are read every so many samples: reading a battery can take a millisecond.
    SLOW = 20

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self.reasons: Dict[str, str] = {}
        self._count = 0
        self._slow: Dict[str, Any] = {}
        self._last: Optional[Tuple[float, float, float]] = None

    def sample(self, time_s: float) -> Context:
        """The context now."""
        if self._count % self.SLOW == 0:
            battery = self._try("battery", self._battery) or (None, None)
            self._slow = {
                "cpu_freq_mhz": self._try("cpu_freq_mhz", self._frequency),
                "battery": battery[0],
                "charging": battery[1],
                "temperature_c": self._try("temperature_c", self._temperature),
            }
        self._count += 1
        return Context(
            time_s=time_s,
            cpu_load=self._try("cpu_load", self._load),
            runnable=self._try("runnable", lambda: runnable(self.root)),
            cores=os.cpu_count(),
            memory_free_mb=self._try("memory_free_mb", lambda: memory_free_mb(self.root)),
            clock_cap_mhz=clock_cap_mhz(self.root),
            **self._slow,
        )

    def memory_free_mb(self) -> Optional[float]:
        """What a snapshot would tell of memory just now; from any thread."""
        try:
            return memory_free_mb(self.root)
        except (OSError, ValueError, IndexError):
            return None

    def _try(self, name: str, get: Callable[[], Any]) -> Any:
        self.reasons.pop(name, None)
        try:
            return get()
        except PermissionError:
            self.reasons[name] = "denied by the system"
        except (OSError, ValueError, IndexError) as error:
            self.reasons[name] = "not reported by this device ({})".format(type(error).__name__)
        return None

    def _load(self) -> Optional[float]:
        busy, total = cpu_seconds(self.root)
        own = time.process_time()
        last, self._last = self._last, (busy, total, own)
        if last is None or total <= last[1]:
            self.reasons["cpu_load"] = "needs two samples"
            return None
        others = (busy - last[0]) - (own - last[2])
        return max(0.0, min(1.0, others / (total - last[1])))

    def _frequency(self) -> float:
        by_core = frequencies_mhz(self.root)
        return sum(by_core.values()) / len(by_core)

    def _battery(self) -> Tuple[Optional[float], Optional[bool]]:
        entries = supplies(self.root)
        levels = [supply.capacity for supply in batteries(entries) if supply.capacity is not None]
        if not levels:
            raise FileNotFoundError("no battery")
        return levels[0] / 100, charging(entries)

    def _temperature(self) -> float:
        by_zone = temperatures_c(self.root)
        computing = [c for kind, c in by_zone.items() if any(word in kind.lower() for word in COMPUTE_ZONES)]
        return max(computing or by_zone.values())
