"""Events of the adaptive loop, JSON lines: what was seen, what was decided and why, what it took, what was kept.

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
    """First line of a trace: the bundle, the budget, the settings of the loop.

    ``table``: the policy's options by branch (:class:`adascale_runtime.policies.policy.Option`) at the start.
    """

    format: str
    bundle: str
    budget: Dict[str, float]
    delegate: str
    threads: int
    started: str
    table: Dict[str, Any] = field(default_factory=dict)
    settings: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """One inference.

    ``time_s`` (decision) and ``ended_s`` (output read) count from the loop's start. ``latency_ms`` ends when the
    output was read. ``base_ms`` is the branch's idle latency and ``slowdown`` the policy's correction before this
    inference, so that ``base_ms * slowdown`` was the expectation. ``switch_ms`` is the time of decision plus switch.
    ``failed`` names branches that were taken out before this one answered. ``phase`` is a label of the experiment
    ("idle", "loaded") or None. ``context`` is written when it is new, else None. ``absent`` names options that could
    not be chosen because they were still being prepared.
    """

    time_s: float
    ended_s: float
    branch: str
    reason: str
    switched: bool
    decide_ms: float
    switch_ms: float
    latency_ms: float
    base_ms: float
    slowdown: float
    kept: bool
    correct: Optional[bool] = None
    failed: Tuple[str, ...] = ()
    phase: Optional[str] = None
    context: Optional[Context] = None
    absent: Tuple[str, ...] = ()

    def with_correct(self, correct: bool) -> "Event":
        """The same event, judged."""
        return replace(self, correct=correct)


def read(path: Path) -> Tuple[Header, List[Event]]:
    """The header and the events of a trace file."""
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
    "base_ms": POSITIVE, "slowdown": POSITIVE,
}  # fmt: skip


def _event(data: Any, where: str) -> Event:
    event = codec.from_json(Event, data, where)
    ranges.check(event, _RANGES, where)
    if event.context is not None:
        ranges.check(event.context, CONTEXT_RANGES, where + ".context")
    return event
