"""The report: one HTML page, readable without a network, of a bundle, its measurements, traces and predictors.

The words and the columns stand in ``report.html.j2``; here are the values. An absent value is a dash that carries its
reason; an estimated number is called an estimate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from adascale_runtime import __version__
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle, events, losses, predictors, records
from adascale_runtime.seams.bundle import Manifest
from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Context, Energy, Measurement, quantile
from profiling import plots

Trace = tuple[Header, list[Event]]


@dataclass(frozen=True)
class Inputs:
    """What a report is made of; whatever is absent leaves its sections out.

    ``measurements`` are of all runs: a cell may have several, the latest last.
    """

    manifest: Manifest | None
    measurements: list[Measurement]
    traces: list[Trace]
    predictors: Predictors | None


@dataclass(frozen=True)
class ReportCell:
    """A value of a table or card as text; ``text`` None is absent and ``reason`` says why. ``note`` stands below."""

    text: str | None
    note: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Picture:
    """An inline SVG, what it shows (for those who do not see it) and what it is of."""

    id: str
    label: str
    caption: str
    svg: Markup


#: What can be given to :func:`gather`; a path may be of any of the others.
Item = Path | bundle.Bundle | Manifest | Predictors | Measurement | Trace


def gather(items: Iterable[Item]) -> Inputs:
    """Sort what a report is made of; files are told by their content.

    Micro-kernels and branches under load, which only predictors are fitted to, are left out.

    Raises:
        BadInput: A file is of another kind, or there are several bundles or predictors.
    """
    manifests: list[Manifest] = []
    fitted: list[Predictors] = []
    traces: list[Trace] = []
    measured: list[Measurement] = []
    for item in items:
        for read in _read(item) if isinstance(item, Path) else [item]:
            if isinstance(read, bundle.Bundle):
                manifests.append(read.manifest)
            elif isinstance(read, Manifest):
                manifests.append(read)
            elif isinstance(read, Predictors):
                fitted.append(read)
            elif isinstance(read, Measurement):
                measured.append(read)
            elif isinstance(read, tuple):
                traces.append(read)
            else:
                raise BadInput(f"A report cannot be made of a {type(read).__name__}.")
    for several, noun in ((manifests, "bundles"), (fitted, "predictors files")):
        if len(several) > 1:
            raise BadInput(f"A report is about one bundle, but {len(several)} {noun} were given; write one for each.")
    shown = [m for m in measured if not m.settings.get("kernel") and m.settings.get("context", "idle") == "idle"]
    different = {codec.dump_line(m): m for m in shown}  # the same line in two files is one run
    return Inputs(next(iter(manifests), None), list(different.values()), traces, next(iter(fitted), None))


def _read(path: Path) -> Sequence[Item]:
    """What a file holds, or a folder or archive of a bundle."""
    if path.is_dir() or path.suffix == ".zip":
        return [bundle.load(path)]
    kind = _format(path)
    if kind == records.FORMAT:
        return records.runs([path])
    if kind == events.FORMAT:
        return [events.read(path)]
    if kind == predictors.FORMAT:
        return [predictors.load(path)]
    if kind == bundle.FORMAT:
        return [bundle.load(path.parent)]
    raise BadInput(f"{path} is not one of: a bundle, measurements or events (.jsonl), predictors (.json).")


def _format(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({getattr(error, 'strerror', None) or 'it is not text'}).") from None
    for piece in (text.partition("\n")[0], text):
        try:
            data = json.loads(piece)
        except ValueError:
            continue
        return data.get("format") if isinstance(data, dict) else None
    return None


def write(
    out: Path, manifest: Manifest | None, measurements: list[Measurement], traces: list[Trace],
    predictors: Predictors | None, title: str,
) -> None:  # fmt: skip
    """Write the page to ``out``, whole or not at all. Sections without input are left out.

    The table has every run of a cell; figures have the latest.
    """
    timed = [m for m in records.latest(measurements) if m.latency_ms]
    several = len(records.latest(measurements)) < len(measurements)
    run = [trace for trace in traces if trace[1]]
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    filters = (percent, size, count, short, device, energy, context, phases, share, budget, accuracy, quantile)
    environment.filters.update({f.__name__: f for f in (*filters, estimate, plain)})
    facts: dict[str, Any] = {"title": title, "version": __version__, "manifest": manifest, "digest": _digest(manifest)}
    facts.update(
        measurements=measurements,
        several_runs=several,
        predictors=predictors,
        traces=run,
        cards=_cards(manifest, timed, run),
    )
    facts.update(tradeoffs=_tradeoffs(manifest, timed), latencies=_latencies(timed), timelines=_timelines(run))
    facts.update(predictions=_predictions(predictors, timed), remarks=losses.remarks(manifest) if manifest else [])
    codec.write_text(out, environment.get_template("report.html.j2").render(facts))


def _digest(manifest: Manifest | None) -> str:
    return bundle.Bundle(Path(), manifest).digest if manifest else ""


def _cards(manifest: Manifest | None, timed: list[Measurement], traces: list[Trace]) -> list[tuple[str, ReportCell]]:
    cards: list[tuple[str, ReportCell]] = []
    if manifest:
        kinds = plural(len({b.precision for b in manifest.branches}), "precision")
        exits = plural(len({b.exit for b in manifest.branches}), "exit")
        cards.append(("Branches", ReportCell(str(len(manifest.branches)), f"{kinds}, {exits}")))
    if timed:
        cards.append(("Fastest against full", _speedup(timed)))
    if manifest:
        best = max(manifest.branches, key=lambda b: b.accuracy.value)
        small = min(manifest.branches, key=lambda b: b.size_bytes)
        cards.append(
            ("Best accuracy", ReportCell(percent(best.accuracy.value), f"{best.recipe}, {best.accuracy.metric}"))
        )
        if manifest.given:
            note = f"before training, {manifest.given.metric}, n = {manifest.given.samples}"
            cards.append(("Model as given", ReportCell(percent(manifest.given.value), note)))
        cards.append(("Smallest", ReportCell(size(small.size_bytes), small.recipe)))
    for header, log in traces:
        shown = phases(log) if len(phases(log)) <= 3 else [("all phases", log)]
        kept = " / ".join(f"{100 * share(phase):.0f}" for _, phase in shown)
        note = f"{' / '.join(name for name, _ in shown)}; {budget(header)}, {plural(len(log), 'inference')}"
        cards.append(("Budget kept", ReportCell(f"{kept} %", note)))
    return cards


def _speedup(timed: list[Measurement]) -> ReportCell:
    """The best ratio of medians between a branch and ``full``, measured on the same device, delegate and threads."""
    ratios = [
        (full.latency_quantile_ms(0.5) / m.latency_quantile_ms(0.5), m)
        for full in timed
        for m in timed
        if full.recipe == "full" and (m.bundle, *_place(m)) == (full.bundle, *_place(full))
    ]
    if not ratios:
        return ReportCell(None, "no comparison", "the branch 'full' was not measured")
    # The plain CPU is the place that every device has, so it makes the headline where it was measured.
    ratio, m = max([r for r in ratios if r[1].delegate == "cpu"] or ratios, key=lambda r: r[0])
    where = f"{m.delegate}, {plural(m.threads, 'thread')}"
    return ReportCell(f"{ratio:.1f}×", f"{m.recipe}, p50 {short(m.latency_quantile_ms(0.5))} ms on {where}")


def _tradeoffs(manifest: Manifest | None, timed: list[Measurement]) -> list[Picture]:
    values = {b.id: b.accuracy.value for b in manifest.branches} if manifest else {}
    known = [m for m in timed if m.bundle == _digest(manifest) and m.branch in values]
    pictures: list[Picture] = []
    for name in dict.fromkeys(device(m.device) for m in known):
        # One point per branch: the CPU if it was measured, then the fewest threads.
        order = sorted((m for m in known if device(m.device) == name), key=lambda m: (m.delegate != "cpu", m.threads))
        chosen = {m.branch: m for m in reversed(order)}
        where = sorted({f"{m.delegate}, {plural(m.threads, 'thread')}" for m in chosen.values()})
        svg = plots.accuracy_latency([(m, values[m.branch]) for m in chosen.values()])
        label = f"Accuracy against latency of {plural(len(chosen), 'branch')} on {name}, with the Pareto front"
        pictures.append(Picture(f"tradeoff-{len(pictures)}", label, f"{name}: {'; '.join(where)}.", Markup(svg)))
    return pictures


def _latencies(timed: list[Measurement]) -> list[Picture]:
    if not timed:
        return []
    several = [len({_place(m)[i] for m in timed}) > 1 for i in range(3)]
    cells = []
    for m in timed:
        parts = (device(m.device), m.delegate, plural(m.threads, "thread"))
        cells.append((" · ".join([m.recipe, *(p for p, shown in zip(parts, several, strict=True) if shown)]), m))
    label = f"Latency distributions of {plural(len(cells), 'measurement')}, sorted by median"
    runs = plural(sum(len(m.latency_ms) for m in timed), "run")
    return [Picture("latencies-0", label, f"{runs}.", Markup(plots.distributions(cells)))]


def _predictions(fitted: Predictors | None, timed: list[Measurement]) -> list[Picture]:
    known = fitted.predictors if fitted else ()
    wanted = {(p.device, p.delegate, p.threads): p for p in known if p.quantity == "latency_ms"}
    points = [(m, wanted[_place(m)].predict(m.cost, m.precision)) for m in timed if _place(m) in wanted]
    number = plural(len(points), "measurement")
    label = f"Predicted against measured latency of {number}, with a band of ten percent"
    return [Picture("predictions-0", label, f"{number}.", Markup(plots.predictions(points)))] if points else []


def _timelines(traces: list[Trace]) -> list[Picture]:
    dots = max(200, 4500 // max(1, len(traces)))
    pictures: list[Picture] = []
    for header, log in traces:
        label = f"Load, latency and branch over {log[-1].time_s - log[0].time_s:.0f} seconds, {budget(header)}"
        where = f"{header.delegate}, {plural(header.threads, 'thread')}"
        caption = f"{plural(len(log), 'inference')}, {budget(header)}, {where}."
        svg = Markup(plots.timeline(header, log, min(1500, dots)))
        pictures.append(Picture(f"timeline-{len(pictures)}", label, caption, svg))
    return pictures


def _place(m: Measurement) -> tuple[str, str, int]:
    return device(m.device), m.delegate, m.threads


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
        else ReportCell(None, reason="the device does not tell its state")
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
