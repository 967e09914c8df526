"""The agent's bench mode: does a list of tasks in order and says each result as soon as it is there.

Lines for the harness begin with :data:`MARK`, so that whatever else a phone prints does no harm.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Optional, Tuple

from adascale_runtime.device import power, sensors
from adascale_runtime.files import codec
from android_harness.agent import work
from android_harness.agent.alone import Owner, alone
from android_harness.agent.work import Failed, Job, Place

MARK = "@adascale "
#: Gauges are read this often; the fastest change some four times a second.
SAMPLE_S = 0.05
#: Seconds between the two samples that tell the load.
SNAPSHOT_S = 0.1
#: A batch is made longer at most this often, twice as long each time, where the gauge is slow.
LONGER = 3


@dataclass(frozen=True)
class Plan:
    """What to do: ``cooldown_c`` the temperature above which work waits, None for never; ``idle_s`` and ``batch_s`` how
    long idle and busy power are measured; ``patience_s`` how long to wait for heat, a charger or a piece of work.
    ``owner``: whose plan it is, to measure alone; None where nobody else does."""

    bundle: str
    tasks: Tuple[Job, ...]
    affinity: Optional[str] = None
    allow_fallback: bool = False
    cooldown_c: Optional[float] = None
    idle_s: float = 2.0
    batch_s: float = 4.0
    patience_s: float = 600.0
    op_profile: bool = False
    owner: Optional[Owner] = None


def bench(plan: Plan, library: Optional[str], root: str, say: Callable[[Dict[str, Any]], None]) -> None:
    """Do all tasks; ``say`` gets begin, fact, failed and wait messages, and done at the end.

    Raises :class:`~android_harness.agent.alone.Taken` if another command measures on this phone.
    """
    with nullcontext() if plan.owner is None else alone(plan.owner):
        _bench(plan, library, root, say)


def _bench(plan: Plan, library: Optional[str], root: str, say: Callable[[Dict[str, Any]], None]) -> None:
    cores = work.cores_of(plan.affinity, root, os.cpu_count())
    place = Place(plan.bundle, library, root, cores, plan.allow_fallback, plan.op_profile)
    broken: Dict[str, str] = {}
    for task in plan.tasks:
        if task.cell in broken:  # what cannot start cannot be timed either
            continue
        _cool(plan, root, say)
        say({"say": "begin", "kind": task.kind, "key": task.key})
        try:
            value = _do(plan, place, task, say)
        except Failed as error:
            broken[task.cell] = str(error)
            say({"say": "failed", "kind": task.kind, "key": task.key, "cell": task.cell, "reason": str(error)})
        else:
            say({"say": "fact", "kind": task.kind, "key": task.key, "value": value})
    say({"say": "done"})


def _do(plan: Plan, place: Place, task: Job, say: Callable[[Dict[str, Any]], None]) -> Dict[str, Any]:
    if task.kind == "end":
        return {"context": snapshot(place.root)}
    if task.kind == "start":
        context = snapshot(place.root)
        return {"context": context, **work.in_child(place, task, plan.patience_s)}
    if task.kind == "energy":
        return _energy(plan, place, task, say)
    return work.in_child(place, task, plan.patience_s)


def snapshot(root: str) -> Dict[str, Any]:
    """The context now, with the reasons for what is None."""
    sampler = sensors.FileSampler(root)
    sampler.sample(0.0)
    time.sleep(SNAPSHOT_S)
    context = sampler.sample(time.monotonic())
    return codec.to_json(replace(context, reasons=sampler.reasons or None))  # type: ignore[no-any-return]


def _cool(plan: Plan, root: str, say: Callable[[Dict[str, Any]], None]) -> None:
    if plan.cooldown_c is None:
        return

    def warm() -> Optional[str]:
        context = sensors.FileSampler(root).sample(0.0)
        if context.temperature_c is None or context.temperature_c <= (plan.cooldown_c or 0.0):
            return None
        return "{:.1f} C, cooling to {:g} C".format(context.temperature_c, plan.cooldown_c or 0.0)

    _wait(warm, plan.patience_s, say)


def _wait(why: Callable[[], Optional[str]], patience_s: float, say: Callable[[Dict[str, Any]], None]) -> bool:
    """Wait while there is a reason to; whether it went away in time."""
    begun = time.monotonic()
    while True:
        reason = why()
        if reason is None:
            return True
        waited = time.monotonic() - begun
        if waited > patience_s:
            return False
        say({"say": "wait", "why": reason, "waited_s": round(waited, 1)})
        time.sleep(min(1.0, max(0.05, patience_s / 20)))


def _energy(plan: Plan, place: Place, task: Job, say: Callable[[Dict[str, Any]], None]) -> Dict[str, Any]:
    """Energy of one run above idle, from the battery; None with the reason where it cannot be measured."""

    def charger() -> Optional[str]:
        return "the phone charges; unplug it" if sensors.charging(sensors.supplies(place.root)) else None

    if not sensors.batteries(sensors.supplies(place.root)):
        return {"value_mj": None, "reason": "the adb shell sees no battery on this device"}
    if not _wait(charger, plan.patience_s, say):
        return {"value_mj": None, "reason": "the phone was charging, so its battery does not tell what it uses"}
    idle_s, batch_s = plan.idle_s, plan.batch_s
    for _ in range(LONGER + 1):
        collected: List[power.Sample] = []

        def collect(into: List[power.Sample] = collected) -> None:
            into.append(power.Sample(time.monotonic(), tuple(sensors.supplies(place.root))))

        begun = time.monotonic()
        while time.monotonic() - begun < idle_s:
            collect()
            time.sleep(SAMPLE_S)
        idle = (begun, time.monotonic())
        patience_s = plan.patience_s + batch_s
        found = work.in_child(
            place, replace(task, kind="busy", runs=round(1e3 * batch_s)), patience_s, collect, SAMPLE_S
        )
        collect()
        energy = power.energy_per_run(collected, idle, (found["busy"][0], found["busy"][1]), found["runs"])
        if not energy.get("retry_longer"):
            break
        idle_s, batch_s = 2 * idle_s, 2 * batch_s
    return energy
