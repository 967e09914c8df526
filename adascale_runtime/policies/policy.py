"""The registry of policies, and the adaptive policy, which chooses the branch for the next inference.

A policy is a pure function of (context, budget, table of options, state, settings) in :data:`POLICIES`. The default,
:func:`decide`, takes the most accurate branch, then the cheapest, whose upper bounds keep every limit of the budget:
latency and the share of missed deadlines (:mod:`adascale_runtime.policies.pressure`), energy, power, memory and heat
(:mod:`adascale_runtime.policies.limits`). Those to compare it with are in :mod:`adascale_runtime.policies.rivals`.

References:
    Wang et al., "AdaScale: Dynamic Context-aware DNN Scaling via Automated Adaptation Loop on Mobile Devices", 2024.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput
from adascale_runtime.policies.limits import Engine as Engine
from adascale_runtime.policies.limits import Limits as Limits
from adascale_runtime.policies.limits import Option as Option
from adascale_runtime.policies.limits import Settings as Settings
from adascale_runtime.policies.limits import Table as Table
from adascale_runtime.policies.outlook import Outlook as Outlook
from adascale_runtime.policies.outlook import Prospects as Prospects
from adascale_runtime.policies.state import State as State
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context


class Decision(NamedTuple):
    """What a policy decides for the next inference."""

    #: The id of the option that serves.
    branch: str
    #: Why, in a few words.
    reason: str
    #: The state to carry on with.
    state: State
    #: The latency that is expected over the idle one.
    slowdown: float = 1.0


#: A function of (context, budget, table, state, settings).
Policy = Callable[[Context, Budget, Table, State, Settings], Decision]
#: All policies by name.
POLICIES: Dict[str, Policy] = {}


def policy(name: str) -> Callable[[Policy], Policy]:
    """Register a policy under the name that ``Session(policy=...)`` and ``--policy`` take.

    Args:
        name: The name; one that is taken is refused.

    Returns:
        A decorator for a function of (context, budget, table, state, settings) that gives a :class:`Decision`. It must
        be pure: what it remembers is in the state, and random numbers come from the context's time, so that a replay
        takes the same decisions.
    """

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
    with ``headroom``. If nothing fits, the best of those serves that come late hardly more often than the one that does
    so least, and the reason says so.

    Args:
        context: What the device has left now.
        budget: What the inference should keep.
        table: The options that can be chosen, at least one.
        state: What was observed so far.
        settings: How cautious to be.

    Returns:
        The option that serves, why, and the state to carry on with.

    Raises:
        BadInput: The table is empty.
    """
    prospects = Prospects(context, budget, table, state, settings)
    ranked = ranking(table)
    best = next((option for option in ranked if prospects.fits(option)), None)
    if best is None:
        return _least_late(prospects, budget, table, state, context, settings)
    current = find(table, state.branch)
    costlier = current is not None and best.latency_ms > current.latency_ms
    if current is not None and costlier and prospects.fits(current):
        if 0.0 <= context.time_s - state.since_s < settings.dwell_s:  # a clock that jumped back ends the dwell
            return _stay(current, "dwells", state, prospects)
        better = ranked[: ranked.index(current)] if current in ranked else ranked
        roomy = next((option for option in better if prospects.fits(option, settings.headroom)), None)
        if roomy is None:
            return _stay(current, "a better one would fit too tightly", state, prospects)
        best = roomy
    if best.id == state.branch:
        return _stay(best, "best that fits", state, prospects)
    return settle(best, _explain(best, budget, prospects.of(best)), state, context, prospects.of(best).slowdown)


def _stay(option: Option, reason: str, state: State, prospects: Prospects) -> Decision:
    return Decision(option.id, reason, state, prospects.slowdown(option))


def _least_late(
    prospects: Prospects, budget: Budget, table: Table, state: State, context: Context, settings: Settings
) -> Decision:
    """The decision where nothing fits: what no choice avoids is not held against a branch.

    Of the options that keep all other limits, the best one that comes late hardly more often than the one that does so
    least: by half of the share that is allowed. If there are none, or all would be late, the fastest.
    """
    allowed = [option for option in ranking(table) if prospects.allowed(option)]
    misses = [prospects.miss(option) for option in allowed]
    floor = min(misses, default=1.0)
    if floor < 1.0:
        near = floor + settings.misses / 2
        best = next(option for option, miss in zip(allowed, misses) if miss <= near)
        return settle(best, "nothing fits: least often late", state, context, prospects.slowdown(best))
    safe = fallback(budget, tuple(allowed) or table, prospects.expected_ms)
    return settle(safe, "nothing fits: the fastest", state, context, prospects.slowdown(safe))


#: Options that were ranked, by the identity of their table; a session asks for the same ones over and over.
_RANKED: Dict[int, Tuple[Table, Table]] = {}
_MOST_RANKED = 16


def ranking(table: Table) -> Table:
    """The options that a decision on latency has to look at, better ones first.

    An option is left out if a better one on the same engine is at least as fast and needs no more energy and memory:
    whatever limit that one breaks, this one breaks, too.
    """
    known = _RANKED.get(id(table))
    if known is not None and known[0] is table:
        return known[1]
    ranked: List[Option] = []
    for option in sorted(table, key=rank):
        if not any(_replaces(better, option) for better in ranked):
            ranked.append(option)
    if len(_RANKED) >= _MOST_RANKED:
        _RANKED.clear()
    _RANKED[id(table)] = table, tuple(ranked)
    return tuple(ranked)


def _replaces(better: Option, option: Option) -> bool:
    """Whether a better option does whatever another one can do."""
    if better.engine != option.engine or better.latency_ms > option.latency_ms:
        return False
    amounts = ((better.energy_mj, option.energy_mj), (better.memory_mb, option.memory_mb))
    return all(theirs is None if mine is None else theirs is not None and mine <= theirs for mine, theirs in amounts)


def fallback(budget: Budget, table: Table, expected_ms: Optional[Callable[[Option], float]] = None) -> Option:
    """The safe option when time is short: the fastest of those that are accurate enough, else the fastest.

    Args:
        budget: Says what is accurate enough.
        table: The options, at least one.
        expected_ms: What an option is expected to take now, in ms; None for what it takes at rest.

    Raises:
        BadInput: The table is empty.
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


def _explain(option: Option, budget: Budget, outlook: Outlook) -> str:
    if budget.latency_ms is None:
        return "best that fits"
    return "fits: {:.2f} of {:g} ms, {:.1%} late".format(outlook.bound_ms, budget.latency_ms, outlook.miss)


def keeps_idle(option: Option, budget: Budget, table: Table) -> bool:
    """Whether an option keeps all limits of one inference on an idle device."""
    late = budget.latency_ms is not None and option.latency_ms > budget.latency_ms
    return not late and Limits.of(budget, table, Context(0.0), Settings()).keep(option)


def check_feasible(budget: Budget, table: Table) -> None:
    """Refuse a budget that no branch keeps even on an idle device; the sentence names what the branches offer.

    The table holds latencies at the device's usual speed, so a device that is slow just now is no reason to refuse: the
    policy answers that with what is fastest until it is over.
    """
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
