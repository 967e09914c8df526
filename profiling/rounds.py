"""Rounds: those that were planned, and further ones for cells whose latency is not known well enough.

What the journal holds decides which cells get a further round, so that an experiment that was killed continues with
the same ones: a round is given to the cells whose interval is wide by the blocks of the rounds before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import speed
from adascale_runtime.seams.jobs import Job
from adascale_runtime.seams.speed import Place, Timed
from profiling.cells import Cell, joined
from profiling.driver import Driven, Recovery, drive
from profiling.jobs import Schedule, first_of, last_of, round_of
from profiling.journal import Journal
from profiling.runners import Runner

#: How many rounds a cell has at most, in times of those that were planned; and at most, if its timed runs have not yet
#: taken so many ms together, since a second of measuring costs nobody much.
SLOW, MOST, SHORT_MS = 2, 6, 1000.0


@dataclass(frozen=True)
class Aim:
    """How well latencies are to be known."""

    #: Percent of the latency at usual speed, to either side; 0: as well as the planned rounds tell.
    percent: float
    #: The device, as :func:`adascale_runtime.seams.speed.place_of` names it.
    place: Place


def drive_rounds(
    runner: Runner, cells: Sequence[Cell], schedule: Schedule, journal: Journal, aim: Aim, *, tick: Tick = silent,
    label: str = "profile", recovery: Recovery | None = None,
) -> Driven:  # fmt: skip
    """Let a runner do all work on cells that the journal lacks; see :func:`profiling.driver.drive`.

    After the planned rounds, cells whose interval is wider than ``aim`` get further ones: at most as many again, and
    more only while their runs have hardly taken any time.
    """
    rest = _Rest(cells, schedule, journal, aim)
    jobs = first_of(cells, schedule)
    for number in range(schedule.planned):
        jobs += round_of(cells, schedule, number)

    def ahead(what: str, done: int, total: int, note: str = "") -> None:
        tick(what, done, total + len(rest.last), note)

    return drive(runner, jobs if aim.percent else jobs + rest.take(), journal, tick=ahead, label=label,
                 recovery=recovery, more=rest.more)  # fmt: skip


class _Rest:
    """What is done after the planned rounds."""

    def __init__(self, cells: Sequence[Cell], schedule: Schedule, journal: Journal, aim: Aim) -> None:
        self._cells, self._schedule, self._journal, self._aim = cells, schedule, journal, aim
        self._number = schedule.planned
        #: The jobs at the very end, until they are given out.
        self.last = last_of(cells, schedule)

    def take(self) -> list[Job]:
        """The jobs at the end, once."""
        last, self.last = self.last, []
        return last

    def more(self, driven: Driven) -> list[Job]:
        """The next round for the cells that need one, then the jobs at the end."""
        planned = self._schedule.planned
        if self.last and self._number < MOST * planned:
            number, self._number = self._number, self._number + 1
            short_ms = SHORT_MS if number >= SLOW * planned else math.inf
            alive = [c for c in self._cells if c.key not in driven.failed]
            wide = wide_cells(alive, number, self._journal, self._aim, short_ms)
            if wide:
                return round_of(wide, self._schedule, number)
        return self.take()


def wide_cells(
    cells: Sequence[Cell], rounds: int, journal: Journal, aim: Aim, short_ms: float = math.inf
) -> list[Cell]:
    """The cells whose latency has an interval wider than ``aim``, by their first so many rounds.

    ``short_ms``: of those only the cells whose runs took less than this together.
    """
    known = [(cell, timed) for cell in cells if (timed := _timed(cell, rounds, journal, aim.place)) is not None]
    usual = speed.usual_of([timed for _, timed in known])
    return [
        cell
        for cell, timed in known
        if sum(timed.latency_ms) < short_ms and speed.figure(timed, usual).percent > aim.percent
    ]


def _timed(cell: Cell, rounds: int, journal: Journal, place: Place) -> Timed | None:
    keys = [f"{cell.key}#{number}" for number in range(rounds)]
    blocks = [journal.get("block", key) for key in keys if journal.has("block", key)]
    if not blocks:
        return None
    latencies = tuple(ms for block in blocks for ms in block.latency_ms)
    branch = cell.branch
    anchor = speed.anchor_of(cell.delegate, branch.precision, branch.cost.arithmetic)
    return Timed(place, latencies, joined(blocks), len(blocks), anchor)
