"""Measuring every branch on every delegate of this machine, in interleaved rounds that survive a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from adascale_runtime.engines.delegates import check_delegate
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import tflite_file
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import speed
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from profiling import cells as table
from profiling import crashes, device, experiment, host
from profiling.cells import Cell
from profiling.driver import Driven
from profiling.experiment import Study
from profiling.host import HostOptions, HostRunner, samples
from profiling.jobs import Schedule, lasting
from profiling.journal import Journal
from profiling.rounds import Aim, drive_rounds
from profiling.runners import find_runner
from profiling.together import Part

__all__ = ["ROUNDS", "part", "profile", "samples"]
ROUNDS = 10


def profile(
    bundle: Bundle,
    delegates: Sequence[str],
    threads: Sequence[int],
    *,
    runs: int,
    out: Path,
    tick: Tick = silent,
    branches: Sequence[str] | None = None,
    allow_fallback: bool = False,
    op_profile: bool = False,
    again: bool = False,
    failed: Callable[[Cell, str], None] | None = None,
    runner: str = "host",
    anchors: bool = True,
    precise: float = 0.0,
) -> list[Measurement]:
    """Measure branches of a bundle on this machine, and append the measurements to a file.

    A call that was killed continues where it was, if its settings are the same; what a finished ``out`` of the same
    settings holds is returned as it is.

    Args:
        bundle: The bundle.
        delegates: Names of delegates.
        threads: Numbers of threads; every branch is measured on every delegate with each of them.
        runs: Timed runs of each, in ``min(10, runs)`` rounds.
        out: A file of measurements (JSON lines); other ``runs`` than it holds measure anew.
        tick: Told ``("profile", ...)`` at every job.
        branches: Ids of branches; None for all.
        allow_fallback: Also measure branches that a delegate runs only in part.
        op_profile: Also the times of each branch's operators.
        again: Measure once more what ``out`` holds.
        failed: Called with each cell that crashes or never ends, and a sentence that says so; the cell is left out.
        runner: The name of a registered runner for hosts.
        anchors: Whether anchors run beside the blocks, which tell the machine's speed.
        precise: Cells whose latency at usual speed has an interval wider than so many percent to either side get
            further rounds, at most as many again; 0 for none.

    Returns:
        The measurements in the order of delegates, threads and branches.

    Raises:
        BadInput: A delegate, branch or runner is unknown, or the journal is of other settings, or another process
            writes it.
        AdaScaleError: A delegate does not take all of a branch and ``allow_fallback`` is not given, or a cell crashes
            and ``failed`` is not given.
    """
    cells = _cells(bundle, delegates, threads, runs, branches)
    does = find_runner(runner, "host").make(HostOptions(allow_fallback, op_profile, anchors), bundle)
    crashed = crashes.find(bundle, cells, allow_fallback)
    for cell, sentence in crashed:
        _tell(failed, cell, sentence)
        cells.remove(cell)
    study = _study(bundle, cells, runs, out, again=again, anchors=anchors)

    def measure(todo: list[Cell], journal: Journal) -> Driven:
        _try_again(journal)
        schedule = Schedule(runs, ROUNDS, lasting_ms=lasting(precise))
        aim = Aim(precise, speed.place_of(study.device, study.settings))
        driven = drive_rounds(does, todo, schedule, journal, aim, tick=tick)
        for cell in todo:
            if cell.key not in driven.failed:
                _conclude(cell, journal)
        return driven

    with experiment.unfinished(study) as left:
        results = experiment.complete(left, measure, lambda: dict(does.versions), tick)
    for cell in cells:
        if cell.key in results.failed:
            _tell(failed, cell, results.failed[cell.key])
    return results.measurements


def part(
    bundle: Bundle,
    delegates: Sequence[str],
    threads: Sequence[int],
    *,
    runs: int,
    out: Path,
    journal: Path | None = None,
    branches: Sequence[str] | None = None,
    allow_fallback: bool = False,
    again: bool = False,
    anchors: bool = True,
) -> Part:
    """What :func:`profile` measures in its planned rounds, for common rounds with other parts.

    ``journal``: where facts go until all are there; parts that are measured together need different ones. None: a file
    beside ``out``. Raises what :func:`profile` raises, and an error for a cell that crashes.
    """
    cells = _cells(bundle, delegates, threads, runs, branches)
    for _, sentence in crashes.find(bundle, cells, allow_fallback):
        raise AdaScaleError(sentence)
    study = _study(bundle, cells, runs, out, journal=journal, again=again, anchors=anchors)
    does = HostRunner(HostOptions(allow_fallback, anchors=anchors), bundle)
    return Part(
        study, does, Schedule(runs, ROUNDS), lambda cell, journal, begun: _conclude(cell, journal), prepare=_try_again
    )


def _cells(
    bundle: Bundle, delegates: Sequence[str], threads: Sequence[int], runs: int, branches: Sequence[str] | None
) -> list[Cell]:
    for name in delegates:
        check_delegate(name)
    tflite_file.check_inputs(bundle.manifest.branches)
    return table.choose(bundle, delegates, threads, runs, branches)


def _study(
    bundle: Bundle, cells: Sequence[Cell], runs: int, out: Path, *, again: bool, anchors: bool,
    journal: Path | None = None,
) -> Study:  # fmt: skip
    settings = {"runs": runs, **({} if anchors else {"anchors": False})}
    return Study(bundle, cells, device.facts(), settings, out, journal or Path(f"{out}.journal"), again)


def _try_again(journal: Journal) -> None:
    """Forget what could not be loaded: what was missing, a driver or a library, may have been installed since."""
    journal.forget("process", lambda process: process.load_ms is None)


def _conclude(cell: Cell, journal: Journal) -> None:
    if not journal.has("energy", cell.key):
        journal.add("energy", cell.key, host.energy(journal.all("block", f"{cell.key}#")))


def _tell(failed: Callable[[Cell, str], None] | None, cell: Cell, sentence: str) -> None:
    if failed is None:
        raise AdaScaleError(sentence)
    failed(cell, sentence)
