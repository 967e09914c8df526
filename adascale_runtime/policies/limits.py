"""The options a policy may choose from, and all limits except latency: accuracy, energy, memory, power, heat."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple

from adascale_runtime.errors import BadInput
from adascale_runtime.policies.pressure import Learning
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Context

#: A delegate with a number of threads.
Engine = Tuple[str, int]
#: No amount of energy is further from what was predicted.
_MOST = 1e9
#: Degrees below the limit from which on branches are held back, the costly ones first.
THERMAL_MARGIN_C = 3.0


def engine_name(engine: Engine) -> str:
    """An engine in files: ``delegate x threads``."""
    return "{} x {}".format(*engine)


def parse_engine(name: str) -> Optional[Engine]:
    """The engine of that name; None if it is none."""
    delegate, _, threads = name.partition(" x ")
    return (delegate, int(threads)) if delegate and threads.isdecimal() and len(threads) < 5 else None


def parse_energies(data: Mapping[str, float]) -> Dict[Engine, float]:
    """How many times the predicted energy inferences take, by the names of engines in files; whatever is not possible
    is left out."""
    named = ((parse_engine(name), k) for name, k in data.items())
    return {engine: k for engine, k in named if engine is not None and 0.0 < k <= _MOST}


@dataclass(frozen=True)
class Option:
    """A branch on an engine, as the policy sees it: what it costs on an idle device, at its usual speed."""

    #: The branch's id on the first engine, ``branch@delegatexTHREADS`` on others.
    id: str
    #: The share of inputs that it answers correctly, in [0, 1].
    accuracy: float
    #: The latency of an inference at rest, in ms; on CPUs at the device's usual speed, as far as that is known.
    latency_ms: float
    #: Energy of an inference, and memory while it is ready; None where it is not known.
    energy_mj: Optional[float] = None
    memory_mb: Optional[float] = None
    #: The engine.
    delegate: str = "cpu"
    threads: int = 1

    @property
    def engine(self) -> Engine:
        """What runs it: a delegate with a number of threads, which is slowed down as a whole."""
        return self.delegate, self.threads


@dataclass(frozen=True)
class Settings:
    """How cautious the policy is."""

    #: The share of deadlines that may be missed, in the mean over about ``patience_s`` seconds: more for a while after
    #: fewer.
    misses: float = 0.04
    patience_s: float = 30.0
    #: A costlier branch is taken only if it fits into this share of the limits.
    headroom: float = 0.9
    #: How many seconds a branch serves before a costlier one may follow, which pays for switching.
    dwell_s: float = 0.4
    #: What the full battery holds, in watt-hours, for budgets of ``lifetime_h``.
    battery_wh: float = 15.0
    #: Memory that is left to the device, in MB: what does not fit beside it is not loaded.
    reserve_mb: float = 64.0
    #: What is expected of CPUs when the cap of their clock is lowered: at most so many times the slowdown that was seen
    #: before; 1 leaves the cap out of it.
    clock: float = 3.0
    #: How many seconds ahead load and temperature are looked at, along their trend; 0 takes them as they are.
    forecast_s: float = 0.0
    #: How fast what was seen is learned and forgotten.
    learning: Learning = field(default_factory=Learning)


#: All options of a session.
Table = Tuple[Option, ...]
_AS_PREDICTED: Mapping[Engine, float] = {}


def energy_mj(option: Option, energies: Mapping[Engine, float]) -> Optional[float]:
    """The energy of an inference, None where it is not known.

    Args:
        option: What runs, with the energy that was predicted.
        energies: How many times the predicted energy inferences really take, by engine; 1 for those that are not there.
    """
    if option.energy_mj is None or not energies:
        return option.energy_mj
    return option.energy_mj * energies.get(option.engine, 1.0)


class Limits(NamedTuple):
    """Every limit but that of time, as it stands now. A limit on a quantity that is not known excludes nothing."""

    budget: Budget
    #: What inferences may draw together; None for no limit.
    power_mw: Optional[float]
    #: The energy of an inference (its time, where energy is unknown) that the device's heat allows.
    effort: float
    #: How many times the predicted energy inferences really take, by engine.
    energies: Mapping[Engine, float] = _AS_PREDICTED

    @staticmethod
    def of(
        budget: Budget, table: Table, context: Context, settings: Settings, *,
        energies: Mapping[Engine, float] = _AS_PREDICTED, rest_mw: Optional[float] = None, rise_c: float = 0.0,
    ) -> "Limits":  # fmt: skip
        """The limits in a context in which the temperature is going to rise by ``rise_c``; ``energies`` and ``rest_mw``
        as in the policy's state."""
        share = thermal_share(budget, context, rise_c)
        effort = math.inf if share >= 1.0 else share * max([_effort(option, energies) for option in table] or [0.0])
        return Limits(budget, allowed_mw(budget, context, settings, rest_mw), effort, energies)

    def keep(self, option: Option, power_mw: Optional[float] = None) -> bool:
        """Whether an option that would draw ``power_mw`` keeps them all."""
        budget = self.budget
        if budget.min_accuracy is not None and option.accuracy < budget.min_accuracy:
            return False
        if budget.energy_mj is not None:
            energy = energy_mj(option, self.energies)
            if energy is not None and energy > budget.energy_mj:
                return False
        if budget.memory_mb is not None and option.memory_mb is not None and option.memory_mb > budget.memory_mb:
            return False
        if self.power_mw is not None and power_mw is not None and power_mw > self.power_mw:
            return False
        return self.effort == math.inf or _effort(option, self.energies) <= self.effort


def allowed_mw(
    budget: Budget, context: Context, settings: Settings, rest_mw: Optional[float] = None
) -> Optional[float]:
    """The power that inferences may draw: the limit itself, and what is left of the battery over the time it should
    last, less ``rest_mw``, which the device draws without them; None for no limit."""
    limits = [] if budget.power_mw is None else [budget.power_mw]
    if budget.lifetime_h is not None and context.battery is not None:
        hours = max(1 / 60, budget.lifetime_h - context.time_s / 3600)
        limits.append(max(0.0, 1e3 * context.battery * settings.battery_wh / hours - (rest_mw or 0.0)))
    return min(limits) if limits else None


def thermal_share(budget: Budget, context: Context, rise_c: float = 0.0) -> float:
    """The share of the costliest branch's effort that is allowed: 1 well below the limit, 0 at it.

    Args:
        budget: The limit.
        context: The temperature now.
        rise_c: By how much it is going to rise.
    """
    if budget.temperature_c is None or context.temperature_c is None:
        return 1.0
    return min(1.0, max(0.0, (budget.temperature_c - context.temperature_c - rise_c) / THERMAL_MARGIN_C))


def _effort(option: Option, energies: Mapping[Engine, float]) -> float:
    """What heats: energy, or time where energy is unknown."""
    energy = energy_mj(option, energies)
    return option.latency_ms if energy is None else energy


#: What a device must tell for a limit to be kept: the field of a context, and its name in a sentence.
SIGNALS = {"temperature_c": ("temperature_c", "temperature"), "lifetime_h": ("battery", "battery charge")}
#: What must be known of the options for a limit to be kept: the field of an option.
AMOUNTS = {"energy_mj": "energy_mj", "power_mw": "energy_mj", "lifetime_h": "energy_mj", "memory_mb": "memory_mb"}


def check_signals(budget: Budget, context: Context, best_effort: bool) -> Tuple[str, ...]:
    """The limits that cannot be kept because the device does not report what they are on.

    Args:
        budget: The limits.
        context: What the device tells.
        best_effort: Whether such limits are named instead of refused.

    Raises:
        BadInput: There is such a limit, and ``best_effort`` is not given.
    """
    silent = [name for name, (key, _) in SIGNALS.items() if name in budget.limits() and getattr(context, key) is None]
    if silent and not best_effort:
        raise BadInput(
            "The budget limits {}, but this device does not report {}; remove the limit, or ignore it with "
            "--best-effort.".format(silent[0], SIGNALS[silent[0]][1])
        )
    return tuple(silent)


def unknown(budget: Budget, table: Table, contexts: Iterable[Context]) -> Dict[str, str]:
    """Which limits of a budget nothing is known about, and what is missing.

    Args:
        budget: The limits.
        table: The options, with or without energy and memory.
        contexts: What the device told, over a session or a trace.

    Returns:
        What is missing by the limit's name, such as ``{"temperature_c": "temperature"}`` or ``{"energy_mj": "energy of
        2 of 3 branches"}``; empty if every limit can be judged.
    """
    wanted, told, missing = budget.limits(), tuple(contexts), {}
    for name, (field_name, noun) in SIGNALS.items():
        if name in wanted and all(getattr(context, field_name) is None for context in told):
            missing[name] = noun
    for name, amount in AMOUNTS.items():
        lacking = sum(getattr(option, amount) is None for option in table)
        if name in wanted and lacking:
            of = "any branch" if lacking == len(table) else "{} of {} branches".format(lacking, len(table))
            missing.setdefault(name, "{} of {}".format(amount.partition("_")[0], of))
    return missing


#: Limits that are kept by predicted energy.
ON_ENERGY = tuple(name for name, amount in AMOUNTS.items() if amount == "energy_mj")


def on_energy(budget: Budget) -> Tuple[str, ...]:
    """The limits of a budget that are kept by predicted energy."""
    return tuple(name for name in ON_ENERGY if getattr(budget, name) is not None)


def check_energy(budget: Budget, predictors: Optional[Predictors], engines: Sequence[Engine]) -> None:
    """Refuse limits of energy where nothing predicts it."""
    limits = on_energy(budget)
    for name, threads in engines if limits else ():
        if predictors is None or predictors.find("energy_mj", name, threads) is None:
            raise BadInput(
                "A budget of {} needs an energy predictor for {} with {} threads; give a file of "
                "'adascale fit'.".format(limits[0], name, threads)
            )
