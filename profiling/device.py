"""Facts of the machine that measures."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from adascale_runtime.device import identity
from adascale_runtime.device.monitor import SystemSampler
from adascale_runtime.measuring import snapshots
from adascale_runtime.seams.records import Context

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def facts() -> dict[str, Any]:
    """What identifies and explains this device; ``name`` tells devices apart, sizes are in bytes."""
    cpu = identity.processor()
    return {
        "name": f"{cpu}, {os.cpu_count()} cores",
        "kind": "host",
        "cpu": cpu,
        "arch": platform.machine(),
        "os": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "caches": caches(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }


def kind_of(device: Mapping[str, Any], share: str) -> str:
    """What phones must have in common to do each other's work; the same for a phone and for its measurements.

    ``share``: "model" (maker, model, Android's release and processor) or "none" (it is the same phone).
    """
    if share == "none" or device.get("kind", "phone") != "phone":
        return str(device.get("name"))
    model = " ".join(str(device[key]) for key in ("manufacturer", "model") if device.get(key)) or "phone"
    return f"{model}, Android {device.get('android') or '?'}, {device.get('abi') or '?'}"


def caches(root: Path = CACHES) -> dict[str, int]:
    """Cache sizes in bytes by name (L1d, L2, L3); empty where the kernel does not report it."""
    sizes = {}
    for index in sorted(root.glob("index*")):
        try:
            level, kind, size = ((index / n).read_text().strip() for n in ("level", "type", "size"))
            factor = {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1)
            name = f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")
            sizes[name] = int(size.rstrip("KM")) * factor
        except (OSError, ValueError):
            continue
    return sizes


def versions() -> dict[str, str]:
    """The versions of what executes and measures."""
    return {name: importlib.metadata.version(name) for name in ("ai-edge-litert", "numpy", "psutil")}


def snapshot(interval_s: float = 0.2) -> Context:
    """The machine's context now; the load of others is taken over ``interval_s`` seconds.

    The kernel counts in ticks of 10 ms, so an interval of 0.1 s on two cores tells the load in steps of 5 %.
    """
    return snapshots.snapshot(SystemSampler(), interval_s, 3 * interval_s)
