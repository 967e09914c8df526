"""Energy: meters that measure it, and an estimate that says so.

A meter is a function that gives a running total in joules, or None where the machine has no such meter; registered by
the name that measurements carry after ``measured:``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from adascale_runtime.seams.bundle import Cost
from adascale_runtime.seams.predictors import hit_rate, moved_bytes
from adascale_runtime.seams.records import Energy
from converters import precisions

Counter = Callable[[], float]
METERS: dict[str, Callable[[], Counter | None]] = {}
POWERCAP = Path("/sys/class/powercap")

#: Energy of one byte from on-chip memory and from DRAM in picojoules: 45 nm figures of Horowitz, "Computing's energy
#: problem", ISSCC 2014 (1 MB cache 100 pJ and DRAM about 1.3 nJ per 8 bytes). Chips differ by an order of magnitude;
#: what they preserve is the ratio between branches. Each precision has its own energy of a multiply-accumulate.
CACHE_PJ = 12.5
DRAM_PJ = 160.0
#: The last cache of a phone's chip, where the device does not tell its own.
CACHE_BYTES = 2_000_000
#: Seconds of running that one reading of a meter spans: RAPL counters move about every millisecond, so 0.1 s is exact
#: to about one percent, while a single inference may be over before the counter moves at all.
WINDOW_S = 0.1


def meter(name: str) -> Callable[[Callable[[], Counter | None]], Callable[[], Counter | None]]:
    """Register a way to open a meter."""

    def register(open_meter: Callable[[], Counter | None]) -> Callable[[], Counter | None]:
        METERS[name] = open_meter
        return open_meter

    return register


def find() -> tuple[str, Counter] | None:
    """The first meter that this machine has, with its name, or None."""
    for name, open_meter in METERS.items():
        counter = open_meter()
        if counter is not None:
            return name, counter
    return None


@meter("rapl")
def open_rapl() -> Counter | None:
    """Intel's and AMD's running average power limit counters, through the kernel's powercap files."""
    return rapl(POWERCAP)


def rapl(root: Path) -> Counter | None:
    """Joules consumed by all packages below ``root`` since the counter was opened; None without a readable counter.

    ``psys`` is left out where there are packages: it counts the whole platform, so the packages once more.
    """
    tops = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    zones = [zone for zone in tops if _zone_name(zone) != "psys"] or tops
    try:
        last = {zone: int((zone / "energy_uj").read_text()) for zone in zones}
        wrap = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in zones}
    except (OSError, ValueError):
        return None
    if not zones:
        return None
    total = 0

    def read() -> float:
        nonlocal total
        for zone in zones:
            now = int((zone / "energy_uj").read_text())
            step = now - last[zone]
            total += step if step >= 0 else step + wrap[zone]  # the counter wraps around within minutes
            last[zone] = now
        return total / 1e6

    return read


def _zone_name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except OSError:
        return ""


def per_run_mj(run: Callable[[], object], counter: Counter) -> float | None:
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


def estimate_mj(cost: Cost, precision: str) -> float:
    """E = s1*MACs + s2*eps*M + s3*(1-eps)*M in millijoules; M and eps as in :mod:`profiling.accesses`."""
    moved, eps = moved_bytes(cost), hit_rate(cost, CACHE_BYTES)
    computing = precisions.of(precision, cost.arithmetic).mac_pj * cost.macs
    return (computing + (CACHE_PJ * eps + DRAM_PJ * (1 - eps)) * moved) * 1e-9


def estimate(cost: Cost, precision: str, because: str = "no energy meter on this machine") -> Energy:
    """The estimate as a record that says what it is, and why there is no measurement."""
    sources = dict.fromkeys((precisions.of(precision, cost.arithmetic).source, precisions.HOROWITZ))
    reason = f"{because}; unit energies of {' and '.join(sources)}"
    return Energy(estimate_mj(cost, precision), "estimated:model", reason)
