"""A policy: which branch serves next. A pure function; standard library, Python 3.8."""

from __future__ import annotations

from adascale_runtime.policies.policy import Decision, Settings, State, Table, policy, settle
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context


@policy("thrifty")
def thrifty(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """The fastest branch that is accurate enough."""
    accurate = [option for option in table if option.accuracy >= (budget.min_accuracy or 0.0)] or list(table)
    return settle(min(accurate, key=lambda option: (option.latency_ms, option.id)), "thrifty", state, context)
