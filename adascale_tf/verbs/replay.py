"""``replay`` and ``compare_policies``: policies on a recorded run, deterministic and without inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_tf.verbs import given

if TYPE_CHECKING:
    from adascale_runtime.seams.budget import Budget
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.events import Event, Header


@dataclass(frozen=True)
class Replayed:
    """The events of a run, as they were or as a policy would have made them."""

    header: Header
    """The budget, the table of options and the settings that the recorded policy had."""

    events: tuple[Event, ...]
    """One for each inference, in order."""

    summary: Mapping[str, Any]
    """Count, share of the budget kept, accuracy, mean latency (ms), switches and use of branches, over all and for each
    of the ``phases``; see :func:`adascale_runtime.loop.summary`."""

    notes: tuple[str, ...] = ()
    """What else a person should know, such as limits that could not be kept."""


@dataclass(frozen=True)
class Compared:
    """Several policies on the same recorded contexts and latencies."""

    policies: Mapping[str, Mapping[str, Any]]
    """The summary of each policy, as :class:`Replayed` has it, with ``expected_accuracy``: the mean accuracy of the
    branches that it chose."""

    recorded: int
    """How many inferences the trace holds."""

    notes: tuple[str, ...] = ()
    """What else a person should know, such as limits that could not be kept."""


def replay(
    bundle: Bundle | str | Path, trace: str | Path, budget: Budget | str, *, policy: str = "adaptive"
) -> Replayed:
    """Run a policy on recorded contexts and latencies.

    Args:
        bundle: The bundle of the recording, or its path.
        trace: Events of an earlier run.
        budget: A budget, or a text such as ``latency_ms=3``.
        policy: The policy's name.

    Returns:
        The events that the policy would have made.

    Raises:
        BadInput: The trace is damaged or of another bundle, the policy unknown, or no branch keeps the budget.
    """
    from adascale_runtime.loop import summary
    from adascale_runtime.policies import replay as replaying
    from adascale_runtime.seams import events

    opened = given.bundle_of(bundle)
    header, recorded = events.read(Path(trace))
    limits = given.budget_of(budget)
    replayed = replaying.replay(opened, header, recorded, limits, policy)
    return Replayed(header, tuple(replayed), summary(replayed), _dropped(limits, header, recorded))


def compare_policies(
    bundle: Bundle | str | Path, trace: str | Path, budget: Budget | str, *, policies: Sequence[str] | None = None
) -> Compared:
    """Run several policies on the same recorded contexts and latencies.

    Args:
        bundle: The bundle of the recording, or its path.
        trace: Events of an earlier run.
        budget: A budget, or a text such as ``latency_ms=3``.
        policies: Names of policies. Default: all, with the oracle, which knows the future.

    Raises:
        BadInput: The trace is damaged or of another bundle, a policy unknown, or no branch keeps the budget.
    """
    from adascale_runtime.loop import summary
    from adascale_runtime.policies import policy as known
    from adascale_runtime.policies import replay as replaying
    from adascale_runtime.seams import events

    opened = given.bundle_of(bundle)
    header, recorded = events.read(Path(trace))
    limits = given.budget_of(budget)
    names = list(known.names()) if policies is None else list(policies)
    for name in names:
        known.check_policy(name)
    accuracy = {branch.id: branch.accuracy.value for branch in opened.manifest.branches}
    summaries = {}
    for name in names:
        replayed = replaying.replay(opened, header, recorded, limits, name)
        expected = [accuracy[event.branch.partition("@")[0]] for event in replayed]
        summaries[name] = {**summary(replayed), "expected_accuracy": sum(expected) / max(1, len(expected))}
    return Compared(summaries, len(recorded), _dropped(limits, header, recorded))


#: What must be known of an option for a limit to be kept.
_KNOWN_BY = {"energy_mj": "energy_mj", "power_mw": "energy_mj", "lifetime_h": "energy_mj", "memory_mb": "memory_mb"}


def _dropped(budget: Budget, header: Header, recorded: Sequence[Event]) -> tuple[str, ...]:
    """A sentence for each limit that the trace holds nothing to keep it by, so that no policy kept it."""
    from adascale_runtime.policies.limits import SIGNALS

    sentences = []
    for name, (key, signal) in SIGNALS.items():
        told = any(event.context is not None and getattr(event.context, key) is not None for event in recorded)
        if name in budget.limits() and not told:
            sentences.append(f"The trace records no {signal}, so the limit {name} was ignored.")
    for name, key in _KNOWN_BY.items():
        unknown = [option for option in header.table.values() if option.get(key) is None]
        if name in budget.limits() and unknown:
            of = (
                "any branch" if len(unknown) == len(header.table) else f"{len(unknown)} of {len(header.table)} branches"
            )
            quantity = key.partition("_")[0]
            sentences.append(f"The trace records no {quantity} for {of}, so the limit {name} was ignored for them.")
    return tuple(sentences)
