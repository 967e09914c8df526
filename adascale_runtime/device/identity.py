"""The identity of this device, by which its predictors are chosen among those of several. Standard library only."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import Dict

from adascale_runtime.device import sensors

_PROPERTIES = {
    "serial": "ro.serialno",
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "soc": "ro.soc.model",
    "board": "ro.board.platform",
}


def facts(root: str = "/") -> Dict[str, str]:
    """``name`` and ``cpu`` of a computer; ``name``, ``serial``, ``manufacturer``, ``model``, ``soc`` and ``board`` of a
    phone, as far as it tells them to the one who asks: Termux, as any app, is not told the serial. The names are those
    of measurements.
    """
    if shutil.which("getprop") is None:
        cpu = processor(root)
        return {"name": "{}, {} cores".format(cpu, os.cpu_count()), "cpu": cpu}
    told = {key: _property(name) for key, name in _PROPERTIES.items()}
    facts = {key: value for key, value in told.items() if value}
    if "serial" in facts:
        words = [facts[key] for key in ("manufacturer", "model") if key in facts] or ["phone"]
        facts["name"] = " ".join(words + [facts["serial"]])
    return facts


def processor(root: str = "/") -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = sensors.read(root, "/proc/cpuinfo").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return named[0] if named else platform.processor() or platform.machine()


def _property(name: str) -> str:
    try:
        done = subprocess.run(
            ["getprop", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:200].decode("utf-8", "replace").strip()
