"""Which limits of its budget an inference broke, and by how much; pure."""

from __future__ import annotations

from typing import Dict, Optional

from adascale_runtime.policies.limits import Option, Settings, energy_mj
from adascale_runtime.policies.state import State
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context


def late(budget: Budget, latency_ms: float) -> bool:
    """Whether an inference came late."""
    return budget.latency_ms is not None and latency_ms > budget.latency_ms


def broken(
    budget: Budget, option: Option, latency_ms: float, context: Context, state: State, settings: Settings
) -> Dict[str, float]:
    """Every limit that an inference broke, with how far it went beyond it, in the limit's unit.

    Energy is what is predicted, corrected by what a meter told; power is the mean over about ``patience_s`` seconds;
    battery life is what is left of the charge at that power and the device's own. What is not known breaks no limit.

    Args:
        budget: The limits.
        option: What ran.
        latency_ms: What it took, in ms.
        context: What the device had left when it began.
        state: The policy's state after it.
        settings: What the battery holds.
    """
    over: Dict[str, float] = {}
    _above(over, "latency_ms", latency_ms, budget.latency_ms)
    _above(over, "energy_mj", energy_mj(option, state.energies), budget.energy_mj)
    _above(over, "memory_mb", option.memory_mb, budget.memory_mb)
    _above(over, "power_mw", state.drawn.mw(), budget.power_mw)
    _above(over, "temperature_c", context.temperature_c, budget.temperature_c)
    if budget.min_accuracy is not None and option.accuracy < budget.min_accuracy:
        over["min_accuracy"] = round(budget.min_accuracy - option.accuracy, 6)
    if budget.lifetime_h is not None:
        lasts_h = lifetime_h(context, state, settings)
        if lasts_h is not None and lasts_h < budget.lifetime_h:
            over["lifetime_h"] = round(budget.lifetime_h - lasts_h, 6)
    return over


def lifetime_h(context: Context, state: State, settings: Settings) -> Optional[float]:
    """How long the battery lasts from the session's start on if everything stays as it is, in hours; None where charge
    or power is not known."""
    drawn_mw = state.drawn.mw()
    if context.battery is None or drawn_mw is None:
        return None
    power_w = 1e-3 * (drawn_mw + (state.rest_mw or 0.0))
    return context.time_s / 3600 + context.battery * settings.battery_wh / power_w if power_w > 0.0 else None


def _above(over: Dict[str, float], name: str, value: Optional[float], limit: Optional[float]) -> None:
    if limit is not None and value is not None and value > limit:
        over[name] = round(value - limit, 6)
