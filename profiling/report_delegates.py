"""The report's section on delegates: the comparison as rows of a table and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from adascale_runtime.seams.manifest import Manifest
from adascale_runtime.seams.records import Measurement
from profiling import comparison, plots
from profiling import report_words as words
from profiling.comparison import Compared, Comparison, Entry
from profiling.report_words import ReportCell, short

_COLOURS = (plots.PRECISION_COLOURS["float32"], plots.PRECISION_COLOURS["dynamic"], *plots.OTHER_COLOURS)


@dataclass(frozen=True)
class Row:
    """A delegate on a branch, as it is shown."""

    branch: str
    device: str
    delegate: str
    best: bool
    cells: tuple[ReportCell, ...]


#: The columns of the cells.
COLUMNS = (
    "p50 ms", "times the CPU's speed", "verdict", "outputs", "took", "promised", "load ms", "first ms", "memory MB",
    "energy mJ",
)  # fmt: skip


def compared(measurements: Sequence[Measurement], digest: str, manifest: Manifest | None) -> Comparison | None:
    """The comparison of what a report shows; None where no device has several delegates."""
    found = comparison.compare(measurements, {digest: manifest} if manifest else {})
    return found if any(entry.delegate != "cpu" for one in found.branches for entry in one.entries) else None


def rows(found: Comparison) -> list[Row]:
    """The rows of the table, by device and multiplications."""
    ordered = sorted(found.branches, key=lambda one: (one.device, one.affinity, one.macs))
    return [
        Row(
            one.recipe, " ".join(filter(None, (one.device, one.affinity))), entry.name, entry is one.best, _cells(entry)
        )
        for one in ordered
        for entry in one.entries
    ]


def _cells(entry: Entry) -> tuple[ReportCell, ...]:
    absent = entry.reason or "it was not measured"
    against, taken, promise = entry.speedup, entry.delegation, entry.promise
    times = ReportCell(None, reason="it is what others are compared with" if entry.verdict == "baseline" else absent)
    if against is not None:
        how = "pairs of rounds" if against.paired else "rounds, unpaired"
        times = ReportCell(
            short(against.value), f"{short(against.low)} to {short(against.high)}, {against.rounds} {how}"
        )
    said = {True: "right", False: "wrong", None: None}[entry.right]
    took = ReportCell(None, reason=promise.words or "the delegate does not tell")
    if taken is not None:
        took = ReportCell(taken.verdict, f"{taken.delegated}/{taken.nodes} in {taken.partitions}")
    told = ReportCell(None, reason=promise.words)
    if promise.support is not None:
        told = ReportCell(
            promise.support.words, {True: "as measured", False: "not as measured", None: ""}[promise.kept]
        )
    return (
        ReportCell(None if entry.median_ms is None else short(entry.median_ms), reason=absent), times,
        ReportCell(entry.verdict, entry.reason),
        ReportCell(said, entry.outputs, entry.outputs) if said else ReportCell(None, reason=entry.outputs), took, told,
        _number(entry.load_ms), _number(entry.first_ms), _number(entry.memory_mb),
        ReportCell(None, reason=absent) if entry.energy is None else words.energy(entry.energy),
    )  # fmt: skip


def _number(value: float | None) -> ReportCell:
    return ReportCell(None if value is None else short(value), reason="it was not measured")


def pictures(found: Comparison) -> list[tuple[str, str]]:
    """Each device that has delegates to compare, with its figure as SVG."""
    drawn = []
    for place in dict.fromkeys((one.device, one.affinity) for one in found.branches):
        points: dict[str, list[tuple[Compared, Entry]]] = {}
        for one in found.branches:
            for entry in one.entries if (one.device, one.affinity) == place else ():
                if entry.speedup is not None and one.macs > 0:
                    points.setdefault(entry.name, []).append((one, entry))
        if points:
            drawn.append((" ".join(filter(None, place)), ratios(points)))
    return drawn


@plots.drawn
def ratios(points: Mapping[str, Sequence[tuple[Compared, Entry]]]) -> Figure:
    """How many times as fast as the CPU each delegate is, with its interval, against the branch's multiplications.

    Hollow: outputs are wrong or were not compared.
    """
    axes = (figure := Figure(figsize=(9.6, 4.2), layout="constrained")).add_subplot()
    keys = []
    for number, (name, several) in enumerate(points.items()):
        colour, marker = _COLOURS[number % len(_COLOURS)], plots.MARKERS[number % len(plots.MARKERS)]
        keys.append(Line2D([], [], ls="", marker=marker, color=colour, label=name))
        for one, entry in several:
            if (against := entry.speedup) is not None:
                ends = [[against.value - against.low], [against.high - against.value]]
                inside = colour if entry.right else "none"
                axes.errorbar(one.macs / 1e6, against.value, yerr=ends, color=colour, marker=marker, mfc=inside, ms=6,
                              capsize=2.5, ls="", alpha=0.9)  # fmt: skip
    axes.axhline(1.0, color=plots.INK, lw=1.2)
    axes.set(xscale="log", yscale="log", xlabel="multiply-accumulates of the branch, millions")
    axes.set_ylabel("times the CPU's speed")
    told = [entry.speedup for _, entry in chain.from_iterable(points.values()) if entry.speedup is not None]
    spread = max(1.0, *(r.high for r in told)) / min(1.0, *(r.low for r in told))
    for axis, wide in ((axes.xaxis, True), (axes.yaxis, spread > 100)):
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if wide else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    figure.legend(handles=keys, loc="outside upper left", ncols=min(6, len(keys)))
    return figure
