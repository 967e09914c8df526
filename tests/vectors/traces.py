"""Traces of drifting devices, and what the real replay makes of them with each policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.policies import habits
from adascale_runtime.policies.limits import Option
from adascale_runtime.policies.replay import ignored, replay
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import FORMAT, Audit, Event, Header
from tests.vectors import draws

#: Traces, and inferences in each.
TRACES, EVENTS = 8, 300
#: All that a replay asks of a bundle.
BUNDLE = cast("Bundle", SimpleNamespace(digest="0123456789ab"))


def lines(r: Random, count: int = TRACES) -> Iterator[dict[str, Any]]:
    """Traces: header, events, and runs of each policy, one of them with the trace's own budget."""
    for _ in range(count):
        header, events, budget = recorded(r)
        runs = []
        for policy in draws.POLICIES:
            for wanted in (budget, replace(draws.budget(r, _table(header)), temperature_c=45.0)):
                runs.append({"policy": policy, "budget": wanted.limits(), **played(header, events, wanted, policy)})
        yield {"header": codec.to_json(header), "events": codec.to_json(events), "runs": runs}


def played(header: Header, events: list[Event], budget: Budget, policy: str) -> dict[str, Any]:
    """What the replay gives, or the sentence with which it refuses."""
    try:
        result = replay(BUNDLE, header, events, budget, policy)
    except BadInput as error:
        return {"refuses": str(error)}
    again = replay(BUNDLE, header, result, budget, policy)
    if policy == "adaptive" and again != result:
        raise AssertionError("A trace of the policy itself does not come back.")
    return {"events": codec.to_json(result), "ignored": ignored(header, events, budget)}


def _table(header: Header) -> tuple[Option, ...]:
    return tuple(codec.from_json(Option, data, "table") for data in header.table.values())


def recorded(r: Random) -> tuple[Header, list[Event], Budget]:
    """A trace of a device on which options were run as they came, and a budget that some of them keep."""
    options = draws.table(r)
    while len(options) < 3:
        options = draws.table(r)
    device, middle = draws.Device(r), sorted(option.latency_ms for option in options)[len(options) // 2]
    budget = Budget(latency_ms=1.5 * middle)
    header = Header(
        format=FORMAT, bundle=BUNDLE.digest, budget=budget.limits(), delegate="cpu", threads=1, started="",
        table={option.id: codec.to_json(option) for option in options}, settings=codec.to_json(draws.settings(r)),
        habits=habits.to_json(draws.habits(r, options)), told=habits.told_to_json(draws.told(r, options)),
    )  # fmt: skip
    events: list[Event] = []
    left = list(options)
    for number in range(EVENTS):
        failed: tuple[str, ...] = ()
        if len(left) > 2 and r.random() < 0.004:
            failed = (left.pop(r.randrange(len(left))).id,)
        option, begun_s = r.choice(left), device.idle()
        context = None
        if number % 7 == 0 or r.random() < 0.1:
            context = draws.context(r, budget)
            context = replace(context, cores=context.cores or None)  # as files have it
        latency_ms, ended_s = device.run(option)
        events.append(
            Event(
                time_s=begun_s, ended_s=ended_s, branch=option.id, reason="drawn", switched=bool(r.randrange(2)),
                decide_ms=0.01, switch_ms=0.02, latency_ms=latency_ms, base_ms=option.latency_ms,
                slowdown=round(draws.spread(r, 0.5, 3.0), 4), kept=bool(r.randrange(2)),
                correct=r.choice((None, True, False)), failed=failed, phase=r.choice((None, "idle")), context=context,
                absent=tuple(o.id for o in left if r.random() < 0.05),
                audit=Audit(r.uniform(0.0, 900.0), {"cpu x 1": r.uniform(0.3, 3.0)}) if r.random() < 0.02 else None,
            )
        )  # fmt: skip
    return header, events, budget
