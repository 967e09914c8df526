"""The state that a policy keeps between inferences, and how it is updated."""

from __future__ import annotations

import math
from typing import Dict, NamedTuple, Optional, Tuple

from adascale_runtime.engines.registry import preempted
from adascale_runtime.policies import pressure
from adascale_runtime.policies.limits import Engine, Option, Settings, energy_mj, parse_energies
from adascale_runtime.policies.pressure import Correction, Excesses, Seen, Window
from adascale_runtime.policies.trend import HEAT_S, LOAD_S, UNSEEN, Trend
from adascale_runtime.seams.events import Audit
from adascale_runtime.seams.records import Context

#: What a device does at a level of crowding, by engine and level.
Habits = Dict[Tuple[Engine, int], Excesses]
#: What is told of engines before anything has run on them: a slowdown, and when it held, in seconds.
Told = Dict[Engine, Tuple[float, float]]


class Drawn(NamedTuple):
    """What inferences drew lately: decayed sums of their energy, and of the time over which it was drawn."""

    energy_mj: float = 0.0
    seconds: float = 0.0

    def mw(self) -> Optional[float]:
        """The mean power above idle, in mW; None before it is known."""
        return self.energy_mj / self.seconds if self.seconds > 0.0 else None


class State(NamedTuple):
    """What the policy remembers. Immutable: every inference makes a new one, and none of its tables is changed."""

    #: The id of the option in use, and since when, in seconds; None before the first decision.
    branch: Optional[str] = None
    since_s: float = -math.inf
    #: What was seen on each engine: how fast it was, and what runs were longer than that.
    windows: Dict[Engine, Window] = {}  # noqa: RUF012  (never changed)
    excesses: Dict[Engine, Excesses] = {}  # noqa: RUF012
    #: The same as the device does it over minutes, or has done in earlier sessions.
    habits: Habits = {}  # noqa: RUF012
    #: How each option differs from the others, by id.
    corrections: Dict[str, Correction] = {}  # noqa: RUF012
    #: The mean time between inferences, and when the latest one ended, in seconds; None before there are enough.
    period_s: Optional[float] = None
    last_s: Optional[float] = None
    #: Decayed counts of inferences, and of those that came late.
    served: float = 0.0
    late: float = 0.0
    #: How many times the predicted energy an inference really takes, by engine, and what the device draws without
    #: inferences, in mW, as a meter tells (:mod:`adascale_runtime.device.audit`); empty and None where none does.
    energies: Dict[Engine, float] = {}  # noqa: RUF012
    rest_mw: Optional[float] = None
    #: What inferences drew over about ``patience_s`` seconds.
    drawn: Drawn = Drawn()
    #: The highest cap of the clock so far, and the one at which each engine's window was learned, in MHz; none without.
    cap_mhz: float = 0.0
    caps: Dict[Engine, float] = {}  # noqa: RUF012
    #: Where the number of processes that want a core is going, and the temperature.
    load: Trend = UNSEEN
    heat: Trend = UNSEEN

    def correction(self, option_id: str) -> Correction:
        """How a branch differs from the others."""
        return self.corrections.get(option_id) or Correction(option_id, 0.0, 0.0, 0.0)


def begin(habits: Habits, told: Told) -> State:
    """The state before the first inference.

    Args:
        habits: What is known of the device.
        told: What is told of engines just now.
    """
    return State(habits=habits, windows={engine: pressure.begun(*one) for engine, one in told.items()})


def observe(
    state: State, option: Option, latency_ms: float, time_s: float, settings: Settings, *, late: bool = False,
    context: Optional[Context] = None,
) -> State:  # fmt: skip
    """The state after an inference.

    Args:
        state: The state before it.
        option: What ran.
        latency_ms: What it took, in ms.
        time_s: When it ended, in seconds since the session's start.
        settings: How fast to learn.
        late: Whether it missed its deadline.
        context: What the device had left when it began; None if nothing is known.
    """
    engine = option.engine
    place = engine, pressure.crowding(context, *engine)
    known = Seen(
        state.windows.get(engine, pressure.EMPTY), state.excesses.get(engine, pressure.NONE),
        state.habits.get(place, pressure.NONE), state.correction(option.id),
    )  # fmt: skip
    cap_mhz, caps = state.cap_mhz, state.caps
    if context is not None and context.clock_cap_mhz is not None and settings.clock > 1.0 and preempted(engine[0]):
        factor = pressure.throttled(caps.get(engine, cap_mhz), context.clock_cap_mhz, settings.clock)
        if factor > 1.0:
            known = known._replace(window=known.window.slower(factor))
        cap_mhz, caps = max(cap_mhz, context.clock_cap_mhz), {**caps, engine: context.clock_cap_mhz}
    load, heat = state.load, state.heat
    if context is not None and settings.forecast_s > 0.0:
        crowd = pressure.crowd(context)
        load = load if crowd is None else load.follow(crowd, time_s, LOAD_S)
        heat = heat if context.temperature_c is None else heat.follow(context.temperature_c, time_s, HEAT_S)
    after = pressure.seen(known, latency_ms, option.latency_ms, time_s, settings.learning)
    step = 0.0 if state.last_s is None else max(0.0, time_s - state.last_s)
    period_s = state.period_s
    if state.last_s is not None:
        period_s = step if period_s is None else period_s + 0.1 * (step - period_s)
    keep = math.exp(-step / settings.patience_s)
    drawn, spent_mj = state.drawn, energy_mj(option, state.energies)
    if spent_mj is not None and state.last_s is not None:  # of the first one nobody knows how long it is for
        drawn = Drawn(drawn.energy_mj * keep + spent_mj, drawn.seconds * keep + step)
    return State(
        state.branch,
        state.since_s,
        {**state.windows, engine: after.window},
        {**state.excesses, engine: after.excesses},
        {**state.habits, place: after.habit},
        {**state.corrections, option.id: after.correction},
        period_s,
        time_s,
        state.served * keep + 1,
        state.late * keep + late,
        energies=state.energies,
        rest_mw=state.rest_mw,
        drawn=drawn,
        cap_mhz=cap_mhz,
        caps=caps,
        load=load,
        heat=heat,
    )


def audited(state: State, audit: Audit) -> State:
    """The state after the energy audit told something."""
    return state._replace(energies=parse_energies(audit.energies), rest_mw=audit.rest_mw)


def forget(state: State, branch: str) -> State:
    """The state after a branch was taken out."""
    return state._replace(branch=None) if state.branch == branch else state
