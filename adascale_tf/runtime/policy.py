"""Which branch serves the next inference: pure functions of (context, budget, table of branches, state).

The model behind the default policy: under load the *mean* latency of every branch grows by about the same factor, the
slowdown, because each gets the same share of the cores. So one factor, observed on the branch in use, predicts all
others, also those that have not run for long. It is the ratio of observed to idle time over an exponentially decaying
window of wall time; weighting by duration keeps one stalled run of a cheap branch from ruling the estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Optional, Tuple

from adascale_tf.errors import BadInput
from adascale_tf.records import Context
from adascale_tf.runtime.budget import Budget


@dataclass(frozen=True)
class Option:
    """A branch as the policy sees it: what it costs on an idle device, and how often it is right (0..1)."""

    id: str
    accuracy: float
    latency_ms: float
    energy_mj: Optional[float] = None
    memory_mb: Optional[float] = None


@dataclass(frozen=True)
class Settings:
    """``window_s``: time constant of the slowdown's window. ``headroom``: a costlier branch is taken only if it fits
    into this share of the latency budget. ``dwell_s``: how long a branch serves before a costlier one may follow."""

    window_s: float = 0.3
    headroom: float = 0.9
    dwell_s: float = 0.4


@dataclass(frozen=True)
class State:
    """What the policy remembers. ``observed_ms`` and ``expected_ms`` are the window's decayed sums, at ``time_s``."""

    branch: Optional[str] = None
    since_s: float = -math.inf
    observed_ms: float = 0.0
    expected_ms: float = 0.0
    time_s: float = 0.0

    @property
    def slowdown(self) -> float:
        """Observed over idle latency, 1 before anything was observed; never below 0.5 (idle was measured)."""
        return max(0.5, self.observed_ms / self.expected_ms) if self.expected_ms > 0 else 1.0


@dataclass(frozen=True)
class Decision:
    """The branch for the next inference, why, and the state to carry on with."""

    branch: str
    reason: str
    state: State


Table = Tuple[Option, ...]
Policy = Callable[[Context, Budget, Table, State, Settings], Decision]
POLICIES: Dict[str, Policy] = {}


def policy(name: str) -> Callable[[Policy], Policy]:
    """Register a policy under the name that ``--policy`` takes."""

    def register(function: Policy) -> Policy:
        POLICIES[name] = function
        return function

    return register


def observe(state: State, option: Option, latency_ms: float, time_s: float, settings: Settings) -> State:
    """The state after an inference of ``option`` took ``latency_ms`` and ended at ``time_s``.

    A clock that jumps backwards only means no decay.
    """
    decay = math.exp(-max(0.0, time_s - state.time_s) / settings.window_s)
    return replace(
        state,
        observed_ms=state.observed_ms * decay + latency_ms,
        expected_ms=state.expected_ms * decay + option.latency_ms,
        time_s=time_s,
    )


def forget(state: State, branch: str) -> State:
    """The state after a branch was taken out."""
    return replace(state, branch=None) if state.branch == branch else state


def keeps(option: Option, budget: Budget, slowdown: float, share: float = 1.0) -> bool:
    """Whether a branch is expected to keep every limit; ``share`` tightens the latency's. A limit on a quantity that
    is not known for the branch cannot be checked and does not exclude it."""
    if budget.latency_ms is not None and option.latency_ms * slowdown > budget.latency_ms * share:
        return False
    if budget.min_accuracy is not None and option.accuracy < budget.min_accuracy:
        return False
    if budget.energy_mj is not None and option.energy_mj is not None and option.energy_mj > budget.energy_mj:
        return False
    return not (budget.memory_mb is not None and option.memory_mb is not None and option.memory_mb > budget.memory_mb)


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
    """The most accurate branch, then the fastest, whose expected cost keeps the budget; with hysteresis upwards.

    A branch that no longer fits is left at once. A costlier one follows only after ``dwell_s``, and only if it fits
    with ``headroom``. If nothing fits, :func:`fallback` serves, and the reason says so.
    """
    slowdown = state.slowdown
    fitting = sorted((o for o in table if keeps(o, budget, slowdown)), key=rank)
    current = find(table, state.branch)
    if not fitting:
        return _settle(fallback(budget, table), "nothing fits: the fastest", state, context)
    best = fitting[0]
    if current is None or current not in fitting:
        return _settle(best, _explain(best, budget, slowdown), state, context)
    if best.id == current.id:
        return Decision(current.id, "best that fits", state)
    if best.latency_ms > current.latency_ms:
        if context.time_s - state.since_s < settings.dwell_s:
            return Decision(current.id, "dwells", state)
        roomy = [o for o in fitting if keeps(o, budget, slowdown, settings.headroom)]
        best = roomy[0] if roomy and rank(roomy[0]) < rank(current) else current
        if best.id == current.id:
            return Decision(current.id, "a better one would fit too tightly", state)
    return _settle(best, _explain(best, budget, slowdown), state, context)


def fallback(budget: Budget, table: Table) -> Option:
    """The safe branch when time is short: the fastest that keeps every other limit, else that is accurate enough."""
    timeless = replace(budget, latency_ms=None)
    accurate = Budget(min_accuracy=budget.min_accuracy)
    for limits in (timeless, accurate, Budget()):
        safe = [option for option in table if keeps(option, limits, 1.0)]
        if safe:
            return min(safe, key=lambda o: (o.latency_ms, o.id))
    raise BadInput("The table of branches is empty; build a bundle with at least one.")


def _settle(option: Option, reason: str, state: State, context: Context) -> Decision:
    if option.id == state.branch:
        return Decision(option.id, reason, state)
    return Decision(option.id, reason, replace(state, branch=option.id, since_s=context.time_s))


def _explain(option: Option, budget: Budget, slowdown: float) -> str:
    if budget.latency_ms is None:
        return "best that fits"
    return "fits: {:.2f} of {:g} ms".format(option.latency_ms * slowdown, budget.latency_ms)


@policy("static-full")
def static_full(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """Always the costliest branch: what an app does without adaptation."""
    return _settle(max(table, key=lambda o: (o.latency_ms, o.id)), "static", state, context)


@policy("static-smallest")
def static_smallest(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> Decision:
    """Always the fastest branch."""
    return _settle(min(table, key=lambda o: (o.latency_ms, o.id)), "static", state, context)


def check_feasible(budget: Budget, table: Table) -> None:
    """Refuse a budget that no branch keeps even on an idle device; the sentence names what the branches offer."""
    if any(keeps(option, budget, 1.0) for option in table):
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
