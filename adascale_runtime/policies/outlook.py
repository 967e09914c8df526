"""The expected cost of each option now, whether or not it ran recently."""

from __future__ import annotations

import math
from typing import Dict, NamedTuple, Optional

from adascale_runtime.policies import pressure
from adascale_runtime.policies.limits import Engine, Limits, Option, Settings, Table
from adascale_runtime.policies.state import State
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context


class Outlook(NamedTuple):
    """What is expected of an option now."""

    #: The latency, and an upper bound of it, in ms; both without stalls.
    expected_ms: float
    bound_ms: float
    #: The probability in [0, 1] that a stall makes it late.
    miss: float
    #: Expected latency over idle latency.
    slowdown: float
    #: What it would draw; None where energy or pace is unknown.
    power_mw: Optional[float] = None


class View(NamedTuple):
    """What holds for all options of an engine now."""

    #: Mean and standard deviation of the slowdown.
    mean: float
    deviation: float
    #: Stalls per millisecond of running, and how long they last, in ms.
    rate: float
    stall_ms: float


def view(engine: Engine, context: Context, state: State, settings: Settings) -> View:
    """How a delegate with a number of threads is doing, from what was seen on it and from the context."""
    window = state.window(engine).decayed(context.time_s, settings.learning.window_s)
    prior = pressure.prior_rate(context, *engine)
    rate = pressure.stall_rate(window, prior, settings.learning)
    return View(window.mean(), window.deviation(), rate, window.stall_ms())


def outlook(
    option: Option, now: View, own: float, budget: Budget, period_s: Optional[float], settings: Settings
) -> Outlook:
    """What an option is expected to cost now, whether it ran lately or not.

    Args:
        option: The option.
        now: How its engine is doing.
        own: How it differs from other options of the engine, as a factor.
        budget: Its limit of latency says how much slack there is for a stall.
        period_s: The mean time between inferences, in seconds; None if it is not known.
        settings: How many standard errors make a bound.
    """
    expected_ms = option.latency_ms * now.mean * own
    power_mw = None
    if option.energy_mj is not None and period_s:
        power_mw = option.energy_mj / max(period_s, expected_ms / 1e3)
    bound_ms = option.latency_ms * own * (now.mean + settings.learning.caution * now.deviation)
    slack_ms = 0.0 if budget.latency_ms is None else max(0.0, budget.latency_ms - expected_ms)
    miss = (1.0 - math.exp(-now.rate * expected_ms)) * math.exp(-slack_ms / now.stall_ms)
    return Outlook(expected_ms, bound_ms, miss, now.mean * own, power_mw)


class Prospects:
    """The outlooks of options in one context, computed when they are asked for: most decisions need one or two."""

    def __init__(self, context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> None:
        self._context, self._budget, self._state, self._settings = context, budget, state, settings
        self._limits = Limits.of(budget, table, context, settings)
        self._misses = tolerance(state, settings)
        self._views: Dict[Engine, View] = {}
        self._outlooks: Dict[str, Outlook] = {}

    def of(self, option: Option) -> Outlook:
        """What an option is expected to cost now, whether it ran lately or not."""
        known = self._outlooks.get(option.id)
        if known is None:
            engine = option.engine
            if engine not in self._views:
                self._views[engine] = view(engine, self._context, self._state, self._settings)
            correction = self._state.correction(option.id)
            own = correction.decayed(self._context.time_s, self._settings.learning.memory_s).factor()
            known = outlook(option, self._views[engine], own, self._budget, self._state.period_s, self._settings)
            self._outlooks[option.id] = known
        return known

    def allowed(self, option: Option) -> bool:
        """Whether an option keeps every limit but that of time."""
        return self._limits.keep(option, self.of(option).power_mw)

    def steady(self, option: Option) -> bool:
        """Whether stalls seldom make an option late."""
        return self.of(option).miss <= self._misses

    def fits(self, option: Option, share: float = 1.0) -> bool:
        """Whether an option keeps every limit, those of time with a ``share`` of them."""
        return self.allowed(option) and keeps_time(self._budget, self.of(option), self._misses, share)


def keeps_time(budget: Budget, now: Outlook, misses: float, share: float = 1.0) -> bool:
    """Whether latency and the probability of a miss stay within ``share`` of their limits."""
    if budget.latency_ms is None:
        return True
    return now.bound_ms <= budget.latency_ms * share and now.miss <= misses * share


def tolerance(state: State, settings: Settings) -> float:
    """The probability of a miss that is taken now: twice the share that is allowed while none were missed, half of it
    after too many, so that the share is kept in the long run."""
    if settings.misses <= 0.0:
        return 0.0
    recent = state.late / (state.served + 1.0)
    return settings.misses * min(2.0, max(0.5, 2.0 - recent / settings.misses))
