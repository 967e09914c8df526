"""The registry of runners, which do jobs on this machine and on phones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput
from adascale_runtime.seams.jobs import Job, Message


class Runner(Protocol):
    """What does jobs."""

    #: The versions of what executes and measures, for measurements; complete when a job has been done.
    versions: dict[str, str]

    def run(self, jobs: Sequence[Job]) -> Iterator[Message]:
        """Do the jobs. It may end without :class:`Done`, in the middle of one."""
        ...


@dataclass(frozen=True)
class RunnerKind:
    """A runner as it is registered."""

    name: str
    #: ``make(options, bundle)`` on hosts; ``make(options, bundle, owner)`` for phones, whose runners are given the
    #: connection, too (:class:`android_harness.runner.PhoneRunner`).
    make: Callable[..., Any]
    #: Where it measures: "host" or "phone".
    where: str
    summary: str


RUNNERS: dict[str, RunnerKind] = {}
Made = TypeVar("Made", bound=Callable[..., Any])


def runner(name: str, where: str = "phone") -> Callable[[Made], Made]:
    """Declare a runner by the class or function that makes it. The first line of its docstring is its summary.

    Args:
        name: What ``--runner`` and measurements call it.
        where: Where it measures: "host" or "phone".

    Raises:
        BadInput: The name is taken.
    """

    def register(make: Made) -> Made:
        summary = (make.__doc__ or "").strip().partition("\n")[0]
        plugins.claim("runners", RUNNERS, name, RunnerKind(name, make, where, summary), make)
        return make

    return register


def find_runner(name: str, where: str) -> RunnerKind:
    """A registered runner for that kind of device; :class:`BadInput` names those that there are."""
    if name not in RUNNERS:
        plugins.load("runners")
    if name not in RUNNERS or RUNNERS[name].where != where:
        raise BadInput(plugins.unknown("runners", "runner", name, runner_names(where)))
    return RUNNERS[name]


def runner_names(where: str) -> tuple[str, ...]:
    """The names of the runners for that kind of device, in the order in which they were declared; plug-ins last."""
    plugins.load("runners")
    return tuple(kind.name for kind in RUNNERS.values() if kind.where == where)
