"""The expected cost of each option now, whether or not it ran recently."""

from __future__ import annotations

import math
from typing import Dict, NamedTuple, Optional

from adascale_runtime.engines.registry import preempted
from adascale_runtime.policies import pressure
from adascale_runtime.policies.limits import Engine, Limits, Option, Settings, Table, energy_mj
from adascale_runtime.policies.pressure import Excesses
from adascale_runtime.policies.state import State
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context


class Outlook(NamedTuple):
    """What is expected of an option now."""

    #: The latency, and an upper bound of it, in ms; both without excesses.
    expected_ms: float
    bound_ms: float
    #: The probability in [0, 1] that it comes late.
    miss: float
    #: Expected latency over idle latency.
    slowdown: float
    #: What it would draw; None where energy or pace is unknown.
    power_mw: Optional[float] = None


class View(NamedTuple):
    """What holds for all options of an engine now."""

    #: The mean slowdown, and an upper bound of it.
    mean: float
    upper: float
    #: What runs were longer than that lately, how much of it still counts, and what is usual at this level of crowding.
    excesses: Excesses
    fresh: float
    habit: Excesses
    level: int


def view(engine: Engine, context: Context, state: State, settings: Settings) -> View:
    """How a delegate with a number of threads is doing, from what was seen on it and from the context."""
    learning, now_s = settings.learning, context.time_s
    latest = state.windows.get(engine, pressure.EMPTY)
    window = latest.decayed(now_s, learning.window_s)
    more = state.load.rise(settings.forecast_s) if settings.forecast_s else 0.0
    mean, level = window.mean(), pressure.crowding(context, *engine, more)
    upper = mean + learning.caution * window.deviation()
    cap_mhz = context.clock_cap_mhz
    if cap_mhz is not None and state.cap_mhz > cap_mhz and settings.clock > 1.0 and preempted(engine[0]):
        # What was seen, by the cap at which it was; the one run that stands for none, by the usual one.
        seen = pressure.throttled(state.caps.get(engine, state.cap_mhz), cap_mhz, settings.clock)
        usual = pressure.throttled(state.cap_mhz, cap_mhz, settings.clock)
        mean = (window.ratios * seen + usual) / (window.weight + 1.0)
        upper = mean + learning.caution * window.deviation() * seen
    excesses = state.excesses.get(engine, pressure.NONE)
    fresh = math.exp(-max(0.0, now_s - latest.time_s) / learning.excess_s)
    habit = state.habits.get((engine, level), pressure.NONE)
    return View(mean, upper, excesses, fresh, habit, level)


def lateness(now: View, latency_ms: float, limit_ms: float, settings: Settings) -> float:
    """The probability in [0, 1] that a run comes late.

    Args:
        now: How its engine is doing.
        latency_ms: Its idle latency, as this option differs from others, in ms.
        limit_ms: The limit, in ms.
        settings: How cautious to be.
    """
    slack_ms = limit_ms - latency_ms * now.upper
    if slack_ms < 0.0:
        return 1.0
    rate = pressure.rate(now.excesses, now.habit, now.level, slack_ms, settings.learning, now.fresh)
    return 1.0 - math.exp(-rate * latency_ms * now.mean)


class Prospects:
    """What is expected of options in one context, computed when it is asked for: most decisions need few of them."""

    def __init__(self, context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> None:
        self._context, self._budget, self._state, self._settings = context, budget, state, settings
        rise_c = state.heat.rise(settings.forecast_s) if settings.forecast_s else 0.0
        self._limits = Limits.of(
            budget, table, context, settings, energies=state.energies, rest_mw=state.rest_mw, rise_c=rise_c
        )
        self._misses = tolerance(state, settings)
        self._views: Dict[Engine, View] = {}

    def view(self, engine: Engine) -> View:
        """How an engine is doing."""
        known = self._views.get(engine)
        if known is None:
            known = self._views[engine] = view(engine, self._context, self._state, self._settings)
        return known

    def own_ms(self, option: Option) -> float:
        """The latency of an option at rest, as it differs from the others of its engine."""
        correction = self._state.corrections.get(option.id)
        if correction is None:
            return option.latency_ms
        return option.latency_ms * correction.factor_at(self._context.time_s, self._settings.learning.memory_s)

    def miss(self, option: Option) -> float:
        """The probability in [0, 1] that an option comes late; 0 without a limit of latency."""
        limit_ms = self._budget.latency_ms
        if limit_ms is None:
            return 0.0
        return lateness(self.view(option.engine), self.own_ms(option), limit_ms, self._settings)

    def expected_ms(self, option: Option) -> float:
        """The latency that an option is expected to have, without excesses."""
        return self.own_ms(option) * self.view(option.engine).mean

    def slowdown(self, option: Option) -> float:
        """The latency that is expected over the idle one."""
        return self.expected_ms(option) / option.latency_ms

    def of(self, option: Option) -> Outlook:
        """What an option is expected to cost now, whether it ran lately or not."""
        bound_ms = self.own_ms(option) * self.view(option.engine).upper
        power_mw = self._power_mw(option)
        return Outlook(self.expected_ms(option), bound_ms, self.miss(option), self.slowdown(option), power_mw)

    def _power_mw(self, option: Option) -> Optional[float]:
        period_s = self._state.period_s
        energy = energy_mj(option, self._state.energies)
        if energy is None or not period_s:
            return None
        return energy / max(period_s, self.expected_ms(option) / 1e3)

    def allowed(self, option: Option) -> bool:
        """Whether an option keeps every limit but that of time."""
        return self._limits.keep(option, None if self._limits.power_mw is None else self._power_mw(option))

    def fits(self, option: Option, share: float = 1.0) -> bool:
        """Whether an option keeps every limit, those of time with a ``share`` of them."""
        limit_ms = self._budget.latency_ms
        if limit_ms is not None:
            now, own_ms = self.view(option.engine), self.own_ms(option)
            if own_ms * now.upper > limit_ms * share:  # most options end here
                return False
            if lateness(now, own_ms, limit_ms, self._settings) > self._misses * share:
                return False
        return self.allowed(option)


def tolerance(state: State, settings: Settings) -> float:
    """The probability of a miss that is taken now: twice the share that is allowed while none were missed, half of it
    after too many, so that the share is kept in the long run."""
    if settings.misses <= 0.0:
        return 0.0
    recent = state.late / (state.served + 1.0)
    return settings.misses * min(2.0, max(0.5, 2.0 - recent / settings.misses))
