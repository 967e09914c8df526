"""The work on cells as jobs for a runner, in the order in which it is done; pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adascale_runtime.seams.jobs import Job
from profiling.cells import Cell

#: What a block of runs takes at least where latencies are to be known well, in ms: two chunks between looks at the
#: anchors. Ten short runs are over before anything has changed, and such blocks differ by more than their number tells.
LASTING_MS = 20.0


@dataclass(frozen=True)
class Schedule:
    """How the work on each cell is cut up."""

    #: Timed runs of a cell, in all.
    runs: int
    #: In how many blocks they are done, each in another round.
    rounds: int
    #: Whether the energy of a run is a job of its own.
    energy: bool = False
    #: Jobs before the rounds.
    first: tuple[str, ...] = ("process", "start")
    #: Jobs after them.
    last: tuple[str, ...] = ("end",)
    #: A block has all ``runs``, not its share of them.
    whole: bool = False
    #: A block has more runs than its share of ``runs`` until they have taken so many ms together.
    lasting_ms: float = 0.0

    @property
    def planned(self) -> int:
        """How many rounds there are: no more than runs."""
        return self.rounds if self.whole else min(self.rounds, self.runs)


def lasting(precise: float) -> float:
    """What a block takes at least, in ms, where latencies are to be known to ``precise`` percent (0: nothing asked)."""
    return LASTING_MS if precise else 0.0


def jobs_of(cells: Sequence[Cell], schedule: Schedule, seed: int = 0) -> list[Job]:
    """All work on some cells in the order in which it is done: what comes first, the rounds, and what comes last."""
    rounds = [job for number in range(schedule.planned) for job in round_of(cells, schedule, number, seed)]
    return first_of(cells, schedule) + rounds + last_of(cells, schedule, seed)


def first_of(cells: Sequence[Cell], schedule: Schedule) -> list[Job]:
    """What is needed before the rounds."""
    return [_job(kind, cell) for kind in schedule.first for cell in cells]


def round_of(cells: Sequence[Cell], schedule: Schedule, number: int, seed: int = 0) -> list[Job]:
    """A round: every cell has a block of its runs, in a newly shuffled order, so that a drift of the device (heat, a
    neighbour) spreads over all cells alike. Rounds after the planned ones repeat their numbers of runs."""
    runs, rounds = schedule.runs, schedule.planned
    skip, count = (0, runs) if schedule.whole else (runs * number // rounds, share(runs, rounds, number))
    return [
        _job("block", cell, f"{cell.key}#{number}", runs=count, lasting_ms=schedule.lasting_ms, skip=skip)
        for cell in _shuffled(cells, seed + number)
    ]


def last_of(cells: Sequence[Cell], schedule: Schedule, seed: int = 0) -> list[Job]:
    """What comes after the rounds: energy, in shuffled order, and a last look at the context."""
    energy = [_job("energy", cell) for cell in _shuffled(cells, seed - 1)] if schedule.energy else []
    return energy + [_job(kind, cell) for kind in schedule.last for cell in cells]


def _job(kind: str, cell: Cell, key: str | None = None, **more: Any) -> Job:
    return Job(kind, key or cell.key, cell.key, cell.branch.id, cell.delegate, cell.threads, **more)


def share(runs: int, rounds: int, number: int) -> int:
    """How many of ``runs`` timed runs belong to round ``number`` of ``rounds``."""
    return runs * (number + 1) // rounds - runs * number // rounds


def _shuffled(cells: Sequence[Cell], seed: int) -> list[Cell]:
    order = list(cells)
    random.Random(seed).shuffle(order)
    return order
