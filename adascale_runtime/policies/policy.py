"""Which branch serves the next inference: pure functions of (context, budget, table of branches, state).

The default policy takes the most accurate branch, then the cheapest, whose upper bounds keep every limit of the budget:
latency and the share of missed deadlines by :mod:`adascale_runtime.policies.pressure`, energy, power, memory, heat.
Policies are pluggable: a function in :data:`POLICIES`. Those to compare with are in
:mod:`adascale_runtime.policies.rivals`.
"""

from __future__ import annotations

import math
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput
from adascale_runtime.policies import pressure
from adascale_runtime.policies.limits import Engine as Engine
from adascale_runtime.policies.limits import Limits as Limits
from adascale_runtime.policies.limits import Option as Option
from adascale_runtime.policies.limits import Settings as Settings
from adascale_runtime.policies.limits import Table as Table
from adascale_runtime.policies.pressure import Correction, Window
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context


class State(NamedTuple):
    """What the policy remembers: the branch in use since when, a window of each engine, a correction of each option,
    the mean time between inferences, and decayed counts of inferences and of those that came late."""

    branch: Optional[str] = None
    since_s: float = -math.inf
    windows: Tuple[Tuple[Engine, Window], ...] = ()
    corrections: Tuple[Correction, ...] = ()
    period_s: Optional[float] = None
    last_s: Optional[float] = None
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


class Outlook(NamedTuple):
    """What is expected of an option now. ``expected_ms`` and ``bound_ms`` without stalls; ``miss``: probability in
    [0, 1] that a stall makes it late; ``slowdown``: expected over idle latency; ``power_mw``: None where energy or
    pace is unknown."""

    expected_ms: float
    bound_ms: float
    miss: float
    slowdown: float
    power_mw: Optional[float] = None


class Decision(NamedTuple):
    """The branch for the next inference, why, the state to carry on with, and the slowdown that is expected."""

    branch: str
    reason: str
    state: State
    slowdown: float = 1.0


Policy = Callable[[Context, Budget, Table, State, Settings], Decision]
POLICIES: Dict[str, Policy] = {}


def policy(name: str) -> Callable[[Policy], Policy]:
    """Register a policy under the name that ``--policy`` takes."""

    def register(function: Policy) -> Policy:
        plugins.claim("policies", POLICIES, name, function, function)
        return function

    return register


def check_policy(name: str) -> None:
    """Refuse a name that is not registered."""
    if name not in POLICIES:
        plugins.load("policies")
    if name not in POLICIES:
        raise BadInput(plugins.unknown("policies", "policy", name, POLICIES))


def observe(
    state: State, option: Option, latency_ms: float, time_s: float, settings: Settings, late: bool = False
) -> State:
    """The state after an inference of ``option`` took ``latency_ms`` and ended at ``time_s``, too ``late`` or not."""
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


def tolerance(state: State, settings: Settings) -> float:
    """The probability of a miss that is taken now: twice the share that is allowed while none were missed, half of it
    after too many, so that the share is kept in the long run."""
    if settings.misses <= 0.0:
        return 0.0
    recent = state.late / (state.served + 1.0)
    return settings.misses * min(2.0, max(0.5, 2.0 - recent / settings.misses))


def forget(state: State, branch: str) -> State:
    """The state after a branch was taken out."""
    return state._replace(branch=None) if state.branch == branch else state


class View(NamedTuple):
    """What holds for all options of an engine now: mean and deviation of the slowdown, stalls per millisecond, and how
    long they last."""

    mean: float
    deviation: float
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
    """What an option is expected to cost now, whether it ran lately or not; ``own`` is its correction."""
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
        self._found: Dict[str, Outlook] = {}

    def of(self, option: Option) -> Outlook:
        """What an option is expected to cost now, whether it ran lately or not."""
        found = self._found.get(option.id)
        if found is None:
            engine = option.engine
            if engine not in self._views:
                self._views[engine] = view(engine, self._context, self._state, self._settings)
            correction = self._state.correction(option.id)
            own = correction.decayed(self._context.time_s, self._settings.learning.memory_s).factor()
            found = outlook(option, self._views[engine], own, self._budget, self._state.period_s, self._settings)
            self._found[option.id] = found
        return found

    def allowed(self, option: Option) -> bool:
        """Whether an option keeps every limit but that of time."""
        return self._limits.keep(option, self.of(option).power_mw)

    def steady(self, option: Option) -> bool:
        """Whether stalls seldom make an option late."""
        return self.of(option).miss <= self._misses

    def fits(self, option: Option, share: float = 1.0) -> bool:
        """Whether an option keeps every limit, those of time with a ``share`` of them."""
        return self.allowed(option) and keeps_time(self._budget, self.of(option), self._misses, share)


def keeps_time(budget: Budget, found: Outlook, misses: float, share: float = 1.0) -> bool:
    """Whether latency and the probability of a miss stay within ``share`` of their limits."""
    if budget.latency_ms is None:
        return True
    return found.bound_ms <= budget.latency_ms * share and found.miss <= misses * share


def names() -> Tuple[str, ...]:
    """The names of all policies, those of plug-ins included; sorted."""
    plugins.load("policies")
    return tuple(sorted(POLICIES))


def rank(option: Option) -> Tuple[float, float, str]:
    """Better branches sort first: more accurate, then faster."""
    return (-option.accuracy, option.latency_ms, option.id)


def find(table: Table, branch: Optional[str]) -> Optional[Option]:
    """The option of that id, or None."""
    for option in table:
        if option.id == branch:
            return option
    return None


@policy("adaptive")
def decide(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """The most accurate branch, then the fastest, whose bounds keep the budget; with hysteresis upwards.

    A branch that no longer fits is left at once. A costlier one follows only after ``dwell_s``, and only if it fits
    with ``headroom``. If nothing fits, :func:`fallback` serves, on a delegate that does not stall if there is one, and
    the reason says so.
    """
    prospects = Prospects(context, budget, table, state, settings)
    ranked = sorted(table, key=rank)
    best = next((option for option in ranked if prospects.fits(option)), None)
    if best is None:
        allowed = tuple(option for option in table if prospects.allowed(option))
        least = budget.min_accuracy or 0.0
        accurate = tuple(option for option in allowed or table if option.accuracy >= least) or table
        steady = tuple(option for option in accurate if prospects.steady(option))
        safe = fallback(budget, steady or accurate, lambda option: prospects.of(option).expected_ms)
        return settle(safe, "nothing fits: the fastest", state, context, prospects.of(safe).slowdown)
    current = find(table, state.branch)
    if current is not None and prospects.fits(current):
        if best.id == current.id:
            return Decision(current.id, "best that fits", state, prospects.of(current).slowdown)
        if best.latency_ms > current.latency_ms:
            if 0.0 <= context.time_s - state.since_s < settings.dwell_s:  # a clock that jumped back ends the dwell
                return Decision(current.id, "dwells", state, prospects.of(current).slowdown)
            better = ranked[: ranked.index(current)]
            roomy = next((option for option in better if prospects.fits(option, settings.headroom)), None)
            if roomy is None:
                reason = "a better one would fit too tightly"
                return Decision(current.id, reason, state, prospects.of(current).slowdown)
            best = roomy
    return settle(best, _explain(best, budget, prospects.of(best)), state, context, prospects.of(best).slowdown)


def fallback(budget: Budget, table: Table, expected_ms: Optional[Callable[[Option], float]] = None) -> Option:
    """The safe branch when time is short: the fastest of those that are accurate enough, else the fastest.

    ``expected_ms``: what an option is expected to take now; None for what it takes at rest.
    """
    accurate = [o for o in table if budget.min_accuracy is None or o.accuracy >= budget.min_accuracy]
    if not table:
        raise BadInput("The table of branches is empty; build a bundle with at least one.")
    return min(accurate or table, key=lambda o: (o.latency_ms if expected_ms is None else expected_ms(o), o.id))


def settle(option: Option, reason: str, state: State, context: Context, slowdown: float = 1.0) -> Decision:
    """The decision for an option; the state remembers since when it serves."""
    if option.id == state.branch:
        return Decision(option.id, reason, state, slowdown)
    return Decision(option.id, reason, state._replace(branch=option.id, since_s=context.time_s), slowdown)


def _explain(option: Option, budget: Budget, found: Outlook) -> str:
    if budget.latency_ms is None:
        return "best that fits"
    return "fits: {:.2f} of {:g} ms, {:.1%} stalled".format(found.bound_ms, budget.latency_ms, found.miss)


def keeps_idle(option: Option, budget: Budget, table: Table) -> bool:
    """Whether an option keeps all limits of one inference on an idle device."""
    late = budget.latency_ms is not None and option.latency_ms > budget.latency_ms
    return not late and Limits.of(budget, table, Context(0.0), Settings()).keep(option)


def check_feasible(budget: Budget, table: Table) -> None:
    """Refuse a budget that no branch keeps even on an idle device; the sentence names what the branches offer."""
    if any(keeps_idle(option, budget, table) for option in table):
        return
    offers: List[str] = []
    if budget.latency_ms is not None:
        offers.append("the fastest takes {:.3g} ms".format(min(o.latency_ms for o in table)))
    if budget.min_accuracy is not None:
        offers.append("the most accurate reaches {:.4g}".format(max(o.accuracy for o in table)))
    for name in ("energy_mj", "memory_mb"):
        known = [getattr(o, name) for o in table if getattr(o, name) is not None]
        if getattr(budget, name) is not None and known:
            offers.append("the thriftiest needs {:.3g} {}".format(min(known), name.replace("_", " ")))
    wanted = ", ".join("{}={:g}".format(k, v) for k, v in budget.limits().items())
    raise BadInput(
        "No branch keeps the budget {} even on an idle device ({}); loosen it.".format(wanted, "; ".join(offers))
    )
