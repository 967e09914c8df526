"""The driver with runners that do what a test tells them to; no phone, no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.facts import Block, End, Process, Start
from adascale_runtime.seams.jobs import Begin, Done, Failed, Finished, Job, Message, Wait
from adascale_runtime.seams.records import Context
from profiling.driver import Turn, drive
from profiling.jobs import Schedule, jobs_of
from profiling.journal import Journal

CONTEXT = Context(1.0)
GOOD = {"process": Process(1.0, 2.0), "start": Start(CONTEXT), "block": Block((1.0,)), "end": End(CONTEXT)}


class Cell:
    """What jobs need of a cell."""

    def __init__(self, name: str) -> None:
        self.key, self.branch, self.delegate, self.threads = f"{name}/cpux1", self, "cpu", 1
        self.id = name


JOBS = jobs_of([Cell("a"), Cell("b")], Schedule(2, 2))  # type: ignore[list-item]


class Scripted:
    """Does every job well, but for what ``odd`` gives in the place of a job's messages."""

    def __init__(self, odd: dict[tuple[str, str], Sequence[Any]] | None = None, ends: bool = True) -> None:
        self.versions: dict[str, str] = {}
        self.odd, self.ends, self.closed = odd or {}, ends, 0
        self.asked: list[int] = []

    def run(self, jobs: Sequence[Job]) -> Iterator[Message]:
        self.asked.append(len(jobs))
        try:
            for job in jobs:
                about = job.kind, job.key
                for message in self.odd.get(about, (Begin(*about), Finished(*about, GOOD[job.kind]))):
                    if isinstance(message, BaseException):
                        raise message
                    yield message
            if self.ends:
                yield Done()
        finally:
            self.closed += 1


@pytest.fixture()
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "m.journal", {"bundle": "b"}) as made:
        yield made


def done(journal: Journal) -> list[tuple[str, str]]:
    return [(job.kind, job.key) for job in JOBS if journal.has(job.kind, job.key)]


def test_each_fact_is_on_the_disk_before_the_next_job_begins(journal: Journal) -> None:
    seen: list[int] = []

    class Looking(Scripted):
        def run(self, jobs: Sequence[Job]) -> Iterator[Message]:
            for message in super().run(jobs):
                if isinstance(message, Begin):
                    seen.append(journal.path.read_text().count('"kind"'))
                yield message

    driven = drive(Looking(), JOBS, journal)
    assert not driven.failed and seen == list(range(len(JOBS))) and len(done(journal)) == len(JOBS)
    assert journal.get("start", "a/cpux1").started > "2020"


def test_only_what_the_journal_lacks_is_done(journal: Journal) -> None:
    journal.add("process", "a/cpux1", GOOD["process"])
    runner = Scripted()
    drive(runner, JOBS, journal)
    assert runner.asked == [len(JOBS) - 1] and runner.closed == 1
    drive(runner, JOBS, journal)
    assert len(runner.asked) == 1


def test_a_job_that_fails_takes_its_cell_with_it_and_no_other(journal: Journal) -> None:
    runner = Scripted({("start", "a/cpux1"): (Failed("start", "a/cpux1", "a/cpux1", "it is\x1b[2J odd"),)})
    driven = drive(runner, JOBS, journal)
    assert driven.failed == {"a/cpux1": "it is\\x1b[2J odd"} and not driven.given_up
    assert {key.split("#")[0] for _, key in done(journal)} == {"a/cpux1", "b/cpux1"}
    assert not [key for kind, key in done(journal) if kind == "block" and key.startswith("a")]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Process(1.0, 2.0), "which is a fact of another kind"),
        (None, "which is a fact of another kind"),
        (Block((1.0, 2.0)), "has 2 latencies, but 1 runs were asked for"),
        (Block((float("nan"),)), "is nan, which is not in the range"),
    ],
)
def test_facts_are_checked_where_they_enter(journal: Journal, value: Any, why: str) -> None:
    runner = Scripted({("block", "a/cpux1#0"): (Finished("block", "a/cpux1#0", value),)})
    driven = drive(runner, JOBS, journal)
    assert driven.failed.keys() == {"a/cpux1"} and not journal.has("block", "a/cpux1#0")
    assert driven.failed["a/cpux1"].startswith("the runner's fact cannot be used: ") and why in driven.failed["a/cpux1"]


def test_a_runner_that_ends_early_is_an_error_without_a_recovery(journal: Journal) -> None:
    begun = Scripted({("start", "b/cpux1"): (Begin("start", "b/cpux1"), KeyError("lost"))})
    with pytest.raises(KeyError):
        drive(begun, JOBS, journal)
    assert begun.closed == 1 and len(done(journal)) == 3
    with pytest.raises(AdaScaleError, match="ended without doing 'start' of b/cpux1"):
        drive(Scripted({(job.kind, job.key): () for job in JOBS}), JOBS, journal)
    with pytest.raises(AdaScaleError, match="ended without doing anything"):
        drive(Scripted({(job.kind, job.key): () for job in JOBS}, ends=False), JOBS, journal)


class Patient:
    """Lets the runner try again, and gives a job up after the second time."""

    gone: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    def recover(self, turn: Turn) -> str | None:
        self.turns.append(turn)
        return "twice" if len(self.turns) == 2 else None


def test_a_recovery_brings_a_runner_back_or_gives_the_job_up(journal: Journal) -> None:
    runner = Scripted({("start", "a/cpux1"): (Begin("start", "a/cpux1"), ConnectionError("cut"))})
    patient = Patient()
    driven = drive(runner, JOBS, journal, recovery=patient)
    assert driven.failed == {"a/cpux1": "twice"} and driven.given_up == {"a/cpux1"} and runner.closed == 3
    assert [(turn.job and turn.job.key, turn.progress) for turn in patient.turns] == [
        ("a/cpux1", True), ("a/cpux1", False),
    ]  # fmt: skip
    assert all(isinstance(turn.error, ConnectionError) and not turn.finished for turn in patient.turns)
    assert len([key for _, key in done(journal) if key.startswith("b")]) == len(JOBS) / 2


def test_progress_is_told_at_every_message(journal: Journal) -> None:
    told: list[tuple[Any, ...]] = []
    odd = {("end", "a/cpux1"): (Wait("hot"), Begin("end", "a/cpux1"), Finished("end", "a/cpux1", GOOD["end"]))}
    drive(Scripted(odd), JOBS, journal, tick=lambda *words: told.append(words), label="here")
    assert {words[0] for words in told} == {"here"} and {words[2] for words in told} == {len(JOBS)}
    assert [words[1] for words in told] == sorted(words[1] for words in told) and told[-1][1] == len(JOBS)
    assert "waits: hot" in [words[3] for words in told] and told[1][3] == "process a/cpux1"
