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
    """Count, share of the budget kept, how often and how far limits were broken, accuracy, mean latency (ms), switches
    and use of branches, over all and for each of the ``phases``; see :func:`adascale_runtime.loop.summary`."""

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
    return Replayed(header, tuple(replayed), summary(replayed), replaying.ignored(header, recorded, limits))


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
    return Compared(summaries, len(recorded), replaying.ignored(header, recorded, limits))
