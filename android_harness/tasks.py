"""The work on cells as tasks for a runner, in the order in which it is done; pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

from android_harness.agent.work import Job
from android_harness.runner import Options
from profiling import cells as table
from profiling.cells import Cell


def tasks_of(cells: Sequence[Cell], options: Options, seed: int = 0) -> list[Job]:
    """All work on some cells in the order in which it is done: what is needed first, rounds in shuffled order, energy
    in shuffled order, and a last look at the context."""

    def task(kind: str, cell: Cell, key: str | None = None, **more: int) -> Job:
        return Job(kind, key or cell.key, cell.key, cell.branch.id, cell.delegate, cell.threads, **more)

    found = [task(kind, cell) for cell in cells for kind in ("process", "start")]
    rounds = min(options.rounds, options.runs)
    for number in range(rounds):
        done, share = options.runs * number // rounds, table.share(options.runs, rounds, number)
        found += [
            task("block", cell, f"{cell.key}#{number}", runs=share, skip=done)
            for cell in _shuffled(cells, seed + number)
        ]
    if options.energy:
        found += [task("energy", cell) for cell in _shuffled(cells, seed - 1)]
    return found + [task("end", cell) for cell in cells]


def _shuffled(cells: Sequence[Cell], seed: int) -> list[Cell]:
    order = list(cells)
    random.Random(seed).shuffle(order)
    return order
