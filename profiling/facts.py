"""Facts about a cell and messages of whoever measures them: typed, and checked where they enter.

A fact comes from an agent on a phone, from another process, or from a journal that lay on a disk. :func:`check` makes a
frozen dataclass of it or raises :class:`BadInput`, so what reaches a measurement has the right types and possible
values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from adascale_runtime import text
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams.records import Context, Delegation, OperatorTime

#: Milliseconds from the resolution of clocks to eleven days.
SHORTEST_MS, LONGEST_MS = 1e-6, 1e9
#: No figure of a device is further from zero: bytes, nanoseconds of a year, microwatts.
LARGEST = 1e15
#: Characters of a text in a fact, and values in a fact with all its lists.
TEXT, VALUES = 2000, 1_000_000


@dataclass(frozen=True)
class Process:
    """A process of its own that loaded the branch: ``reason`` says why ``memory_mb`` is None."""

    load_ms: float | None = None
    memory_mb: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Start:
    """What is known before the first timed run. ``agreement`` and ``difference`` of outputs are None where they were
    not compared or are no numbers; ``started`` is the time by the clock of this computer (ISO 8601)."""

    context: Context
    warmup_ms: tuple[float, ...] = ()
    agreement: float | None = None
    difference: float | None = None
    delegation: Delegation | None = None
    delegation_reason: str | None = None
    operators: tuple[OperatorTime, ...] = ()
    started: str = ""


@dataclass(frozen=True)
class Block:
    """A block of timed runs. ``energy_mj`` of one run by the meter of that name; ``context`` while it ran."""

    latency_ms: tuple[float, ...]
    energy_mj: float | None = None
    meter: str | None = None
    context: Context | None = None


@dataclass(frozen=True)
class EnergyFact:
    """Energy of one run, as in :class:`adascale_runtime.seams.records.Energy`; where there is none, ``reason`` says
    why.

    ``retry_longer``: a longer span could tell it.
    """

    value_mj: float | None = None
    how: str = ""
    reason: str | None = None
    uncertainty_mj: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    retry_longer: bool = False


@dataclass(frozen=True)
class End:
    """The context after the last run."""

    context: Context


Fact = Process | Start | Block | EnergyFact | End
KINDS: dict[str, type[Fact]] = {
    "process": Process, "start": Start, "block": Block, "energy": EnergyFact, "end": End,
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """A message of a runner: ``say`` is begin, fact, failed, wait or done; others are ignored.

    ``kind`` and ``key`` name the task, ``value`` is a fact that :func:`check` has not seen yet.
    """

    say: str
    kind: str = ""
    key: str = ""
    value: Any = None
    reason: str = ""
    why: str = ""


def said(message: Any) -> Said:
    """The message of a runner; :class:`BadInput` if it is none. Its value is as it came."""
    if not isinstance(message, dict):
        raise BadInput("the message should be an object.")
    found = codec.from_json(Said, {**message, "value": None}, "the message")
    return replace(found, value=message.get("value"))


def check(kind: str, value: Any, where: str, runs: int | None = None) -> Fact:
    """The fact that parsed JSON stands for; :class:`BadInput` says what is wrong, with ``where`` as its place.

    ``runs``: how many timed runs were asked for. A block may end early, so it has one to that many.
    """
    if kind not in KINDS:
        raise BadInput(f"{where} is a fact of no known kind ('{text.excerpt(kind)}').")
    fact = codec.from_json(KINDS[kind], value, where)
    _possible(codec.to_json(fact), where, [0])
    _CHECKS[type(fact)](fact, where)
    if isinstance(fact, Block) and runs is not None and len(fact.latency_ms) > runs:
        raise BadInput(f"{where} has {len(fact.latency_ms)} latencies, but {runs} runs were asked for.")
    return fact


def _possible(data: Any, where: str, seen: list[int]) -> None:
    """Refuse texts that are too long, numbers that are too large, and too many of both."""
    seen[0] += 1
    if seen[0] > VALUES:
        raise BadInput(f"{where} has more than {VALUES} values.")
    if isinstance(data, dict):
        for name, item in data.items():
            _possible(name, where, seen)
            _possible(item, f"{where}.{text.excerpt(name)}", seen)
    elif isinstance(data, list):
        for item in data:
            _possible(item, where, seen)
    elif isinstance(data, str) and len(data) > TEXT:
        raise BadInput(f"{where} is a text of {len(data)} characters ('{text.excerpt(data, 40)}').")
    elif isinstance(data, (int, float)) and not -LARGEST <= data <= LARGEST:
        raise BadInput(f"{where} is {data:g}; no device tells that.")


def _within(value: float | None, where: str, low: float, high: float = LARGEST) -> None:
    if value is not None and not low <= value <= high:
        raise BadInput(f"{where} is {value:g}, which is not in the range from {low:g} to {high:g}.")


def _process(fact: Process, where: str) -> None:
    _within(fact.load_ms, f"{where}.load_ms", 0, LONGEST_MS)
    _within(fact.memory_mb, f"{where}.memory_mb", 0)


def _start(fact: Start, where: str) -> None:
    _context(fact.context, f"{where}.context")
    for ms in fact.warmup_ms:
        _within(ms, f"{where}.warmup_ms", SHORTEST_MS, LONGEST_MS)
    _within(fact.agreement, f"{where}.agreement", 0, 1)
    _within(fact.difference, f"{where}.difference", 0)
    if fact.difference is not None and fact.agreement is None:
        raise BadInput(f"{where} has a difference of outputs, but no agreement.")
    if fact.delegation is not None:
        for name in ("nodes", "delegated", "partitions"):
            _within(getattr(fact.delegation, name), f"{where}.delegation.{name}", 0)
    for operator in fact.operators:
        _within(operator.mean_ms, f"{where}.operators.mean_ms", 0, LONGEST_MS)


def _block(fact: Block, where: str) -> None:
    if not fact.latency_ms:
        raise BadInput(f"{where} has no latencies.")
    for ms in fact.latency_ms:
        _within(ms, f"{where}.latency_ms", SHORTEST_MS, LONGEST_MS)
    _within(fact.energy_mj, f"{where}.energy_mj", 0)
    if fact.context is not None:
        _context(fact.context, f"{where}.context")


def _energy(fact: EnergyFact, where: str) -> None:
    if fact.value_mj is None and not fact.reason:
        raise BadInput(f"{where} has neither a value nor a reason why there is none.")
    if fact.value_mj is not None and not fact.how.startswith("measured:"):
        raise BadInput(f"{where}.how is '{text.excerpt(fact.how)}' and names no meter, as 'measured:battery' does.")
    if fact.value_mj is not None and not fact.value_mj > 0:
        raise BadInput(f"{where}.value_mj is {fact.value_mj:g}; a run takes energy.")
    _within(fact.uncertainty_mj, f"{where}.uncertainty_mj", 0)


def _context(context: Context, where: str) -> None:
    for name in ("cpu_load", "runnable", "cores", "cpu_freq_mhz", "memory_free_mb", "battery"):
        _within(getattr(context, name), f"{where}.{name}", 0)
    _within(context.temperature_c, f"{where}.temperature_c", -273.15, 1000)


_CHECKS: dict[type, Callable[[Any, str], None]] = {
    Process: _process, Start: _start, Block: _block, EnergyFact: _energy,
    End: lambda fact, where: _context(fact.context, f"{where}.context"),
}  # fmt: skip
