"""A policy on recorded contexts and latencies: deterministic, without an inference.

The device's slowdown at each recorded inference is its latency over the idle latency of the branch that ran; in the
replay it meets whichever branch the policy chooses. With the recorded budget and policy the decisions are the recorded
ones, bit for bit, because nothing else enters them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import List, Optional

from adascale_tf import codec
from adascale_tf.bundle import Bundle
from adascale_tf.errors import BadInput
from adascale_tf.records import Context
from adascale_tf.runtime import policy as policies
from adascale_tf.runtime.budget import Budget
from adascale_tf.runtime.events import Event, Header
from adascale_tf.runtime.policy import Option, Settings, State


def replay(bundle: Bundle, header: Header, events: List[Event], budget: Budget, policy: str) -> List[Event]:
    """The events that ``policy`` would have made of a trace, under ``budget``.

    Raises :class:`BadInput` if the trace is of another bundle, or the budget cannot be kept by any branch.
    """
    if header.bundle != bundle.digest:
        raise BadInput(
            "The trace was recorded with another bundle ({}, not {}); give that one.".format(
                header.bundle, bundle.digest
            )
        )
    if policy not in policies.POLICIES:
        raise BadInput("There is no policy '{}'; choose among {}.".format(policy, ", ".join(policies.POLICIES)))
    table = tuple(codec.from_json(Option, data, "table.{}".format(name)) for name, data in header.table.items())
    settings = codec.from_json(Settings, header.settings, "settings")
    policies.check_feasible(budget, table)
    options = {option.id: option for option in table}
    decide = policies.POLICIES[policy]
    state, context, result = State(), Context(0.0), []  # type: State, Context, List[Event]
    for event in events:
        for branch in event.failed:
            table = tuple(option for option in table if option.id != branch)
            state = policies.forget(state, branch)
        context = replace(event.context or context, time_s=event.time_s)
        decision = decide(context, budget, table, state, settings)
        option = options[decision.branch]
        latency_ms = _latency_ms(event, option)
        result.append(
            replace(
                event,
                branch=option.id,
                reason=decision.reason,
                switched=state.branch not in (None, decision.branch),
                latency_ms=latency_ms,
                base_ms=option.latency_ms,
                slowdown=decision.state.slowdown,
                kept=budget.latency_ms is None or latency_ms <= budget.latency_ms,
                correct=_correct(event, option.id),
            )
        )
        state = policies.observe(decision.state, option, latency_ms, event.ended_s, settings)
    return result


def _latency_ms(event: Event, option: Option) -> float:
    if option.id == event.branch:  # exactly the recorded number, not one that was divided and multiplied
        return event.latency_ms
    return event.latency_ms / event.base_ms * option.latency_ms


def _correct(event: Event, branch: str) -> Optional[bool]:
    """Whether the answer was right is only known for the branch that ran."""
    return event.correct if branch == event.branch else None
