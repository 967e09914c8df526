"""Events of the adaptive loop, as JSON lines: context, decision and its reason, latency, whether the budget was met.

Format ``adascale-events/1``: a header line (:class:`Header`), then one :class:`Event` a line. A file of events is a
trace: :func:`adascale_runtime.policies.replay.replay` runs any policy on its contexts and latencies.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec, ranges
from adascale_runtime.files.ranges import AMOUNT, NUMBER, POSITIVE, Ranges
from adascale_runtime.seams.records import CONTEXT_RANGES, Context

FORMAT = "adascale-events/1"


@dataclass(frozen=True)
class Header:
    """First line of a trace: under which conditions it was recorded."""

    #: :data:`FORMAT`.
    format: str
    #: The bundle's digest.
    bundle: str
    #: The limits that were set, by name.
    budget: Dict[str, float]
    #: The delegates, joined by ``+``, and the usual number of threads.
    delegate: str
    threads: int
    #: The time of the start, in ISO 8601.
    started: str
    #: The options at the start by id, each an :class:`adascale_runtime.policies.limits.Option` as JSON.
    table: Dict[str, Any] = field(default_factory=dict)
    #: The policy's :class:`adascale_runtime.policies.limits.Settings` as JSON.
    settings: Dict[str, Any] = field(default_factory=dict)
    #: What was known of the device (:mod:`adascale_runtime.policies.habits`).
    habits: Dict[str, Any] = field(default_factory=dict)
    #: What the anchors told of engines when the session opened: by ``delegate x threads``, how many times longer than
    #: usual everything took, and when, in seconds since the loop's start. Empty in traces of sessions without anchors.
    told: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """What a meter told of the device and of predictions of energy (:mod:`adascale_runtime.device.audit`)."""

    #: What the device draws without inferences, in mW; None where it is not known.
    rest_mw: Optional[float] = None
    #: How many times the predicted energy inferences really take, by ``delegate x threads``.
    energies: Dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """One inference."""

    #: When the decision was taken and when the output had been read, in seconds since the loop's start.
    time_s: float
    ended_s: float
    #: The option that answered, and why it was chosen.
    branch: str
    reason: str
    #: Whether another option had answered before.
    switched: bool
    #: The time of the decision, and of decision plus switch.
    decide_ms: float
    switch_ms: float
    #: The time from the input to the output that has been read.
    latency_ms: float
    #: The option's idle latency, and the slowdown that the policy expected: their product was the expectation.
    base_ms: float
    slowdown: float
    #: Whether every limit of the budget was kept, and which were not, with how far each was exceeded, in its unit
    #: (``broken``, below). In older traces ``kept`` is about the limit of latency alone.
    kept: bool
    #: Whether the answer was right; None where that is not known.
    correct: Optional[bool] = None
    #: Options that were taken out since the event before.
    failed: Tuple[str, ...] = ()
    #: A label of the experiment, such as "idle" or "loaded".
    phase: Optional[str] = None
    #: What the device had left; None if it is that of the event before.
    context: Optional[Context] = None
    #: Options that could not be chosen because they were still being prepared.
    absent: Tuple[str, ...] = ()
    #: The limits that were broken, by name, with how far, in the limit's unit.
    broken: Dict[str, float] = field(default_factory=dict)
    #: What the energy audit told; None if it is what it told the event before, or there is no audit.
    audit: Optional[Audit] = None

    def with_correct(self, correct: bool) -> "Event":
        """The same event, judged."""
        return replace(self, correct=correct)


def read(path: Path) -> Tuple[Header, List[Event]]:
    """The header and the events of a trace.

    Args:
        path: A file of :func:`adascale_runtime.loop.writer`; a last line that was cut off by a kill is left out.

    Raises:
        BadInput: The file cannot be read or is no trace; the sentence names the line.
    """
    lines = codec.read_lines(path)
    first = next(lines, None)
    if not isinstance(first, dict) or first.get("format") != FORMAT:
        raise BadInput("{} is not a trace of events ({!r} is expected in its first line).".format(path, FORMAT))
    header = codec.from_json(Header, first, "{} line 1".format(path))
    ranges.check(header, {"threads": (1, 1e4), "budget": NUMBER}, "{} line 1".format(path))
    events = [_event(data, "{} line {}".format(path, number)) for number, data in enumerate(lines, start=2)]
    return header, events


#: What the numbers of an event may be: latencies are divided by what was expected.
_RANGES: Ranges = {
    "time_s": NUMBER, "ended_s": NUMBER, "decide_ms": AMOUNT, "switch_ms": AMOUNT, "latency_ms": AMOUNT,
    "base_ms": POSITIVE, "slowdown": POSITIVE, "broken": AMOUNT,
}  # fmt: skip


def _event(data: Any, where: str) -> Event:
    event = codec.from_json(Event, data, where)
    ranges.check(event, _RANGES, where)
    if event.context is not None:
        ranges.check(event.context, CONTEXT_RANGES, where + ".context")
    if event.audit is not None:
        ranges.check(event.audit, {"rest_mw": AMOUNT, "energies": POSITIVE}, where + ".audit")
    return event
