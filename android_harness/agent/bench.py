"""The agent's bench mode: it does jobs in order and reports each result at once."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Optional, Tuple

from adascale_runtime.device import meters, sensors
from adascale_runtime.measuring import energy
from adascale_runtime.seams.facts import Busy, End
from adascale_runtime.seams.jobs import Begin, Done, Failed, Finished, Job, Message, Wait
from android_harness.agent import work
from android_harness.agent.alone import Owner, alone
from android_harness.agent.work import JobFailed, Workplace

Say = Callable[[Message], None]


@dataclass(frozen=True)
class Agenda:
    """What to do, and how."""

    bundle: str
    jobs: Tuple[Job, ...]
    affinity: Optional[str] = None
    allow_fallback: bool = False
    #: The temperature above which work waits, None for never.
    cooldown_c: Optional[float] = None
    #: Seconds that idle and busy power are measured.
    idle_s: float = 2.0
    batch_s: float = 4.0
    #: Seconds to wait for heat, a charger or a job.
    patience_s: float = 600.0
    op_profile: bool = False
    #: Whether anchors run beside the blocks of timed runs.
    anchors: bool = True
    #: Whose agenda it is, to measure alone; None where nobody else measures.
    owner: Optional[Owner] = None


def bench(agenda: Agenda, library: Optional[str], root: str, say: Say) -> None:
    """Do all jobs; ``say`` gets each message.

    Raises :class:`~android_harness.agent.alone.Taken` if another command measures on this phone.
    """
    with nullcontext() if agenda.owner is None else alone(agenda.owner):
        _bench(agenda, library, root, say)


def _bench(agenda: Agenda, library: Optional[str], root: str, say: Say) -> None:
    cores = work.cores_of(agenda.affinity, root, os.cpu_count())
    place = Workplace(agenda.bundle, library, root, cores, agenda.allow_fallback, agenda.op_profile, agenda.anchors)
    broken: Dict[str, str] = {}
    for job in agenda.jobs:
        if job.cell in broken:  # what cannot start cannot be timed either
            continue
        _cool(agenda, root, say)
        say(Begin(job.kind, job.key))
        try:
            value = _do(agenda, place, job, say)
        except JobFailed as error:
            broken[job.cell] = str(error)
            say(Failed(job.kind, job.key, job.cell, str(error)))
        else:
            say(Finished(job.kind, job.key, value))
    say(Done())


def _do(agenda: Agenda, place: Workplace, job: Job, say: Say) -> Any:
    if job.kind == "end":
        return End(work.snapshot(place.root))
    if job.kind != "energy":
        return work.in_child(place, job, agenda.patience_s)

    def spend(seconds: float, meanwhile: Callable[[], None]) -> Busy:
        lasting = replace(job, kind="busy", runs=round(1e3 * seconds))
        busy: Busy = work.in_child(place, lasting, agenda.patience_s + seconds, meanwhile, energy.SAMPLE_S)
        return busy

    def wait(obstacle: Callable[[], Optional[str]]) -> bool:
        return _wait(obstacle, agenda.patience_s, say)

    meter = next(iter(meters.opened(place.root)), None)
    return energy.energy(meter, spend, wait, agenda.idle_s, agenda.batch_s)


def _cool(agenda: Agenda, root: str, say: Say) -> None:
    limit_c = agenda.cooldown_c
    if limit_c is None:
        return

    def warm() -> Optional[str]:
        celsius = sensors.FileSampler(root).sample(0.0).temperature_c
        if celsius is None or celsius <= limit_c:
            return None
        return "{:.1f} C, cooling to {:g} C".format(celsius, limit_c)

    _wait(warm, agenda.patience_s, say)


def _wait(why: Callable[[], Optional[str]], patience_s: float, say: Say) -> bool:
    """Wait while there is a reason to; whether it went away in time."""
    begun = time.monotonic()
    while True:
        reason = why()
        if reason is None:
            return True
        waited = time.monotonic() - begun
        if waited > patience_s:
            return False
        say(Wait(reason, round(waited, 1)))
        time.sleep(min(1.0, max(0.05, patience_s / 20)))
