"""Several studies of this machine in common rounds: branches of several bundles, or branches and micro-kernels.

What is measured in common rounds meets the machine in the same moods. Each study keeps a journal of its own, so that
all of them continue after a kill.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.facts import Fact
from adascale_runtime.seams.jobs import Begin, Done, Finished, Job, Message
from adascale_runtime.seams.records import Measurement
from profiling import experiment
from profiling.cells import Cell
from profiling.driver import Driven, drive, now
from profiling.experiment import Study
from profiling.host import HostRunner
from profiling.jobs import Schedule, first_of, last_of, round_of
from profiling.journal import Journal


@dataclass(frozen=True)
class Part:
    """One of the studies. Their journals are different files; they may write to one file of measurements."""

    study: Study
    runner: HostRunner
    schedule: Schedule
    #: Puts what is left to say of a cell whose blocks are done into the journal; told when the work began.
    conclude: Callable[[Cell, Journal, str], None]
    #: Leaves out facts of earlier versions that cannot be used.
    prepare: Callable[[Journal], None] = lambda journal: None


def measure(parts: Sequence[Part], *, tick: Tick = silent, label: str = "profile") -> list[list[Measurement]]:
    """Measure all parts in common rounds; gives the measurements of each, in the order of its cells.

    Raises :class:`AdaScaleError` for a cell that fails; what is done is kept for the next time.
    """

    def run(journals: Mapping[int, Journal]) -> dict[int, Driven]:
        begun, todo = now(), {number: lefts[number].todo for number in journals}
        for number, journal in journals.items():
            parts[number].prepare(journal)
        driven = drive(
            _Runners({number: parts[number].runner for number in journals}),
            jobs_of({number: (cells, parts[number].schedule) for number, cells in todo.items()}),
            _Journals(journals), tick=_without_numbers(tick), label=label,
        )  # fmt: skip
        told = {number: Driven() for number in journals}
        for key, reason in driven.failed.items():
            number, own = _split(key)
            told[number].failed[own] = reason
        for number, journal in journals.items():
            for cell in (cell for cell in todo[number] if cell.key not in told[number].failed):
                parts[number].conclude(cell, journal, begun)
        return told

    with contextlib.ExitStack() as held:
        lefts = [held.enter_context(experiment.unfinished(part.study)) for part in parts]
        results = experiment.complete_all(lefts, run, lambda number: dict(parts[number].runner.versions), tick)
    for result in results:
        for key, reason in result.failed.items():
            raise AdaScaleError(f"{key}: {reason}")
    return [result.measurements for result in results]


def jobs_of(work: Mapping[int, tuple[Sequence[Cell], Schedule]]) -> list[Job]:
    """The work on the cells of several studies by number: first what comes first, then common rounds, then the rest.

    A study of fewer rounds is spread over those of the one that has most. The keys of jobs begin with the number.
    """
    first = [_named(n, job) for n, (cells, schedule) in work.items() for job in first_of(cells, schedule)]
    first.sort(key=lambda job: job.kind != "process")  # which are done before anything is opened here
    most = max((schedule.planned for _, schedule in work.values()), default=0)
    rounds = []
    for turn in range(most):
        common = [
            _named(n, job)
            for n, (cells, schedule) in work.items()
            for number in range(schedule.planned)
            if number * most // schedule.planned == turn
            for job in round_of(cells, schedule, number)
        ]
        random.Random(turn).shuffle(common)
        rounds += common
    return (
        first + rounds + [_named(n, job) for n, (cells, schedule) in work.items() for job in last_of(cells, schedule)]
    )


def _named(number: int, job: Job) -> Job:
    return replace(job, key=f"{number}:{job.key}", cell=f"{number}:{job.cell}")


def _split(key: str) -> tuple[int, str]:
    number, _, own = key.partition(":")
    return int(number), own


def _without_numbers(tick: Tick) -> Tick:
    """Notes name cells as their own studies do."""

    def told(what: str, done: int, total: int, note: str = "") -> None:
        kind, space, cell = note.partition(" ")
        number, colon, own = cell.partition(":")
        tick(what, done, total, f"{kind} {own}" if space and colon and number.isdecimal() else note)

    return told


class _Journals:
    """The journals of several studies as one, for the driver."""

    def __init__(self, journals: Mapping[int, Journal]) -> None:
        self._journals = journals

    def has(self, kind: str, key: str) -> bool:
        number, own = _split(key)
        return self._journals[number].has(kind, own)

    def add(self, kind: str, key: str, value: Fact) -> None:
        number, own = _split(key)
        self._journals[number].add(kind, own, value)


class _Runners:
    """The runners of several studies as one. All look at the same anchors, which lie where they lie in memory."""

    def __init__(self, runners: Mapping[int, HostRunner]) -> None:
        self.versions: dict[str, str] = {}
        self._runners = runners

    def run(self, jobs: Sequence[Job]) -> Iterator[Message]:
        begun = False
        with contextlib.ExitStack() as beside:
            for job in jobs:
                yield Begin(job.kind, job.key)
                if job.kind != "process" and not begun:
                    begun = True
                    self._begin(jobs, beside)
                number, own = _own(job)
                yield Finished(job.kind, job.key, self._runners[number].do(own))
        yield Done()

    def _begin(self, jobs: Sequence[Job], beside: contextlib.ExitStack) -> None:
        anchored = [runner for runner in self._runners.values() if runner.options.anchors]
        for runner in anchored[1:]:
            runner.anchors = anchored[0].anchors
        mine = [_own(job) for job in jobs]
        for number, runner in self._runners.items():
            runner.open([job for n, job in mine if n == number])
        for runner in self._runners.values():
            runner.begin(beside)


def _own(job: Job) -> tuple[int, Job]:
    number, key = _split(job.key)
    return number, replace(job, key=key, cell=_split(job.cell)[1])
