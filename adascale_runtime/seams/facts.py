"""Facts: typed results of finished jobs, checked where they enter.

A fact comes from an agent on a phone, from another process, or from a journal that lay on a disk. :func:`decode` makes
a frozen dataclass of parsed JSON, :func:`verify` refuses one whose values cannot be, :func:`check` does both, so what
reaches a measurement has the right types and possible values. Standard library only and Python 3.8 compatible: an
agent makes facts, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union

from adascale_runtime import text
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import pace
from adascale_runtime.seams.pace import Pace
from adascale_runtime.seams.records import Context, Delegation, OperatorTime

#: Milliseconds from the resolution of clocks to eleven days.
SHORTEST_MS, LONGEST_MS = 1e-6, 1e9
#: No figure of a device is further from zero: bytes, nanoseconds of a year, microwatts.
LARGEST = 1e15
#: Characters of a text in a fact, and values in a fact with all its lists.
TEXT, VALUES = 2000, 1_000_000


@dataclass(frozen=True)
class Process:
    """A process of its own that loaded the branch."""

    #: Milliseconds to open the file and allocate.
    load_ms: Optional[float] = None
    #: Growth of the process's peak resident memory by loading and three runs.
    memory_mb: Optional[float] = None
    #: Why ``memory_mb`` is None.
    reason: Optional[str] = None


@dataclass(frozen=True)
class Start:
    """What is known before the first timed run."""

    context: Context
    #: Milliseconds of the first runs, before anything else warmed the branch up.
    warmup_ms: Tuple[float, ...] = ()
    #: Share of the bundle's samples whose best class is the expected one; None where outputs were not compared.
    agreement: Optional[float] = None
    #: The largest difference from the expected outputs; None where outputs were not compared or are no numbers.
    difference: Optional[float] = None
    delegation: Optional[Delegation] = None
    #: Why ``delegation`` is None.
    delegation_reason: Optional[str] = None
    operators: Tuple[OperatorTime, ...] = ()
    #: The time by the clock of the computer that keeps the journal (ISO 8601), which fills it in.
    started: str = ""


@dataclass(frozen=True)
class Block:
    """A block of timed runs."""

    latency_ms: Tuple[float, ...]
    #: Energy of one run, by the meter of that name.
    energy_mj: Optional[float] = None
    meter: Optional[str] = None
    #: The context while the block ran, where that is what is measured.
    context: Optional[Context] = None
    #: What the anchors took before the first run, between chunks of runs, and after the last; agents of earlier
    #: versions have none.
    paces: Tuple[Pace, ...] = ()


@dataclass(frozen=True)
class EnergyFact:
    """Energy of one run, as in :class:`adascale_runtime.seams.records.Energy`."""

    value_mj: Optional[float] = None
    how: str = ""
    #: Why ``value_mj`` is None.
    reason: Optional[str] = None
    uncertainty_mj: Optional[float] = None
    details: Dict[str, Any] = field(default_factory=dict)
    #: Whether a longer span could tell it.
    retry_longer: bool = False


@dataclass(frozen=True)
class End:
    """The context after the last run."""

    context: Context


@dataclass(frozen=True)
class Busy:
    """Runs without a pause. It stays where it was measured: energy is computed from it."""

    begun_s: float
    ended_s: float
    runs: int


Fact = Union[Process, Start, Block, EnergyFact, End]
#: The facts of a measurement, by the kind of the job that tells them.
KINDS: Dict[str, Type[Any]] = {
    "process": Process, "start": Start, "block": Block, "energy": EnergyFact, "end": End,
}  # fmt: skip


def decode(kind: str, value: Any, where: str) -> Fact:
    """The fact that parsed JSON stands for, its types checked.

    Args:
        kind: The kind of the job, a key of :data:`KINDS`.
        value: Parsed JSON.
        where: The fact's place in the sentence of an error.

    Raises:
        BadInput: It is no fact of that kind.
    """
    if kind not in KINDS:
        raise BadInput("{} is a fact of an unknown kind ('{}').".format(where, text.excerpt(kind)))
    fact: Fact = codec.from_json(KINDS[kind], value, where)
    return fact


def verify(fact: Fact, where: str, runs: Optional[int] = None, lasting_ms: float = 0.0) -> None:
    """Refuse a fact with impossible values; :class:`BadInput` names the place.

    ``runs``: how many timed runs were asked for. A block may end early, so it has one to that many; more only until
    they have taken ``lasting_ms``.
    """
    _possible(codec.to_json(fact), where, [0])
    _CHECKS[type(fact)](fact, where)
    if (
        isinstance(fact, Block)
        and runs is not None
        and len(fact.latency_ms) > runs
        and (sum(fact.latency_ms[:-1]) >= lasting_ms)
    ):
        raise BadInput("{} has {} latencies, but {} runs were asked for.".format(where, len(fact.latency_ms), runs))


def check(kind: str, value: Any, where: str, runs: Optional[int] = None) -> Fact:
    """:func:`decode` and :func:`verify` at once."""
    fact = decode(kind, value, where)
    verify(fact, where, runs)
    return fact


def _possible(data: Any, where: str, seen: List[int]) -> None:
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
        raise BadInput(f"{where} is {data:g}, which is not a possible value.")


def _within(value: Optional[float], where: str, low: float, high: float = LARGEST) -> None:
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
    pace.check(fact.paces, len(fact.latency_ms), f"{where}.paces")


def _energy(fact: EnergyFact, where: str) -> None:
    if fact.value_mj is None and not fact.reason:
        raise BadInput(f"{where} has neither a value nor a reason why there is none.")
    if fact.value_mj is not None and not fact.how.startswith("measured:"):
        raise BadInput(f"{where}.how is '{text.excerpt(fact.how)}' and names no meter, as 'measured:battery' does.")
    if fact.value_mj is not None and not fact.value_mj > 0:
        raise BadInput(f"{where}.value_mj is {fact.value_mj:g}, but the energy of a run must be positive.")
    _within(fact.uncertainty_mj, f"{where}.uncertainty_mj", 0)


def _context(context: Context, where: str) -> None:
    for name in ("cpu_load", "runnable", "cores", "cpu_freq_mhz", "clock_cap_mhz", "memory_free_mb", "battery"):
        _within(getattr(context, name), f"{where}.{name}", 0)
    _within(context.temperature_c, f"{where}.temperature_c", -273.15, 1000)


_CHECKS: Dict[type, Callable[[Any, str], None]] = {
    Process: _process, Start: _start, Block: _block, EnergyFact: _energy,
    End: lambda fact, where: _context(fact.context, f"{where}.context"),
}  # fmt: skip
