"""The report: one HTML page, readable without a network, of a bundle, its measurements, traces and predictors.

The sentences and the columns stand in ``report.html.j2``; here are the values, as :mod:`profiling.report_words` writes
them.
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
from adascale_runtime.seams import bundle, events, losses, predictors, records, speed
from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.manifest import Manifest
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Measurement
from adascale_runtime.seams.speed import Usual
from profiling import plots, report_delegates, report_support
from profiling import report_words as words
from profiling.report_words import FILTERS, ReportCell, budget, device, percent, phases, plural, share, short, size

Trace = tuple[Header, list[Event]]


@dataclass(frozen=True)
class Inputs:
    """What a report is made of; whatever is absent leaves its sections out."""

    manifest: Manifest | None
    measurements: list[Measurement]
    """Of all runs: a cell may have several, the latest last."""

    traces: list[Trace]
    predictors: Predictors | None


@dataclass(frozen=True)
class Picture:
    """An inline SVG."""

    id: str
    label: str
    """What it shows, for those who do not see it."""

    caption: str
    """What it is of."""

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
    environment.filters.update(FILTERS)
    facts: dict[str, Any] = {"title": title, "version": __version__, "manifest": manifest, "digest": _digest(manifest)}
    facts.update(
        measurements=measurements,
        several_runs=several,
        predictors=predictors,
        traces=run,
        cards=_cards(manifest, timed, run),
    )
    facts.update(tradeoffs=_tradeoffs(manifest, timed), latencies=_latencies(timed), timelines=_timelines(run))
    usual = speed.usual(measurements)
    facts.update(at_usual=lambda m: words.at_usual(m, usual), speeds=_speeds(timed, usual))
    facts.update(predictions=_predictions(predictors, timed), remarks=losses.remarks(manifest) if manifest else [])
    facts.update(_delegates(timed, manifest), support=report_support.table(manifest, _digest(manifest), timed))
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
    ratio, m = max([r for r in ratios if words.common(r[1])] or ratios, key=lambda r: r[0])
    where = f"{m.delegate}, {plural(m.threads, 'thread')}"
    return ReportCell(f"{ratio:.1f}×", f"{m.recipe}, p50 {short(m.latency_quantile_ms(0.5))} ms on {where}")


def _tradeoffs(manifest: Manifest | None, timed: list[Measurement]) -> list[Picture]:
    values = {b.id: b.accuracy.value for b in manifest.branches} if manifest else {}
    known = [m for m in timed if m.bundle == _digest(manifest) and m.branch in values]
    pictures: list[Picture] = []
    for name in dict.fromkeys(device(m.device) for m in known):
        # One point per branch: the CPU if it was measured, then the fewest threads.
        order = sorted((m for m in known if device(m.device) == name), key=lambda m: (not words.common(m), m.threads))
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


def _speeds(timed: list[Measurement], usual: Usual) -> list[Picture]:
    """The anchors over time, on each device that has several looks at them."""
    pictures: list[Picture] = []
    for place, known in usual.items():
        own = [m for m in timed if speed.place_of(m.device, m.settings) == place]
        paces = sorted((p for m in own for p in m.paces if p.time_s is not None), key=lambda p: p.time_s or 0.0)
        kinds = {
            kind: [(p.time_s - paces[0].time_s, one.value_ms / ms) for p in paces
                   if p.time_s is not None and paces[0].time_s is not None and (ms := p.of(kind)) is not None]
            for kind, one in known.items()
        }  # fmt: skip
        kinds = {kind: points for kind, points in kinds.items() if len(points) > 1}
        if kinds:
            name = " ".join(filter(None, place))
            label = f"Speed of {name} over time by {plural(len(kinds), 'anchor')}, relative to its usual speed"
            caption = f"{name}: {words.wandered(speed.wandered(own, usual)[place])}."
            pictures.append(Picture(f"speeds-{len(pictures)}", label, caption, Markup(plots.speeds(kinds))))
    return pictures


def _delegates(timed: list[Measurement], manifest: Manifest | None) -> dict[str, Any]:
    """The delegates side by side, where a device has several."""
    found = report_delegates.compared(timed, _digest(manifest), manifest)
    rows = report_delegates.rows(found) if found else []
    pictures = [
        Picture(
            f"delegates-{n}",
            f"Speed of delegates against the CPU on {name}, by multiplications",
            f"{name}.",
            Markup(svg),
        )
        for n, (name, svg) in enumerate(report_delegates.pictures(found) if found else ())
    ]
    return {"delegates": found, "delegate_rows": rows, "delegate_columns": report_delegates.COLUMNS, "ratios": pictures}


def _predictions(fitted: Predictors | None, timed: list[Measurement]) -> list[Picture]:
    known = fitted.predictors if fitted else ()
    wanted = {(p.device, p.delegate, p.threads): p for p in known if p.quantity == "latency_ms"}
    points = [
        (m, wanted[_place(m)].predict(m.cost, m.precision, partitions=m.partitions))
        for m in timed
        if _place(m) in wanted
    ]
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
