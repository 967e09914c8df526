"""The driver of every experiment: it gives jobs to a runner, checks each fact that returns, and stores it at once.

A runner says what comes of its jobs in the messages of :mod:`adascale_runtime.seams.jobs`. What can happen to the way
there (a phone goes away, its runner dies) is the business of a :class:`Recovery` that is given to the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Protocol

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import facts, jobs
from adascale_runtime.seams.facts import Fact, Start
from adascale_runtime.seams.jobs import Begin, Done, Failed, Finished, Job, Message, Wait
from adascale_runtime.text import excerpt
from profiling.runners import Runner


@dataclass
class Driven:
    """What came of jobs: why cells failed, by their keys; the facts of those ``given_up`` wait for the next time."""

    failed: dict[str, str] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Turn:
    """How a runner ended."""

    #: The job in the middle of which it ended, or that it left out; None: before it began one.
    job: Job | None
    #: Whether anything was done.
    progress: bool
    #: Whether it said that it was done.
    finished: bool
    #: The error of :attr:`Recovery.gone` that ended it, if one did.
    error: Exception | None = None


class Recovery(Protocol):
    """What to do when a runner ended before its time."""

    #: Errors of a runner that are not the end of the experiment.
    gone: tuple[type[Exception], ...]

    def recover(self, turn: Turn) -> str | None:
        """Bring the runner back; gives the reason where the job of the turn, with its cell, is to be given up.

        Raises :class:`AdaScaleError` if the experiment cannot go on.
        """
        ...


class Store(Protocol):
    """Where facts go: a journal."""

    def has(self, kind: str, key: str) -> bool: ...

    def add(self, kind: str, key: str, value: Fact) -> None: ...


#: Gives jobs that follow from what was measured, and is told which cells have failed.
More = Callable[[Driven], Sequence[Job]]


class NoRecovery:
    """For runners that cannot end before their time."""

    gone: tuple[type[Exception], ...] = ()

    def recover(self, turn: Turn) -> str | None:
        where = "" if turn.job is None else f" '{turn.job.kind}' of {turn.job.cell}"
        raise AdaScaleError(f"The runner ended without doing{where or ' anything'}. Finished work is kept.")


def drive(
    runner: Runner, wanted: Sequence[Job], journal: Store, *, tick: Tick = silent, label: str = "profile",
    recovery: Recovery | None = None, more: More | None = None,
) -> Driven:  # fmt: skip
    """Let a runner do all jobs that the journal lacks, however often it ends.

    Args:
        runner: What does the jobs.
        wanted: The jobs, in order.
        journal: Where each fact goes as soon as it is there.
        tick: Told ``(label, done, total, note)`` at every message.
        label: Names the work for ``tick``.
        recovery: What to do when the runner ends early; without it that is an error.
        more: Asked for further jobs whenever all are done, until it gives none.

    Returns:
        Which cells failed. A job that fails takes its cell with it; the others go on.
    """
    policy: Recovery = NoRecovery() if recovery is None else recovery
    course = _Course(wanted, journal, tick, label)
    while left := course.left() or course.further(more):
        turn = course.turn(runner, left, policy.gone)
        if turn.finished and turn.progress:
            continue
        reason = policy.recover(turn)
        if reason is not None and turn.job is not None:
            course.driven.failed[turn.job.cell] = reason
            course.driven.given_up.add(turn.job.cell)
    return course.driven


class _Course:
    """Where a drive stands."""

    def __init__(self, wanted: Sequence[Job], journal: Store, tick: Tick, label: str) -> None:
        self.driven = Driven()
        self._wanted, self._journal, self._tick, self._label = list(wanted), journal, tick, label
        self._waits = ""

    def left(self) -> list[Job]:
        """The jobs that are neither done nor of a cell that failed."""
        return [job for job in self._wanted if not self._ended(job)]

    def further(self, more: More | None) -> list[Job]:
        """What is left of the next jobs of which some are not done yet; none if there are no more."""
        while more is not None and (jobs := more(self.driven)):
            self._wanted += jobs
            if left := self.left():
                return left
        return []

    def _ended(self, job: Job) -> bool:
        return job.cell in self.driven.failed or self._journal.has(job.kind, job.key)

    def turn(self, runner: Runner, left: list[Job], gone: tuple[type[Exception], ...]) -> Turn:
        """Let the runner do what it does before it ends."""
        named = {(job.kind, job.key): job for job in left}
        current: Job | None = None
        finished, lost = False, None
        done = len(self._wanted) - len(left)
        messages = runner.run(left)
        try:
            for message in messages:
                finished = finished or isinstance(message, Done)
                current, new, about = self._take(message, named, current)
                done += new
                note = self._waits or ("" if about is None else f"{about.kind} {about.cell}")
                self._tick(self._label, done, len(self._wanted), note)
        except gone as error:
            lost = error
        finally:
            if isinstance(messages, Generator):  # what the runner holds ends with its turn: a load, a connection
                messages.close()
        progress = any(self._ended(job) for job in left)
        if finished and not progress:  # it says that it is done, and did nothing of what is left
            current = current or left[0]
        return Turn(current, progress, finished, lost)

    def _take(
        self, message: Message, named: dict[tuple[str, str], Job], current: Job | None
    ) -> tuple[Job | None, bool, Job | None]:
        """Keep what a message says, or why it cannot be used.

        Gives the job that is being done, whether a new fact was kept, and the job that the message was about.
        """
        job: Job | None = None
        if isinstance(message, Wait):
            self._waits = f"waits: {excerpt(message.why, 100)}"
        elif isinstance(message, Begin):
            self._waits = ""
            job = named.get((message.kind, message.key))
        elif isinstance(message, (Finished, Failed)):
            job = named.get((message.kind, message.key)) if message.kind else current
            if job is not None:
                return None, self._keep(job, message), job
        job = job or current
        return job, False, job

    def _keep(self, job: Job, message: Finished | Failed) -> bool:
        if self._ended(job):
            return False
        try:
            self._journal.add(job.kind, job.key, usable(job, message))
        except NoFact as error:
            self.driven.failed[job.cell] = str(error)
            return False
        return True


class NoFact(AdaScaleError):
    """A job that ended without a fact that can be used."""


def usable(job: Job, message: Finished | Failed) -> Fact:
    """The fact that ends a job, checked; :class:`NoFact` says why there is none."""
    if isinstance(message, Failed):
        raise NoFact(excerpt(message.reason or "the runner gave no reason", jobs.REASON))
    fact = message.value
    try:
        if not isinstance(fact, facts.KINDS[job.kind]):
            raise BadInput(f"{job.kind} is a {type(fact).__name__}, which is a fact of another kind.")
        facts.verify(fact, job.kind, job.runs or None, job.lasting_ms)
    except BadInput as error:
        raise NoFact(jobs.unusable(error)) from None
    return replace(fact, started=now()) if isinstance(fact, Start) else fact


def now() -> str:
    """The time by this computer's clock, as measurements carry it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
