"""``run``: the adaptive loop on the test split of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.progress import Tick, silent
from adascale_tf.verbs import given
from adascale_tf.verbs.replay import Replayed
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_runtime.cascade_session import CascadeSession
    from adascale_runtime.policies.policy import Option
    from adascale_runtime.seams.budget import Budget
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.events import Event, Header
    from adascale_runtime.seams.predictors import Predictors

#: Training inputs on which a cascade's confidence is calibrated.
CALIBRATION = 500


@dataclass(frozen=True)
class Cascade:
    """What a cascade did, beside each of its branches alone."""

    first: Option
    """The cheap branch, which answers first."""

    second: Option
    """The better branch, which is asked when the first is unsure; the same as ``first`` where one suffices."""

    temperature: float
    """What the first branch's confidence was calibrated with."""

    asked: float
    """The share of inputs that the second branch was asked about."""

    accuracy: float
    """The share of right answers."""

    mean_ms: float
    """The mean latency of an answer, in milliseconds."""

    energy_mj: float | None
    """The predicted mean energy of an answer, in millijoules; None without predictors of energy."""


@dataclass(frozen=True)
class Ran(Replayed):
    """The events of a run as they happened."""

    cascade: Cascade | None = None
    """What the cascade did, if it was one."""


def run(
    bundle: Bundle | str | Path,
    data: Any,
    budget: Budget | str,
    *,
    seconds: float = 10.0,
    fps: float | None = None,
    delegates: Sequence[str] = ("cpu",),
    threads: Sequence[int] = (1,),
    policy: str = "adaptive",
    cascade: bool = False,
    predictors: Predictors | str | Path | None = None,
    device_name: str | None = None,
    warm_mb: float | None = None,
    best_effort: bool = False,
    out: str | Path | None = None,
    tick: Tick = silent,
    say: Say = unsaid,
    watch: Callable[[Event], None] | None = None,
) -> Ran:
    """Keep a budget on the test split, over and over, with the best accuracy that is left.

    Args:
        bundle: A bundle or its path.
        data: What the bundle was built for: a SPEC, arrays, or an :class:`adascale_tf.data.Dataset`.
        budget: A budget, or a text such as ``latency_ms=5,min_accuracy=0.9``.
        seconds: How long.
        fps: Inputs per second. Default: no pauses.
        delegates: Among which the policy chooses.
        threads: Numbers of threads among which the policy chooses.
        policy: The policy's name.
        cascade: Run a cheap branch first, and a better one if it is unsure. The *mean* latency then keeps
            the budget.
        predictors: Of energy and memory, from :func:`~adascale_tf.verbs.fit.fit`, or their file.
        device_name: Whose predictors, where they are of several devices: a name, serial, model or processor. Default:
            those of this device.
        warm_mb: Megabytes for branches that are kept ready. Default: no limit.
        best_effort: Ignore limits on what this device does not report (its temperature, its battery).
        out: Write events here as they happen: a trace for :func:`~adascale_tf.verbs.replay.replay`.
        tick: Progress.
        say: Is given each note as soon as it is known.
        watch: Is given every event.

    Returns:
        All events, what they add up to, and notes on what could not be opened or is ignored.

    Raises:
        BadInput: No branch keeps the budget even on an idle device, or what was given does not go together.
    """
    from adascale_runtime import loop
    from adascale_runtime.cascade_session import CascadeSession
    from adascale_runtime.session import Session
    from adascale_tf.verbs import inputs

    opened, limits = given.bundle_of(bundle), given.budget_of(budget)
    options: dict[str, Any] = {
        "predictors": _of_device(predictors, device_name), "delegates": tuple(delegates), "threads": tuple(threads),
        "policy": policy, "warm_mb": warm_mb, "best_effort": best_effort,
    }  # fmt: skip
    dataset = inputs.load_for_bundle(opened, data, tick=tick, say=say)
    kind = CascadeSession if cascade else Session
    pace = None if fps is None else 1.0 / fps
    with kind(opened, limits, **options) as session, loop.writer(given.path_of(out)) as write:
        if isinstance(session, CascadeSession):
            x = dataset.inputs(dataset.x_train[:CALIBRATION])  # which the loop does not see
            session.calibrate(x, [int(y) for y in dataset.y_train[:CALIBRATION]])
        warnings = tuple(session.warnings())
        for sentence in warnings:
            say(sentence)
        headers: list[Header] = []
        events = loop.run(
            session, loop.cycle(dataset), seconds, write, pace_s=pace, tick=tick, begun=headers.append, watch=watch
        )
        asked_twice = _cascade(session, events) if isinstance(session, CascadeSession) else None
    return Ran(headers[0], tuple(events), loop.summary(events), warnings, asked_twice)


def _of_device(predictors: Predictors | str | Path | None, wanted: str | None) -> Predictors | None:
    """The predictors of one device: the one that is ``wanted``, else this one."""
    from adascale_runtime.device import identity
    from adascale_runtime.seams import predictors as prediction

    if predictors is None:
        return None
    if isinstance(predictors, (str, Path)):
        return prediction.choose(Path(predictors), wanted, identity.facts())
    return predictors.here(identity.facts()) if wanted is None else predictors.of(wanted)


def _cascade(session: CascadeSession, events: Sequence[Event]) -> Cascade:
    first, second = session.pair.first, session.pair.second
    asked = sum(event.switched for event in events) / max(1, len(events))
    judged = [event.correct for event in events if event.correct is not None]
    energy = None if first.energy_mj is None or second.energy_mj is None else first.energy_mj + asked * second.energy_mj
    return Cascade(
        first=first,
        second=second,
        temperature=session.temperature,
        asked=asked,
        accuracy=sum(judged) / len(judged) if judged else 0.0,
        mean_ms=sum(event.latency_ms for event in events) / max(1, len(events)),
        energy_mj=energy,
    )
