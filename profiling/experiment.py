"""The frame of an experiment: the work that an earlier run left, and the storage of the facts.

Interleaved rounds survive a kill: each fact goes to a journal beside the output at once, and the same experiment
continues from it. When all jobs are done the measurements are appended to the output, and the journal is removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.files import disk
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from profiling import cells as table
from profiling import journal as journals
from profiling.cells import Cell
from profiling.driver import Driven
from profiling.journal import Journal


@dataclass(frozen=True)
class Study:
    """What is measured, on what device, and into which file."""

    bundle: Bundle
    cells: Sequence[Cell]
    #: What identifies and explains the device; its ``name`` tells devices apart.
    device: dict[str, Any]
    #: What two measurements must share to be the same.
    settings: dict[str, Any]
    out: Path
    #: Where facts go until all are there.
    journal: Path
    #: What ``out`` held when the study began does not count.
    again: bool = False


@dataclass(frozen=True)
class Unfinished:
    """What a study finds when it begins."""

    study: Study
    #: Measurements that are there, by the keys of cells.
    finished: dict[str, Measurement]
    todo: list[Cell]
    #: The settings of the journal of what is left.
    settings: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """What came of a study: ``failed`` says why cells could not be measured; the facts of those ``given_up`` wait for
    the next time."""

    measurements: list[Measurement]
    failed: dict[str, str]
    given_up: frozenset[str]


@contextlib.contextmanager
def unfinished(study: Study) -> Iterator[Unfinished]:
    """Hold a study's journal alone; gives what is left to do.

    :class:`adascale_runtime.files.disk.Busy` names another process that measures there. A study that was killed
    continues.
    """
    path, out = study.journal, study.out
    name = study.device["name"]
    with disk.locked(path, "written"):
        same = {"bundle": study.bundle.digest, "device": name, **study.settings}
        since = 0
        if study.again:
            begun = (journals.settings_of(path) or {}).get("again") if path.exists() else None
            since = begun if isinstance(begun, int) else len(records.runs([out])) if out.exists() else 0
            same["again"] = since
        finished = table.finished(study.bundle, study.cells, study.settings, name, out, since)
        journals.settle(path, same, finished)
        todo = [cell for cell in study.cells if cell.key not in finished]
        yield Unfinished(study, finished, todo, {**same, "cells": [cell.key for cell in todo]})


def complete(
    left: Unfinished, measure: Callable[[list[Cell], Journal], Driven], versions: Callable[[], dict[str, str]],
    tick: Tick = silent,
) -> Results:  # fmt: skip
    """Measure what is left of a study and append it to its file; the journal goes when nothing waits in it.

    Args:
        left: What :func:`unfinished` gave.
        measure: Puts all facts about cells into the journal, as :func:`drive` does, and says which failed. It is not
            called when nothing is left.
        versions: Asked for after that.
        tick: Told of damaged lines in the journal.
    """
    (results,) = complete_all([left], lambda own: {0: measure(left.todo, own[0])}, lambda _: versions(), tick)
    return results


def complete_all(
    lefts: Sequence[Unfinished], measure: Callable[[Mapping[int, Journal]], Mapping[int, Driven]],
    versions: Callable[[int], dict[str, str]], tick: Tick = silent,
) -> list[Results]:  # fmt: skip
    """As :func:`complete`, of several studies that are measured together.

    ``measure`` is given the journals of those of which something is left, by their positions in ``lefts``, and
    ``versions`` is asked for each of these.
    """
    finished, told = [dict(left.finished) for left in lefts], {n: Driven() for n in range(len(lefts))}
    with contextlib.ExitStack() as held:
        journals = {
            number: held.enter_context(Journal(left.study.journal, left.settings, tick))
            for number, left in enumerate(lefts)
            if left.todo
        }
        if journals:
            told.update(measure(journals))
        for number, journal in journals.items():
            _store(lefts[number], journal, told[number], versions(number), finished[number])
    return [
        Results(
            [finished[n][cell.key] for cell in left.study.cells if cell.key in finished[n]], told[n].failed,
            frozenset(told[n].given_up),
        )
        for n, left in enumerate(lefts)
    ]  # fmt: skip


def _store(
    left: Unfinished, journal: Journal, driven: Driven, versions: dict[str, str], finished: dict[str, Measurement]
) -> None:
    """Append what the journal knows to the study's file, and add it to ``finished``."""
    study = left.study
    for cell in (cell for cell in left.todo if cell.key not in driven.failed):
        try:
            finished[cell.key] = table.measurement(study.bundle, cell, journal, study.device, versions, study.settings)
        except BadInput as error:  # one that no reader would take
            driven.failed[cell.key] = f"its facts make no measurement: {error}"
    table.append(study.out, [finished[cell.key] for cell in left.todo if cell.key in finished])
    if not driven.given_up:
        journal.remove()
