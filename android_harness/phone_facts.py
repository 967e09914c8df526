"""Facts of a phone: properties, battery, heat. Pure parsers, and one shell command that collects them all."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from adascale_runtime.text import excerpt
from android_harness.adb import Adb

#: Characters of a phone's output that are looked at, of which ``dumpsys`` takes some thousands; and of one property.
OUTPUT, PROPERTY = 1 << 20, 200

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
    """``level`` in [0, 1], ``voltage_v``, ``temperature_c``, ``status`` in words; None where a phone has none."""

    level: float | None = None
    voltage_v: float | None = None
    temperature_c: float | None = None
    status: str | None = None
    powered: bool | None = None


def parse_battery(text: str) -> Battery:
    """Read ``dumpsys battery``: voltage in millivolts, temperature in tenths of a degree."""
    fields: dict[str, str] = {}
    for line in text[:OUTPUT].splitlines():
        name, _, value = line.partition(":")
        if name.strip().replace(" ", "").isalpha() and len(value.split()) == 1:
            fields[name.strip()] = value.strip()

    def number(name: str) -> float | None:
        try:
            value = float(fields[name])
        except (KeyError, ValueError):
            return None
        return value if math.isfinite(value) else None

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
    _, _, status = text[:OUTPUT].partition("Thermal Status:")
    number = status.lstrip()[:1]
    return THERMAL[int(number)] if number in set("0123456") else None


def count(text: str) -> int | None:
    """The first whole number in a text, of up to 15 digits; None where there is none."""
    match = re.search(r"(?<!\d)\d{1,15}(?!\d)", text[:OUTPUT], re.ASCII)
    return None if match is None else int(match.group())


def read(adb: Adb) -> dict[str, Any]:
    """What identifies and explains the phone; ``name`` tells phones apart."""
    one_line = {key: f"getprop {name}" for key, name in _PROPS.items()}
    one_line |= {"cores": "grep -c ^processor /proc/cpuinfo", "memory": "grep MemTotal /proc/meminfo"}
    # A line each, in one write: what else a phone prints cannot come between.
    asked = "; ".join(f'echo "{_MARK} {key} $({command})"' for key, command in one_line.items())
    asked += f"; echo '{_MARK} battery'; dumpsys battery; echo '{_MARK} thermal'; dumpsys thermalservice"
    output = adb.shell(asked)[1][:OUTPUT]
    told = dict(re.findall(rf"{_MARK} (\w+) (.*)", output))
    facts: dict[str, Any] = {key: excerpt(told.get(key, ""), PROPERTY) or None for key in _PROPS}
    kilobytes = count(told.get("memory", ""))
    _, _, battery = output.partition(f"{_MARK} battery")
    battery, _, thermal = battery.partition(f"{_MARK} thermal")
    level = parse_battery(battery)
    model = " ".join(str(facts[key]) for key in ("manufacturer", "model") if facts[key]) or "phone"
    return {
        "name": f"{model} {facts['serial'] or adb.address}",
        "kind": "phone",
        "address": str(adb.address),
        **facts,
        "cpu": facts["soc"] or facts["board"],
        "arch": facts["abi"],
        "os": f"Android {facts['android']}" if facts["android"] else None,
        "cores": count(told.get("cores", "")),
        "memory_bytes": None if kilobytes is None else kilobytes * 1024,
        "battery": level.level,
        "charging": None if level.status is None else level.status in ("charging", "full"),
        "temperature_c": level.temperature_c,
        "thermal": parse_thermal(thermal),
    }


def identity(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that do not change from hour to hour, for measurements."""
    passing = ("battery", "charging", "temperature_c", "thermal", "address")
    return {key: value for key, value in facts.items() if key not in passing}
