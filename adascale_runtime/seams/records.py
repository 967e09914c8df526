"""Measurements: one branch x delegate x threads x device x context, with the raw samples and how they were taken.

Format ``adascale-measurement/1``, JSON lines. Standard library only and Python 3.8 compatible. What could not be
measured is None and its ``*_reason`` says why; nothing is ever 0 for want of a meter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec, ranges
from adascale_runtime.files.ranges import AMOUNT, NUMBER, POSITIVE, SHARE, Ranges
from adascale_runtime.seams import pace
from adascale_runtime.seams.manifest import Cost
from adascale_runtime.seams.pace import Pace

FORMAT = "adascale-measurement/1"


@dataclass(frozen=True)
class Context:
    """A snapshot of what a device has left; None where the device does not report it.

    ``cpu_load``: share of all cores that *other* processes used since the last snapshot, in [0, 1]. ``runnable``:
    processes that want a core now, without this one. ``cpu_freq_mhz``: mean over cores. ``memory_free_mb``: what the
    process can still have; in a control group with a limit, what that leaves. ``battery``: charge in [0, 1].
    ``time_s``: seconds on the recorder's monotonic clock. ``reasons``: why signals are None, where it is known.
    ``clock_cap_mhz``: the clock that the system allows at most, mean over cores; heat lowers it.
    """

    time_s: float
    cpu_load: Optional[float] = None
    runnable: Optional[int] = None
    cores: Optional[int] = None
    cpu_freq_mhz: Optional[float] = None
    memory_free_mb: Optional[float] = None
    battery: Optional[float] = None
    charging: Optional[bool] = None
    temperature_c: Optional[float] = None
    reasons: Optional[Dict[str, str]] = None
    clock_cap_mhz: Optional[float] = None


#: What the numbers of a context may be; a charge or load a little above 1 is a matter of rounding and clocks.
CONTEXT_RANGES: Ranges = {
    "time_s": NUMBER, "cpu_load": (-0.01, 10.0), "runnable": (0, 1e6), "cores": (1, 1e6), "cpu_freq_mhz": (0.0, 1e6),
    "memory_free_mb": AMOUNT, "battery": (-0.01, 1.5), "temperature_c": (-1e3, 1e4),
    "clock_cap_mhz": (0.0, 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class Delegation:
    """What a delegate really took: ``delegated`` of ``nodes`` operators in ``partitions`` pieces."""

    nodes: int
    delegated: int
    partitions: int

    @property
    def verdict(self) -> str:
        """``fully``, ``partly`` or ``not`` accelerated."""
        if self.delegated == 0:
            return "not"
        return "fully" if self.delegated >= self.nodes else "partly"


@dataclass(frozen=True)
class Energy:
    """Energy of one inference in millijoules and how it was obtained: ``measured:rapl``, ``estimated:model``, ...

    ``uncertainty_mj``: half the width of an interval that holds the true mean in about two of three cases (one standard
    error), where the meter can tell. ``details``: what the meter saw, in units that its names say.
    """

    value_mj: Optional[float]
    how: str
    reason: Optional[str] = None
    uncertainty_mj: Optional[float] = None
    details: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """Outputs on this device against the bundle's expected ones, over its sample inputs."""

    samples: int
    agreement: float
    max_abs_difference: float


@dataclass(frozen=True)
class OperatorTime:
    """What an operator of a branch takes, in the order of execution: ``kind`` as the engine names it, ``delegated`` for
    a delegate's own operators, which may stand for several of the file's."""

    kind: str
    mean_ms: float
    delegated: bool


@dataclass(frozen=True)
class Measurement:
    """One measured cell of the table. ``latency_ms`` holds every timed run in order; ``warmup_ms`` those before.

    A latency ends when the output has been read on the CPU. ``load_ms``: open the file and allocate. ``memory_mb``:
    growth of the peak resident memory of a process of its own that loads and runs the branch. ``rounds``: how many
    interleaved rounds the runs come from. ``precision`` and ``cost`` repeat the manifest, so that a predictor can be
    fitted from measurements alone. ``operators``: what each took in a run of its own, where that was asked for.
    ``paces``: what anchors took beside the runs, each after so many of them; none in older files and without anchors.
    ``promised_partitions``: where the delegate does not tell what it took, in how many pieces the support table says
    that it takes the branch.
    """

    format: str
    bundle: str
    branch: str
    recipe: str
    precision: str
    delegate: str
    threads: int
    device: Dict[str, Any]
    cost: Cost
    warmup_ms: Tuple[float, ...]
    latency_ms: Tuple[float, ...]
    rounds: int
    load_ms: Optional[float]
    memory_mb: Optional[float]
    memory_reason: Optional[str]
    energy: Energy
    delegation: Optional[Delegation]
    delegation_reason: Optional[str]
    outputs: Optional[Agreement]
    context_before: Context
    context_after: Context
    started: str
    versions: Dict[str, str] = field(default_factory=dict)
    settings: Dict[str, Any] = field(default_factory=dict)
    operators: Tuple[OperatorTime, ...] = ()
    paces: Tuple[Pace, ...] = ()
    promised_partitions: Optional[int] = None

    @property
    def key(self) -> Tuple[str, str, str, int]:
        """What makes two measurements the same cell on one device."""
        return (self.bundle, self.branch, self.delegate, self.threads)

    @property
    def partitions(self) -> Optional[int]:
        """In how many pieces the delegate took the branch: measured, else by the support table; None if not known."""
        return self.promised_partitions if self.delegation is None else self.delegation.partitions

    def latency_quantile_ms(self, q: float) -> float:
        """The ``q`` quantile (0..1) of the timed runs, in milliseconds."""
        return quantile(self.latency_ms, q)


def quantile(values: Sequence[float], q: float) -> float:
    """The ``q`` quantile (0..1) by linear interpolation between order statistics; NaN for no values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def read(paths: Sequence[Path]) -> List[Measurement]:
    """The latest measurement of each cell, device and context in JSON-lines files, in the order of their first one."""
    return latest(runs(paths))


def latest(measurements: Sequence[Measurement]) -> List[Measurement]:
    """Of measurements of one cell on one device in one context, the last."""
    last: Dict[Any, Measurement] = {}
    for measurement in measurements:
        where_and_when = (str(measurement.device.get("name")), measurement.settings.get("context"))
        last[where_and_when + measurement.key] = measurement
    return list(last.values())


def runs(paths: Sequence[Path]) -> List[Measurement]:
    """All measurements of JSON-lines files, in order: a cell that was measured several times is there several times."""
    measurements = []
    for path in paths:
        for number, data in enumerate(codec.read_lines(path), start=1):
            where = "{} line {}".format(path, number)
            if not isinstance(data, dict) or data.get("format") != FORMAT:
                raise BadInput("{} is not a measurement ({!r} is expected).".format(where, FORMAT))
            measurement = codec.from_json(Measurement, data, where)
            check(measurement, where)
            measurements.append(measurement)
    return measurements


#: The same for a measurement, its parts and its cost. A difference of energies may be below zero.
_RANGES: Ranges = {
    "threads": (1, 1e4), "warmup_ms": POSITIVE, "latency_ms": POSITIVE, "rounds": (0, 1e9), "load_ms": AMOUNT,
    "memory_mb": NUMBER, "promised_partitions": (0, 1e9),
}  # fmt: skip
_COST_RANGES: Ranges = dict.fromkeys(
    ("macs", "params", "weight_bytes", "activation_bytes", "peak_bytes", "ops"), AMOUNT
)
_DELEGATION_RANGES: Ranges = {"nodes": (0, 1e9), "delegated": (0, 1e9), "partitions": (0, 1e9)}
_OUTPUT_RANGES: Ranges = {"samples": (0, 1e9), "agreement": SHARE, "max_abs_difference": (0.0, 1e300)}


def check(measurement: Measurement, where: str) -> None:
    """Refuse a measurement whose numbers make no sense; :class:`BadInput` names the place."""
    for value, wanted, name in (
        (measurement, _RANGES, ""),
        (measurement.cost, _COST_RANGES, ".cost"),
        (measurement.energy, {"value_mj": NUMBER, "uncertainty_mj": AMOUNT}, ".energy"),
        (measurement.delegation, _DELEGATION_RANGES, ".delegation"),
        (measurement.outputs, _OUTPUT_RANGES, ".outputs"),
        (measurement.context_before, CONTEXT_RANGES, ".context_before"),
        (measurement.context_after, CONTEXT_RANGES, ".context_after"),
        *((operator, {"mean_ms": AMOUNT}, ".operators") for operator in measurement.operators),
    ):
        if value is not None:
            ranges.check(value, wanted, where + name)
    for sums in measurement.cost.kernels.values():
        for amount in sums.values():
            if not 0.0 <= amount <= AMOUNT[1]:
                raise BadInput("{}.cost.kernels holds {:g}, which is not a valid amount.".format(where, amount))
    pace.check(measurement.paces, len(measurement.latency_ms), where + ".paces")
