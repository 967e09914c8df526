"""Policies to compare with: static, hand-written rules, epsilon-greedy, and the oracle of replays."""

from __future__ import annotations

import math
from typing import Dict

from adascale_runtime.errors import BadInput
from adascale_runtime.policies.policy import (
    Decision,
    Limits,
    Option,
    Settings,
    State,
    Table,
    fallback,
    policy,
    rank,
    settle,
)
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context

#: How often epsilon-greedy tries a branch at random.
EPSILON = 0.05
#: Policies that need to know the future, which only a recorded trace has.
REPLAY_ONLY = ("oracle",)


@policy("static-full")
def static_full(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """Always the costliest branch: what an app does without adaptation."""
    return settle(max(table, key=lambda o: (o.latency_ms, o.id)), "static", state, context)


@policy("static-smallest")
def static_smallest(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """Always the fastest branch."""
    return settle(min(table, key=lambda o: (o.latency_ms, o.id)), "static", state, context)


@policy("threshold")
def threshold(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """Rules on the CPU load, as they are written by hand: big below 40 %, middle below 80 %, else small; small also
    when the battery is low."""
    order = sorted(table, key=lambda o: (o.latency_ms, o.id))
    load = context.cpu_load or 0.0
    if load >= 0.8 or (context.battery is not None and context.battery < 0.2 and not context.charging):
        return settle(order[0], "load >= 80 % or battery < 20 %", state, context)
    if load >= 0.4:
        return settle(order[len(order) // 2], "load >= 40 %", state, context)
    return settle(order[-1], "load < 40 %", state, context)


@policy("epsilon-greedy")
def epsilon_greedy(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """The most accurate branch whose own recent mean latency keeps the budget; now and then one at random, to learn.

    A bandit without a model of the device: what one branch shows tells nothing of the others. The random numbers come
    from the time, so that a replay makes the same decisions.
    """
    draw = math.modf(abs(context.time_s) * 7919.0 + 0.5 * math.sqrt(5.0))[0]
    if draw < EPSILON:
        order = sorted(table, key=lambda o: o.id)
        return settle(order[int(draw / EPSILON * len(order))], "explores", state, context)
    limits = Limits.of(budget, table, context, settings, energies=state.energies, rest_mw=state.rest_mw)
    fitting = [
        o
        for o in table
        if limits.keep(o)
        and (budget.latency_ms is None or o.latency_ms * state.correction(o.id).recent <= budget.latency_ms)
    ]
    if not fitting:
        return settle(fallback(budget, table), "nothing fits: the fastest", state, context)
    return settle(min(fitting, key=rank), "best mean", state, context)


@policy("oracle")
def oracle(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """Knows what every branch would take: only for replays, which ask :func:`foresee`."""
    raise BadInput("The oracle knows the future, so it serves only in 'adascale replay' and 'compare-policies'.")


def foresee(budget: Budget, table: Table, latencies_ms: Dict[str, float]) -> Option:
    """The most accurate branch that keeps the budget with the latencies to come, else the fastest of these."""
    limits = Limits.of(budget, table, Context(0.0), Settings())
    fitting = [
        o for o in table if limits.keep(o) and (budget.latency_ms is None or latencies_ms[o.id] <= budget.latency_ms)
    ]
    return min(fitting, key=rank) if fitting else min(table, key=lambda o: (latencies_ms[o.id], o.id))
