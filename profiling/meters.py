"""Energy estimates for devices without a meter. Meters are in :mod:`adascale_runtime.device.meters`."""

from __future__ import annotations

from adascale_runtime.seams.manifest import Cost
from adascale_runtime.seams.predictors import hit_rate, moved_bytes
from adascale_runtime.seams.records import Energy
from converters import precisions

#: Energy of one byte from on-chip memory and from DRAM in picojoules: 45 nm figures of Horowitz, "Computing's energy
#: problem", ISSCC 2014 (1 MB cache 100 pJ and DRAM about 1.3 nJ per 8 bytes). Chips differ by an order of magnitude;
#: what they preserve is the ratio between branches. Each precision has its own energy of a multiply-accumulate.
CACHE_PJ = 12.5
DRAM_PJ = 160.0
#: The last cache of a phone's chip, where the device does not report its own.
CACHE_BYTES = 2_000_000


def estimate_mj(cost: Cost, precision: str) -> float:
    """E = s1*MACs + s2*eps*M + s3*(1-eps)*M in mJ; M and eps as in :mod:`adascale_runtime.seams.predictors`."""
    moved, eps = moved_bytes(cost), hit_rate(cost, CACHE_BYTES)
    computing = precisions.of(precision, cost.arithmetic).mac_pj * cost.macs
    return (computing + (CACHE_PJ * eps + DRAM_PJ * (1 - eps)) * moved) * 1e-9


def estimate(cost: Cost, precision: str, because: str = "no energy meter on this machine") -> Energy:
    """The estimate as a record that says what it is, and why there is no measurement."""
    sources = dict.fromkeys((precisions.of(precision, cost.arithmetic).source, precisions.HOROWITZ))
    reason = f"{because}; unit energies of {' and '.join(sources)}"
    return Energy(estimate_mj(cost, precision), "estimated:model", reason)
