"""What a runner says, understood and checked: a message that cannot be used is a failed task, never an exception."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.text import excerpt
from android_harness.agent.work import Job
from profiling import facts
from profiling.facts import Fact, Said, Start
from profiling.journal import Journal

#: Characters of a reason from a phone that are kept.
REASON = 400


class NoFact(AdaScaleError):
    """A task that ended without a fact that can be used."""


def understood(message: Any, left: Sequence[Job], current: Job | None) -> tuple[Said, Job | None]:
    """A message and the task that it is about, None if that is none of those that are left.

    What is no message at all fails the task that is being done.
    """
    try:
        said = facts.said(message)
    except BadInput as error:
        return Said("failed", reason=f"the runner's message cannot be used: {excerpt(str(error), REASON)}"), current
    return said, next((t for t in left if (t.kind, t.key) == (said.kind, said.key)), None)


def fact(task: Job, said: Said) -> Fact:
    """The fact that ends a task; :class:`NoFact` says why there is none."""
    if said.say == "failed":
        raise NoFact(excerpt(said.reason or "the runner gave no reason", REASON))
    try:
        return facts.check(task.kind, said.value, task.kind, task.runs or None)
    except BadInput as error:
        raise NoFact(f"the runner's fact cannot be used: {excerpt(str(error), REASON)}") from None


def keep(task: Job, said: Said, journal: Journal) -> str | None:
    """Put the fact that ends a task into the journal; else gives the reason why the task failed."""
    try:
        found = fact(task, said)
    except NoFact as error:
        return str(error)
    if isinstance(found, Start):
        found = replace(found, started=datetime.now(timezone.utc).isoformat(timespec="seconds"))
    journal.add(task.kind, task.key, found)
    return None
