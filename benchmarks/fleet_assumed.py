"""What the simulated fleet is made of: measured costs, assumptions, what is varied, and what comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from android_harness.fleet.dispatch import Sizing, guided


@dataclass(frozen=True)
class Costs:
    """Seconds that were measured. ``cells``: each cell's repetitions; ``energy``: more for a cell's energy.

    ``first`` and ``next``: a lease beside its tasks, on a phone that has nothing and on one that has the files.
    ``cut``: from a phone's death to the harness giving up, beyond its patience; ``silent``: the same where nobody hangs
    up, beyond patience and the silence that a task may keep. ``pushed``: bytes that a phone gets first. ``answer``: of
    the one coordinator for each lease; ``append``: to add it to the output.
    """

    cells: tuple[tuple[float, ...], ...]
    energy: tuple[float, ...]
    first: tuple[float, ...]
    next: tuple[float, ...]
    cut: tuple[float, ...]
    silent: tuple[float, ...]
    pushed: int
    answer: float
    append: float


@dataclass(frozen=True)
class Assumptions:
    """What is not measured. Rates are per hour, times in seconds, means of exponential distributions unless said."""

    phones: int = 10_000
    models: int = 300
    hosts: int = 400
    branches: int = 24
    engines: int = 3
    #: Phones of the r-th most frequent model: proportional to 1 / r ** this, at least 2.
    popularity: float = 1.0
    #: How much longer tasks take than here: log-normal between models and between phones of a model.
    slower: float = 4.0
    slower_sigma: float = 0.6
    phone_sigma: float = 0.15
    deaths: float = 0.01
    absence_s: float = 1800.0
    #: Share of deaths where nobody hangs up: flat batteries, lost radio.
    silent: float = 0.7
    host_deaths: float = 0.002
    host_absence_s: float = 1200.0
    #: Dask notices a closed connection at once, a silent host after its worker-ttl (300 s, its default).
    host_notice_s: float = 300.0
    probe_s: float = 30.0
    #: Share of cells before which a phone is too warm, and how long it cools.
    warm: float = 0.1
    cooling_s: float = 60.0
    #: Share of cells that a model cannot run (its delegate crashes).
    broken: float = 0.02
    #: To each phone, all of a host's at once.
    bytes_per_s: float = 2e6
    #: As `adascale profile --fleet` has it.
    patience_s: float = 30.0
    #: Until the system notices that a phone left the network: TCP's keep-alives, `android_harness.transport.KEEPALIVE`.
    silence_s: float = 30.0


@dataclass(frozen=True)
class Plan:
    """What is varied. ``share``: model or none."""

    name: str
    share: str = "none"
    cells_per_lease: int = 4
    size: Sizing = guided
    energy: bool = True


@dataclass
class Outcome:
    """Seconds and counts of one simulated profile."""

    name: str
    cells: int = 0
    done: int = 0
    given_up: int = 0
    makespan_s: float = 0.0
    #: When 99 % of the cells were done; what follows is the stragglers'.
    most_s: float = 0.0
    busy_h: float = 0.0
    utilisation: float = 0.0
    leases: int = 0
    #: Seconds that the coordinator was at work, as measured for one answer after the other.
    coordinator_s: float = 0.0
    leases_per_s: float = 0.0
    peak_leases_per_s: float = 0.0
    #: Cells in leases that were lost, which were measured again; and phones that went away, alone or with their host.
    lost: int = 0
    deaths: int = 0
    dispatcher_s_per_1000: float = 0.0
    last_kind: str = ""
    last_kind_phones: int = 0


def fixed(waiting: int, phones: int, most: int) -> int:
    """Leases that do not shrink, to compare with."""
    return most


def models_of(assumed: Assumptions) -> list[int]:
    """How many phones each model has; the sum is ``phones``."""
    weights = [1 / rank**assumed.popularity for rank in range(1, assumed.models + 1)]
    counts = [max(2, math.floor(assumed.phones * weight / sum(weights))) for weight in weights]
    counts[0] += assumed.phones - sum(counts)
    if counts[0] < 2:
        raise ValueError(f"{assumed.phones} phones are too few for {assumed.models} models")
    return counts
