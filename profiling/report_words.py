"""The words of the report: values as text, an absent one with its reason, an estimate called an estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adascale_runtime import loop
from adascale_runtime.engines.delegates import DELEGATES
from adascale_runtime.seams import speed
from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.records import Context, Energy, Measurement, quantile
from adascale_runtime.seams.speed import Usual


@dataclass(frozen=True)
class ReportCell:
    """A value of a table or card."""

    text: str | None
    """None: there is no value."""

    note: str = ""
    """A remark below the value."""

    reason: str = ""
    """Why there is no value."""


def common(measured: Measurement) -> bool:
    """Whether it was measured where every device can be: on CPUs with XNNPACK."""
    record = DELEGATES.get(measured.delegate)
    return record is not None and record.kernels == "xnnpack"


def device(facts: dict[str, Any]) -> str:
    """A device's name, as in predictors."""
    return str(facts.get("name", "unnamed device"))


def phases(log: list[Event]) -> list[tuple[str, list[Event]]]:
    """The events by phase label, in order of first appearance."""
    names = dict.fromkeys(e.phase for e in log)
    return [(name or "no phase", [e for e in log if e.phase == name]) for name in names]


def share(log: Sequence[Event]) -> float:
    """The share of inferences that kept the budget."""
    return sum(e.kept for e in log) / len(log)


def broken(log: list[Event]) -> list[tuple[str, str, dict[str, float]]]:
    """Each limit that was broken in a phase: its name, the phase, how often and how far."""
    return [(limit, name, told) for name, events in phases(log) for limit, told in loop.broken(events).items()]


def accuracy(log: Sequence[Event]) -> float | None:
    """The share of right answers among the inferences whose answer is known; None if none is."""
    known = [e.correct for e in log if e.correct is not None]
    return sum(known) / len(known) if known else None


def budget(header: Header) -> str:
    """The budget as text: ``latency_ms = 2``."""
    return ", ".join(f"{name} = {value:g}" for name, value in header.budget.items()) or "no budget"


def estimate(how: str) -> bool:
    """Whether a number obtained that way is an estimate."""
    return how.startswith("estimated")


def energy(e: Energy) -> ReportCell:
    """Energy of one inference, marked where it is an estimate."""
    kind, _, source = e.how.partition(":")
    if e.value_mj is None:
        return ReportCell(None, reason=e.reason or "no meter on this device")
    note = f"{'estimate' if estimate(e.how) else kind}{f' ({source})' if source else ''}"
    return ReportCell(f"{'≈ ' if estimate(e.how) else ''}{short(e.value_mj)}", note)


def at_usual(measured: Measurement, usual: Usual) -> ReportCell:
    """The median latency at the device's usual speed, with half its interval."""
    if not measured.latency_ms:
        return ReportCell(None, reason="no timed run")
    figure = speed.at_usual(measured, usual)
    if figure.corrected:
        return ReportCell(short(figure.value_ms), f"± {figure.percent:.1f} %")
    why = "no anchors ran beside it" if not measured.paces else "anchors do not tell the speed of this delegate"
    return ReportCell(None, reason=why)


def wandered(kinds: Mapping[str, tuple[float, float]]) -> str:
    """How far a device's speed wandered by its anchors: ``float 97 to 102 %, ...``."""
    return ", ".join(f"{kind} {100 * low:.0f} to {100 * high:.0f} %" for kind, (low, high) in kinds.items())


def context(before: Context, after: Context) -> ReportCell:
    """What the device had left before and after a measurement."""
    facts = []
    for name, unit, factor in _CONTEXT:
        ends = [getattr(c, name) for c in (before, after)]
        texts = ["?" if v is None else f"{v * factor:.0f}" for v in ends]
        if texts != ["?", "?"]:
            text = f"{texts[0]}{unit}" if texts[0] == texts[1] else f"{texts[0]} → {texts[1]}{unit}"
            facts.append(text.replace(" ", "\xa0"))
    return (
        ReportCell(facts[0], ", ".join(facts[1:]))
        if facts
        else ReportCell(None, reason="the device does not report its state")
    )


_CONTEXT = [("cpu_load", " % load", 100), ("cpu_freq_mhz", " MHz", 1), ("memory_free_mb", " MB free", 1)]
_CONTEXT += [("temperature_c", " °C", 1), ("battery", " % battery", 100)]


def percent(value: float, digits: int = 1) -> str:
    """0.9712 as ``97.1 %``."""
    return f"{100 * value:.{digits}f} %"


def size(value: int) -> str:
    """Bytes as ``81.4 kB`` or ``1.2 MB``."""
    return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"


def count(value: int) -> str:
    """A large number as ``1.23 M``."""
    factor, unit = next((pair for pair in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= pair[0]), (1, ""))
    return f"{value / factor:.2f}{unit}" if unit else str(value)


def short(value: float) -> str:
    """Three significant digits, never an exponent."""
    if value and 1e-4 <= abs(value) < 999.5:
        return f"{value:#.3g}".rstrip(".")
    return f"{value:,.{6 if 0 < abs(value) < 1 else 0}f}"


def plain(value: Any) -> str:
    """A fact of a device as text."""
    many = [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else value
    return ", ".join(map(str, many)) if isinstance(many, (list, tuple)) else str(many)


def plural(number: int, noun: str) -> str:
    """``1 branch``, ``4,200 branches``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith("ch") else "s")


#: What the page's template may call.
FILTERS = {
    f.__name__: f
    for f in (
        percent, size, count, short, device, energy, context, phases, share, broken, budget, accuracy, quantile,
        estimate, plain,
    )
}  # fmt: skip
