"""The adaptive loop: it takes inputs and yields events; and summaries of those events."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from adascale_runtime.engines import tensor
from adascale_runtime.errors import BadBundle
from adascale_runtime.files import codec, disk
from adascale_runtime.policies import habits
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import FORMAT, Event, Header
from adascale_runtime.seams.records import quantile
from adascale_runtime.session import BaseSession

Write = Callable[[str], None]
Phase = Callable[[float], str]


def samples(bundle: Bundle) -> Tuple[Tuple[Any, int], ...]:
    """A bundle's own sample inputs, real and preprocessed, with their labels.

    Returns:
        Pairs of an input of the branches' shape (batch of 1, float32) and its class. Inputs are numpy arrays, or
        :class:`~adascale_runtime.engines.tensor.Tensor` where numpy is not installed.

    Raises:
        BadBundle: The bundle's file of samples cannot be read.
    """
    shape, kept = bundle.manifest.branches[0].input.shape, bundle.manifest.samples
    path = bundle.path(kept.file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadBundle("{} cannot be read ({}).".format(path, error.strerror or error)) from None
    return tuple(zip(tensor.samples(data, shape), kept.labels))


def cycle(dataset: Any) -> Iterator[Tuple[Any, int]]:
    """The test split of a dataset, over and over: (preprocessed input, label)."""
    x = dataset.inputs(dataset.x_test)
    while True:
        for index in range(len(x)):
            yield x[index], int(dataset.y_test[index])


@contextmanager
def writer(path: Optional[Path]) -> Iterator[Optional[Write]]:
    """A function that appends lines to a new file; flushed at least every second, so that a kill loses little.

    Args:
        path: The file, which is replaced; None writes nothing, and gives None.

    Raises:
        Unwritable: The file cannot be written (:mod:`adascale_runtime.files.disk`); raised as soon as that shows, at
            the latest at the end.
    """
    if path is None:
        yield None
        return
    with disk.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(str(path), "w", encoding="utf-8")  # noqa: SIM115  (closed below)
    flushed = [time.monotonic()]

    def write(line: str) -> None:
        with disk.writing(path):
            file.write(line)
            if time.monotonic() - flushed[0] > 1.0:
                file.flush()
                flushed[0] = time.monotonic()

    try:
        yield write
    except BaseException:
        with suppress(OSError):  # what ended the block is told, not that the rest of it cannot be written either
            file.close()
        raise
    with disk.writing(path):
        file.close()


def run(
    session: BaseSession,
    inputs: Iterable[Tuple[Any, Optional[int]]],
    seconds: float,
    write: Optional[Write] = None,
    *,
    phase: Optional[Phase] = None,
    pace_s: Optional[float] = None,
    tick: Tick = silent,
    begun: Optional[Callable[[Header], None]] = None,
    watch: Optional[Callable[[Event], None]] = None,
) -> List[Event]:
    """Predict inputs for some time, and record an event of each.

    Args:
        session: An open session; it is restarted.
        inputs: Pairs of a preprocessed input and its class; None for a class that is not known.
        seconds: When to stop, unless the inputs end before.
        write: Takes the lines of the trace as they come, see :func:`writer`.
        phase: Labels an event by the seconds since the start.
        pace_s: The time between inputs, in seconds; None for one after another.
        tick: Progress.
        begun: Gets the trace's header, before anything is predicted.
        watch: Gets every event as it comes.

    Returns:
        All events.
    """
    session.restart()
    first = header(session)
    if begun is not None:
        begun(first)
    if write is not None:
        write(codec.dump_line(first))
    events: List[Event] = []
    begin = time.monotonic()
    shown = -1.0
    for number, (x, label) in enumerate(inputs):
        elapsed = time.monotonic() - begin
        if elapsed >= seconds:
            break
        name = None if phase is None else phase(elapsed)
        output = session.predict(x, name)
        event = session.last
        assert event is not None
        if label is not None:
            event = event.with_correct(int(output.argmax()) == label)
        events.append(event)
        if write is not None:
            write(codec.dump_line(event))
        if watch is not None:
            watch(event)
        if elapsed - shown > 0.25:
            shown = elapsed
            tick("adaptive loop", int(10 * elapsed), int(10 * seconds), "{} {}".format(name or "", event.branch))
        if pace_s is not None:
            time.sleep(max(0.0, begin + (number + 1) * pace_s - time.monotonic()))
    tick("adaptive loop", int(10 * seconds), int(10 * seconds), "")
    return events


def header(session: BaseSession) -> Header:
    """The first line of a trace: what a session decides with."""
    return Header(
        format=FORMAT,
        bundle=session.bundle.digest,
        budget=session.budget.limits(),
        delegate="+".join(session.delegates),
        threads=session.threads,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        table={o.id: codec.to_json(o) for o in session.table},
        settings=codec.to_json(session.settings),
        habits=habits.to_json(session.observer.state.habits),
        told=habits.told_to_json(session.observer.told),
    )


def summary(events: List[Event]) -> Dict[str, Any]:
    """What events add up to.

    Returns:
        ``count``; ``kept``, the share that kept the budget; ``broken``, for each limit that was broken the ``share`` of
        inferences that broke it, and how far these went beyond it in its unit, ``mean`` and ``worst``; ``accuracy`` of
        those with a known class, or None; ``mean_ms``; ``switches``; ``branches``, the share of each; ``phases``, the
        same for each phase; ``decide_p50_ms`` and ``switch_p50_ms``, the median times of a decision and of a decision
        with a switch.
    """
    facts = _facts(events)
    names = list(dict.fromkeys(e.phase for e in events if e.phase is not None))
    facts["phases"] = {name: _facts([e for e in events if e.phase == name]) for name in names}
    facts["decide_p50_ms"] = quantile([e.decide_ms for e in events], 0.5)
    facts["switch_p50_ms"] = quantile([e.switch_ms for e in events if e.switched], 0.5)
    return facts


def _facts(events: List[Event]) -> Dict[str, Any]:
    count = len(events)
    judged = [e.correct for e in events if e.correct is not None]
    branches: Dict[str, int] = {}
    for event in events:
        branches[event.branch] = branches.get(event.branch, 0) + 1
    return {
        "count": count,
        "kept": sum(e.kept for e in events) / count if count else 0.0,
        "broken": broken(events),
        "accuracy": sum(judged) / len(judged) if judged else None,
        "mean_ms": sum(e.latency_ms for e in events) / count if count else 0.0,
        "switches": sum(e.switched for e in events),
        "branches": {name: n / count for name, n in branches.items()},
    }


def broken(events: Sequence[Event]) -> Dict[str, Dict[str, float]]:
    """How often and how far limits were broken.

    Returns:
        By the name of each limit that was broken, the ``share`` of the events that broke it, and how far these went
        beyond it in its unit, ``mean`` and ``worst``; empty for traces that tell of latency only.
    """
    over: Dict[str, List[float]] = {}
    for event in events:
        for name, beyond in event.broken.items():
            over.setdefault(name, []).append(beyond)
    return {
        name: {"share": len(told) / len(events), "mean": sum(told) / len(told), "worst": max(told)}
        for name, told in sorted(over.items())
    }
