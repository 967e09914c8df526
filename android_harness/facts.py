"""What a phone says of itself: properties, battery, heat. Pure parsers, and one shell command that asks for all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from android_harness.adb import Adb

_PROPS = {
    "serial": "ro.serialno",
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "soc": "ro.soc.model",
    "board": "ro.board.platform",
    "android": "ro.build.version.release",
    "sdk": "ro.build.version.sdk",
    "abi": "ro.product.cpu.abi",
}
_MARK = "@adascale-fact"
#: ``status`` of dumpsys battery (BatteryManager.BATTERY_STATUS_*).
_STATUS = {1: "unknown", 2: "charging", 3: "discharging", 4: "not charging", 5: "full"}
#: ``Thermal Status`` of dumpsys thermalservice (android.os.Temperature.THROTTLING_*).
THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


@dataclass(frozen=True)
class Battery:
    """``level`` in [0, 1], ``voltage_v``, ``temperature_c``, ``status`` in words; None where a phone does not tell."""

    level: float | None = None
    voltage_v: float | None = None
    temperature_c: float | None = None
    status: str | None = None
    powered: bool | None = None


def parse_battery(text: str) -> Battery:
    """Read ``dumpsys battery``: voltage in millivolts, temperature in tenths of a degree."""
    fields = dict(re.findall(r"^\s*([A-Za-z ]+?):\s*(\S+)\s*$", text, re.MULTILINE))

    def number(name: str) -> float | None:
        try:
            return float(fields[name])
        except (KeyError, ValueError):
            return None

    level, scale = number("level"), number("scale") or 100.0
    voltage, temperature, status = number("voltage"), number("temperature"), number("status")
    powered = [value == "true" for name, value in fields.items() if name.endswith("powered")]
    return Battery(
        None if level is None else level / scale,
        None if voltage is None else voltage / 1000,
        None if temperature is None else temperature / 10,
        None if status is None else _STATUS.get(int(status), "unknown"),
        any(powered) if powered else None,
    )


def parse_thermal(text: str) -> str | None:
    """The word for ``Thermal Status`` in ``dumpsys thermalservice``; None where there is no such service."""
    match = re.search(r"Thermal Status:\s*(\d)", text)
    return THERMAL[int(match.group(1))] if match and int(match.group(1)) < len(THERMAL) else None


def read(adb: Adb) -> dict[str, Any]:
    """What identifies and explains the phone; ``name`` tells phones apart."""
    one_line = {key: f"getprop {name}" for key, name in _PROPS.items()}
    one_line |= {"cores": "grep -c ^processor /proc/cpuinfo", "memory": "grep MemTotal /proc/meminfo"}
    # A line each, in one write: what else a phone prints cannot come between.
    asked = "; ".join(f'echo "{_MARK} {key} $({command})"' for key, command in one_line.items())
    asked += f"; echo '{_MARK} battery'; dumpsys battery; echo '{_MARK} thermal'; dumpsys thermalservice"
    output = adb.shell(asked)[1]
    told = dict(re.findall(rf"{_MARK} (\w+) (.*)", output))
    found: dict[str, Any] = {key: told.get(key, "").strip() or None for key in _PROPS}
    cores, memory = told.get("cores", ""), told.get("memory", "")
    _, _, battery = output.partition(f"{_MARK} battery")
    battery, _, thermal = battery.partition(f"{_MARK} thermal")
    kilobytes = re.search(r"(\d+) kB", memory)
    level = parse_battery(battery)
    model = " ".join(str(found[key]) for key in ("manufacturer", "model") if found[key]) or "phone"
    return {
        "name": f"{model} {found['serial'] or adb.address}",
        "kind": "phone",
        "address": str(adb.address),
        **found,
        "cpu": found["soc"] or found["board"],
        "arch": found["abi"],
        "os": f"Android {found['android']}" if found["android"] else None,
        "cores": int(cores) if cores.isdigit() else None,
        "memory_bytes": int(kilobytes.group(1)) * 1024 if kilobytes else None,
        "battery": level.level,
        "charging": None if level.status is None else level.status in ("charging", "full"),
        "temperature_c": level.temperature_c,
        "thermal": parse_thermal(thermal),
    }


def identity(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that do not change from hour to hour, for measurements."""
    passing = ("battery", "charging", "temperature_c", "thermal", "address")
    return {key: value for key, value in facts.items() if key not in passing}
