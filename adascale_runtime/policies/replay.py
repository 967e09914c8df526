"""A policy on recorded contexts and latencies: deterministic, without an inference.

What the device did at each recorded inference meets whichever branch the policy chooses: the slowdown as it is, a stall
with a probability in proportion to the branch's running time (:mod:`adascale_runtime.policies.pressure`), drawn from
the inference's number. With the recorded budget and policy the decisions are the recorded ones, bit for bit, because
nothing else enters them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec, ranges
from adascale_runtime.files.ranges import AMOUNT, POSITIVE, SHARE, Ranges
from adascale_runtime.policies import habits, limits, rivals, verdicts
from adascale_runtime.policies import policy as policies
from adascale_runtime.policies.policy import Option, Settings, Table
from adascale_runtime.policies.state import audited, begin, forget, observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.records import Context
from adascale_runtime.text import excerpt


def replay(bundle: Bundle, header: Header, events: List[Event], budget: Budget, policy: str) -> List[Event]:
    """The events that a policy would have made of a trace.

    Args:
        bundle: The bundle that the trace was recorded with.
        header: The trace's first line.
        events: The recorded inferences.
        budget: What should have been kept; :func:`unknown_limits` says which limits the trace tells nothing about.
        policy: The name of a policy.

    Returns:
        An event for each recorded one.

    Raises:
        BadInput: The trace is of another bundle, there is no such policy, or no branch can keep the budget.
    """
    if header.bundle != bundle.digest:
        raise BadInput(
            "The trace was recorded with another bundle ({}, not {}); give the bundle it was recorded with.".format(
                header.bundle, bundle.digest
            )
        )
    policies.check_policy(policy)
    table, settings = _table(header), _settings(header)
    policies.check_feasible(budget, table)
    options = {option.id: option for option in table}
    decide = policies.POLICIES[policy]
    state = begin(habits.parse(header.habits), habits.parse_told(header.told))
    context, result = Context(0.0), []  # type: Context, List[Event]
    for number, event in enumerate(events):
        for branch in event.failed:
            table = tuple(option for option in table if option.id != branch)
            state = forget(state, branch)
        if not table:
            raise BadInput("Event {} of the trace has no branch left; record it again.".format(number + 1))
        if event.audit is not None:
            state = audited(state, event.audit)
        context = replace(event.context or context, time_s=event.time_s)
        if policy == "oracle":
            best = rivals.foresee(budget, table, {o.id: would_take_ms(event, o, number) for o in table})
            decision = policies.settle(best, "knows the future", state, context)
        else:
            there = tuple(option for option in table if option.id not in event.absent)
            decision = decide(context, budget, there or table, state, settings)
        before, option = state.branch, options[decision.branch]
        latency_ms = would_take_ms(event, option, number)
        late = verdicts.late(budget, latency_ms)
        state = observe(decision.state, option, latency_ms, event.ended_s, settings, late=late, context=context)
        broken = verdicts.broken(budget, option, latency_ms, context, state, settings)
        result.append(
            replace(
                event,
                branch=option.id,
                reason=decision.reason,
                switched=before not in (None, decision.branch),
                latency_ms=latency_ms,
                base_ms=option.latency_ms,
                slowdown=decision.slowdown,
                kept=not broken,
                correct=_correct(event, option.id),
                broken=broken,
            )
        )
    return result


def unknown_limits(header: Header, events: Iterable[Event], budget: Budget) -> Dict[str, str]:
    """Which limits of a budget a trace tells nothing about, so that a replay cannot keep them, and what is missing.

    Args:
        header: The trace's first line.
        events: The recorded inferences.
        budget: The limits to judge.

    Returns:
        What the trace lacks by the limit's name, such as ``{"temperature_c": "temperature"}``; empty if it has a signal
        for every limit. "The trace records no {}" makes a sentence of it.

    Raises:
        BadInput: The trace's table of options is missing or damaged.
    """
    contexts = (event.context for event in events if event.context is not None)
    return limits.unknown(budget, _table(header), contexts)


def ignored(header: Header, events: Sequence[Event], budget: Budget) -> Tuple[str, ...]:
    """A sentence for each limit of a budget that a trace tells nothing about, so that no policy kept it.

    Args:
        header: The trace's first line.
        events: The recorded inferences.
        budget: The limits.

    Raises:
        BadInput: The trace's table of options is missing or damaged.
    """
    return tuple(
        "The trace records no {}, so the limit {} was ignored{}.".format(
            what.replace(" of ", " for ", 1), name, " for them" if " of " in what else ""
        )
        for name, what in unknown_limits(header, events, budget).items()
    )


#: What the numbers in a trace's first line may be.
_OPTION: Ranges = {
    "accuracy": SHARE, "latency_ms": POSITIVE, "energy_mj": AMOUNT, "memory_mb": AMOUNT, "threads": (1, 1e4),
}  # fmt: skip
_SETTINGS: Ranges = {
    "misses": SHARE, "patience_s": POSITIVE, "headroom": (1e-6, 1e6), "dwell_s": AMOUNT, "battery_wh": POSITIVE,
    "reserve_mb": AMOUNT, "clock": (1.0, 100.0), "forecast_s": AMOUNT,
}  # fmt: skip
_LEARNING: Ranges = {
    "window_s": POSITIVE, "excess_s": POSITIVE, "excess_ms": POSITIVE, "memory_s": POSITIVE, "stall": (1.0, 1e6),
    "surely": (1.0, 1e6), "trust_ms": POSITIVE, "habit_ms": POSITIVE, "caution": (0.0, 1e6),
}  # fmt: skip


def _table(header: Header) -> Table:
    """The options that the policy had."""
    if not header.table:
        raise BadInput("The trace names no branches in its first line; record it again.")
    table = []
    for name, data in header.table.items():
        where = "table.{}".format(excerpt(name))
        option = codec.from_json(Option, data, where)
        ranges.check(option, _OPTION, where)
        if option.id != name:
            raise BadInput("{} is the branch '{}'; record the trace again.".format(where, excerpt(option.id)))
        table.append(option)
    return tuple(table)


def _settings(header: Header) -> Settings:
    settings = codec.from_json(Settings, header.settings, "settings")
    ranges.check(settings, _SETTINGS, "settings")
    ranges.check(settings.learning, _LEARNING, "settings.learning")
    return settings


#: A recorded run was stalled if it took so many times what was expected.
STALL = 1.6


def would_take_ms(event: Event, option: Option, number: int) -> float:
    """What an option would have taken at a recorded inference, the ``number``-th of its trace."""
    # Exactly the recorded number, not one that was divided and multiplied; but a cascade's is that of two branches.
    if option.id == event.branch and option.latency_ms == event.base_ms:
        return event.latency_ms
    expected_ms = event.base_ms * event.slowdown
    stall_ms = event.latency_ms - expected_ms if event.latency_ms > STALL * expected_ms else 0.0
    if not stall_ms:
        return event.latency_ms / event.base_ms * option.latency_ms
    draw = math.modf((number + 1) * 0.6180339887498949)[0]  # golden ratio: evenly spread, and the same every time
    hit = draw < option.latency_ms / event.base_ms
    return option.latency_ms * event.slowdown + (stall_ms if hit else 0.0)


def _correct(event: Event, branch: str) -> Optional[bool]:
    """Whether the answer was right is only known for the branch that ran."""
    return event.correct if branch == event.branch else None
