"""Checks of this machine: what works, what is missing, and how to install it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from adascale_runtime import plugins
from adascale_runtime.device import identity, meters, nnapi
from adascale_runtime.engines import registry, releases, vendors
from adascale_runtime.errors import UnknownDelegate
from profiling import device

#: Where the Vulkan loader looks for drivers (LoaderInterfaceArchitecture.md, "Driver Discovery on Linux").
VULKAN = (Path("/usr/share/vulkan/icd.d"), Path("/etc/vulkan/icd.d"), Path("/usr/local/share/vulkan/icd.d"))


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    """What was looked at."""

    status: str
    """``ok``, ``limited`` or ``missing``."""

    detail: str
    """What is there, or why it is wanted."""

    remedy: str = ""
    """What to do; empty where nothing needs to be done."""


def examine() -> list[Check]:
    """All checks, without importing TensorFlow."""
    return [
        _python(),
        *_packages(),
        _delegates(),
        npus(),
        _on_phones(),
        *_plugins(),
        _energy(),
        *_signals(),
        *_programs(),
        graphics(),
        _machine(),
        _writable(),
    ]


def _python() -> Check:
    good = (3, 10) <= sys.version_info[:2] < (3, 13)
    return Check("python", "ok" if good else "limited", platform.python_version(), "" if good else "use 3.10 to 3.12")


def _packages() -> list[Check]:
    needs = {
        "tensorflow": "training", "tf-keras": "training", "tensorflow-model-optimization": "prune(...)",
        "ai-edge-litert": "running branches", "scikit-learn": "predictors", "matplotlib": "the report",
        "adb-shell": "phones", "distributed": "fleets of phones",
    }  # fmt: skip
    extras = {"distributed": "'adascale-tf[fleet]'"}
    checks = []
    for name, purpose in needs.items():
        if number := releases.release(name):
            checks.append(Check(name, "ok", number))
        else:
            checks.append(Check(name, "missing", f"needed for {purpose}", f"pip install {extras.get(name, name)}"))
    return checks


def _delegates() -> Check:
    records = [registry.lookup(name) for name in registry.names("host")]
    always = ", ".join(record.name for record in records if record.hardware == "cpu")
    driven = " and ".join(record.name for record in records if record.hardware != "cpu")
    return Check("delegates", "ok", always + (f"; {driven} where there are drivers for them" if driven else ""))


def npus() -> Check:
    """Whether the delegate npu runs here, and on what."""
    try:
        vendor = vendors.find(vendors.wheel_library())
    except UnknownDelegate as error:
        why, _, what = str(error).rstrip(".").rpartition("; ")
        return Check("npu", "missing", why or what, what if why else "")
    if vendor.chip == "CPU":
        return Check("npu", "limited", f"{vendor.release}, on its CPU device", "no NPU was found; times are a CPU's")
    return Check("npu", "ok", f"{vendor.release}, {vendor.chip}")


def phone(address: str, facts: Mapping[str, Any], detail: str) -> Check:
    """What a phone has for branches, by what it tells of itself; ``detail`` says why it tells nothing."""
    name = f"phone {address}"
    if not facts:
        return Check(name, "missing", detail, "see 'adascale devices'")
    level = nnapi.api_level(facts)
    there = nnapi.version(level)
    android = f"{facts.get('name')}, Android {facts.get('android') or '?'} (API level {level or 'unknown'})"
    api = f"NNAPI {there} (with --runner benchmark_model)" if there else "no NNAPI"
    if nnapi.remark(facts):
        return Check(name, "limited", f"{android}, {api}, deprecated", f"in the place of nnapi {nnapi.INSTEAD}")
    return Check(name, "ok", f"{android}, {api}")


def _on_phones() -> Check:
    agent, tool = (", ".join(registry.names(runner)) for runner in ("agent", "benchmark_model"))
    return Check("delegates on phones", "ok", f"{agent}; with --runner benchmark_model: {tool}")


def _plugins() -> list[Check]:
    """What is installed of other people, and which of it cannot be imported; nothing where there is none."""
    left_out = plugins.load()
    checks = [Check("plug-in", "limited", sentence, "mend or remove the package") for sentence in left_out]
    brought: dict[str, list[str]] = {}
    for entry in plugins.installed():
        if not any(f"({entry.module})" in sentence for sentence in left_out):
            brought.setdefault(entry.distribution, []).append(entry.kind)
    return checks + [Check("plug-in", "ok", f"{name}: {', '.join(kinds)}") for name, kinds in brought.items()]


def _energy() -> Check:
    meter = meters.find()
    if meter:
        return Check("energy meter", "ok", meter[0])
    return Check("energy meter", "missing", "no readable RAPL counter", "energy figures here are estimates, and say so")


def _signals() -> list[Check]:
    context = device.snapshot(0.1)
    signals = {
        "cpu load": None if context.cpu_load is None else f"{context.cpu_load:.0%} by others",
        "cpu frequency": None if context.cpu_freq_mhz is None else f"{context.cpu_freq_mhz:.0f} MHz",
        "battery": None if context.battery is None else f"{context.battery:.0%}",
        "temperature": None if context.temperature_c is None else f"{context.temperature_c:.0f} C",
    }
    silent = ("missing", "not reported by this machine", "recorded as null")
    return [Check(name, *silent) if shown is None else Check(name, "ok", shown) for name, shown in signals.items()]


def _programs() -> list[Check]:
    wanted = {"adb": ("adb",), "browser": ("chromium", "google-chrome", "chromium-browser")}
    remedies = {"adb": "apt install adb; only the tests need it", "browser": "apt install chromium; only tests need it"}
    checks = []
    for name, programs in wanted.items():
        path = next((p for p in map(shutil.which, programs) if p), None)
        checks.append(Check(name, "ok", path) if path else Check(name, "missing", "not on PATH", remedies[name]))
    return checks


def graphics(folders: tuple[Path, ...] = VULKAN) -> Check:
    """Whether a Vulkan driver is installed, on which WebGPU stands too."""
    drivers = sorted({file.stem for folder in folders for file in folder.glob("*.json")})
    if drivers:
        return Check("vulkan driver", "ok", ", ".join(drivers))
    remedy = "for the delegate gpu: the GPU's driver and libvulkan1, or name one in VK_DRIVER_FILES"
    return Check("vulkan driver", "missing", "no driver is installed", remedy)


def _machine() -> Check:
    caches = ", ".join(f"{name} {size >> 10} kB" for name, size in device.caches().items()) or "caches unknown"
    memory = psutil.virtual_memory().total / 1e9
    return Check("machine", "ok", f"{identity.processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {caches}")


def _writable() -> Check:
    here = Path.cwd()
    if os.access(here, os.W_OK):
        return Check("this folder", "ok", "can be written")
    return Check("this folder", "limited", "is read-only", "choose --out elsewhere")
