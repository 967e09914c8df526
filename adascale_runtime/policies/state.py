"""The state that a policy keeps between inferences, and how it is updated."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional, Tuple

from adascale_runtime.policies import pressure
from adascale_runtime.policies.limits import Engine, Option, Settings
from adascale_runtime.policies.pressure import Correction, Window


class State(NamedTuple):
    """What the policy remembers. Immutable: every inference makes a new one."""

    #: The id of the option in use, and since when, in seconds; None before the first decision.
    branch: Optional[str] = None
    since_s: float = -math.inf
    #: What was seen on each engine.
    windows: Tuple[Tuple[Engine, Window], ...] = ()
    #: How each option differs from the others.
    corrections: Tuple[Correction, ...] = ()
    #: The mean time between inferences, and when the latest one ended, in seconds; None before there are enough.
    period_s: Optional[float] = None
    last_s: Optional[float] = None
    #: Decayed counts of inferences, and of those that came late.
    served: float = 0.0
    late: float = 0.0

    def window(self, engine: Engine) -> Window:
        """What was seen on a delegate with a number of threads."""
        for name, window in self.windows:
            if name == engine:
                return window
        return pressure.EMPTY

    def correction(self, option_id: str) -> Correction:
        """How a branch differs from the others."""
        for correction in self.corrections:
            if correction.id == option_id:
                return correction
        return Correction(option_id, 0.0, 0.0, 0.0)


def observe(
    state: State, option: Option, latency_ms: float, time_s: float, settings: Settings, late: bool = False
) -> State:
    """The state after an inference.

    Args:
        state: The state before it.
        option: What ran.
        latency_ms: What it took, in ms.
        time_s: When it ended, in seconds since the session's start.
        settings: How fast to learn.
        late: Whether it missed its deadline.
    """
    window, correction = pressure.seen(
        state.window(option.engine), state.correction(option.id), latency_ms, option.latency_ms, time_s,
        settings.learning,
    )  # fmt: skip
    windows = tuple(pair for pair in state.windows if pair[0] != option.engine) + ((option.engine, window),)
    corrections = tuple(c for c in state.corrections if c.id != option.id) + (correction,)
    step = 0.0 if state.last_s is None else max(0.0, time_s - state.last_s)
    period_s = state.period_s
    if state.last_s is not None:
        period_s = step if period_s is None else period_s + 0.1 * (step - period_s)
    keep = math.exp(-step / settings.patience_s)
    return state._replace(
        windows=windows, corrections=corrections, period_s=period_s, last_s=time_s,
        served=state.served * keep + 1, late=state.late * keep + late,
    )  # fmt: skip


def forget(state: State, branch: str) -> State:
    """The state after a branch was taken out."""
    return state._replace(branch=None) if state.branch == branch else state
