"""The report's figures as SVG text, and the pure functions below them (Pareto front, thinning).

Ink, grid and muted text become CSS colours of the page that the SVG stands in, so that one drawing reads on light and
dark alike; text stays text, so that it can be searched and selected.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.records import Measurement

P = ParamSpec("P")
Points = Sequence[tuple[float, float]]

PRECISION_COLOURS = {"float32": "#3b82f6", "float16": "#14a38b", "dynamic": "#e08a1e", "int8": "#d1479e"}
OTHER_COLOURS = ("#8b5cf6", "#64748b", "#84a817", "#0ea5e9")
ACCENT, MISSED = "#3b82f6", "#e5484d"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Stand-ins that no drawing uses otherwise; they are replaced by the page's own colours.
INK, MUTED, LINE = "#010203", "#040506", "#070809"
CSS = {INK: "currentColor", MUTED: "var(--muted)", LINE: "var(--line)"}

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), MUTED),
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), LINE),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **{"font.size": 9.5, "legend.fontsize": 9, "grid.linewidth": 0.7, "text.color": INK},
    **{"svg.fonttype": "none", "svg.hashsalt": "adascale"},
    # A name with a dollar sign is a name, not mathematics.
    "text.parse_math": False,
}


def pareto_front(points: Points) -> list[int]:
    """Indices of the ``(cost, value)`` points that no other dominates, by rising cost; equal points stay together.

    A point dominates another if it costs no more, is worth no less, and differs. Points with a NaN are never on it.
    """
    known = [i for i, (cost, value) in enumerate(points) if not (math.isnan(cost) or math.isnan(value))]
    front: list[int] = []
    for i in sorted(known, key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front


def thin(values: Sequence[float], limit: int) -> list[int]:
    """At most ``limit`` indices of ``values`` in order: the smallest and the largest of each of equally long pieces."""
    if len(values) <= limit:
        return list(range(len(values)))
    array = np.asarray(values, float)
    kept: set[int] = set()
    for piece in np.array_split(np.arange(len(array)), max(1, limit // 2)):
        kept.update((int(piece[np.argmin(array[piece])]), int(piece[np.argmax(array[piece])])))
    return sorted(kept)


def rolling_mean(values: Sequence[float], window: int) -> np.ndarray:
    """The mean over ``window`` neighbours around each value; at the ends over those that are there."""
    ones = np.ones(max(1, min(window, len(values))))
    array = np.asarray(values, float)
    return np.asarray(np.convolve(array, ones, "same") / np.convolve(np.ones(len(array)), ones, "same"))


def colours(precisions: Sequence[str]) -> dict[str, str]:
    """One colour per precision, the same one in every figure."""
    others = [p for p in dict.fromkeys(precisions) if p not in PRECISION_COLOURS]
    return {**PRECISION_COLOURS, **{p: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, p in enumerate(others)}}


def drawn(draw: Callable[P, Figure]) -> Callable[P, str]:
    """Make a function that draws a figure one that gives its SVG text."""

    @functools.wraps(draw)
    def svg(*args: P.args, **kwargs: P.kwargs) -> str:
        buffer = io.StringIO()
        with matplotlib.rc_context(STYLE):
            draw(*args, **kwargs).savefig(buffer, format="svg", metadata={"Date": None})
        return _inline(buffer.getvalue())

    return svg


def _inline(svg: str) -> str:
    """An SVG file as an element of a page: no prolog, no metadata, colours of the page, ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg[^>]*(viewBox="[^"]+")[^>]*>', r"<svg \1>", svg, count=1).replace("xlink:href", "href")
    for stand_in, colour in CSS.items():
        svg = svg.replace(stand_in, colour)
    prefix = f"s{zlib.crc32(svg.encode()):08x}-"
    svg = re.sub(r'(<[^<>]*? id=")', rf"\1{prefix}", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}", svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _latency_axis(axes: Axes, which: str, values: Sequence[float], label: str) -> None:
    """Logarithmic where the values span more than a factor of eight, with plain numbers at 1, 2, 5."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = min(values), max(values)
    if low > 0 and high / low > 8:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 2000 else (1.0,)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_label_text(label)


@drawn
def accuracy_latency(points: Sequence[tuple[Measurement, float]]) -> Figure:
    """Accuracy (0..1) against p50 latency of one measurement per branch, p10-p90 bars, Pareto front as a staircase."""
    axes = (figure := Figure(figsize=(9.6, 5.2), layout="constrained")).add_subplot()
    palette = colours([m.precision for m, _ in points])
    delegates = _unique(m.delegate for m, _ in points)
    xy = [(m.latency_quantile_ms(0.5), accuracy) for m, accuracy in points]
    bounds = [(m.latency_quantile_ms(0.1), m.latency_quantile_ms(0.9)) for m, _ in points]
    front = pareto_front(xy)
    axes.plot([xy[i][0] for i in front], [xy[i][1] for i in front], color=MUTED, lw=1.4, drawstyle="steps-post")
    for i, (m, _) in enumerate(points):
        x, y = xy[i]
        spread = [[x - bounds[i][0]], [bounds[i][1] - x]]
        marker = MARKERS[delegates.index(m.delegate) % len(MARKERS)]
        look: dict[str, Any] = {"ms": 8, "alpha": 1} if i in front else {"ms": 6, "alpha": 0.75}
        axes.errorbar(x, y, xerr=spread, color=palette[m.precision], marker=marker, capsize=2.5, **look)
    axes.margins(0.09, 0.14)
    _latency_axis(axes, "x", [v for b in bounds for v in b], "latency of one inference, ms (p50, bars p10 to p90)")
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    handles = [*_point_keys([m for m, _ in points], palette), Line2D([], [], color=MUTED, label="Pareto front")]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    shown = range(len(points)) if len(points) <= 24 else front
    # Places in pixels are right only after the layout has been made.
    figure.draw_without_rendering()
    _label(axes, [(*xy[i], points[i][0].recipe) for i in shown], xy, [xy[i] for i in front])
    return figure


def _label(axes: Axes, labels: Sequence[tuple[float, float, str]], points: Points, front: Points) -> None:
    """Names beside points, each at the place of a few where it covers least of points, other names and the front."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in axes.transData.transform(list(points))]
    for (x0, y0), (x1, y1) in itertools.pairwise(axes.transData.transform(list(front))):
        taken += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, y0, x1 + 1, y1)]
    frame = axes.get_window_extent()
    # Both in the pixels that the transform gives, at matplotlib's own 100 per inch.
    size, scale = 8.0, 100 / 72
    for x, y, text in sorted(labels, key=lambda item: -item[1]):
        px, py = axes.transData.transform((x, y))
        wide, high = len(text) * size * 0.62 * scale, size * 1.3 * scale
        tried = []
        for dx, dy, align in _PLACES:
            left = px + dx * scale - {"left": 0.0, "center": wide / 2, "right": wide}[align]
            box = (left, py + dy * scale - high / 2, left + wide, py + dy * scale + high / 2)
            outside = box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1
            cost = sum(_overlap(box, other) for other in taken) + (1e6 if outside else 0)
            tried.append((cost, (dx, dy), align, box))
        _, offset, align, box = min(tried, key=lambda place: place[0])
        taken.append(box)
        axes.annotate(text, (x, y), offset, textcoords="offset points", ha=align, va="center", fontsize=size)


_PLACES = [(0.0, 11.0, "center"), (0.0, -11.0, "center")]
_PLACES += [(x, y, a) for x, a in ((9.0, "left"), (-9.0, "right")) for y in (7.0, -7.0)]
_PLACES += [(x, y, a) for y in (18.0, -18.0, 26.0, -26.0, 36.0, -36.0) for x, a in ((4.0, "left"), (-4.0, "right"))]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _point_keys(measurements: Sequence[Measurement], palette: dict[str, str]) -> list[Any]:
    """Legend entries: a colour per precision and, where there are several delegates, a marker per delegate."""
    keys = [("o", c, p) for p, c in palette.items() if p in {m.precision for m in measurements}]
    delegates = _unique(m.delegate for m in measurements)
    keys += [(MARKERS[i % len(MARKERS)], MUTED, d) for i, d in enumerate(delegates) if len(delegates) > 1]
    return [Line2D([], [], ls="", marker=marker, color=colour, label=label) for marker, colour, label in keys]


@drawn
def distributions(cells: Sequence[tuple[str, Measurement]], dots: int = 6000) -> Figure:
    """Box (p25-p75), whiskers (p10-p90) and every timed run as a dot, per cell, slowest on top; thinned to ``dots``."""
    ordered = sorted(cells, key=lambda cell: cell[1].latency_quantile_ms(0.5))
    axes = (figure := Figure(figsize=(9.6, 1.3 + 0.36 * len(ordered)), layout="constrained")).add_subplot()
    palette = colours([m.precision for _, m in ordered])
    random = np.random.default_rng(0)
    for row, (_, m) in enumerate(ordered):
        colour = palette[m.precision]
        values = np.asarray(m.latency_ms)
        chosen = values[thin(m.latency_ms, max(20, min(240, dots // len(ordered))))]
        axes.scatter(chosen, row + random.uniform(-0.26, 0.26, len(chosen)), s=5, color=colour, alpha=0.45, lw=0)
        p10, p25, p50, p75, p90 = (m.latency_quantile_ms(q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
        axes.plot([p10, p90], [row, row], color=colour, lw=1.4)
        axes.barh(row, p75 - p25, left=p25, height=0.5, facecolor=colour, alpha=0.45, lw=0)
        axes.plot([p50, p50], [row - 0.3, row + 0.3], color=INK, lw=1.8)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.grid(visible=False, axis="y")
    _latency_axis(axes, "x", [v for _, m in ordered for v in m.latency_ms], "latency of one inference, ms")
    handles = [Patch(color=c, label=p) for p, c in palette.items() if p in {m.precision for _, m in ordered}]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


@drawn
def speeds(kinds: Mapping[str, Points]) -> Figure:
    """The anchors' speed, relative to the usual one, over time: ``(seconds, speed)`` by kind; with lines at ±10 %."""
    unit, unit_s = (
        ("minutes", 60.0) if max(x for points in kinds.values() for x, _ in points) > 120 else ("seconds", 1.0)
    )
    axes = (figure := Figure(figsize=(9.6, 2.6), layout="constrained")).add_subplot()
    for (kind, points), colour in zip(
        kinds.items(), (ACCENT, PRECISION_COLOURS["int8"], OTHER_COLOURS[1]), strict=False
    ):
        keep = thin([speed for _, speed in points], 600)
        x, y = [points[i][0] / unit_s for i in keep], [points[i][1] for i in keep]
        axes.plot(x, y, color=colour, lw=0.9, marker="o", ms=2, alpha=0.8, label=kind)
    for level, dashes in ((0.9, (2, 4)), (1.0, (1, 0)), (1.1, (2, 4))):
        axes.axhline(level, color=MUTED, lw=0.8, ls=(0, dashes))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel=f"time, {unit}", ylabel="speed, of\nthe usual one")
    figure.legend(loc="outside upper left", ncols=len(kinds))
    return figure


@drawn
def predictions(points: Sequence[tuple[Measurement, float]]) -> Figure:
    """Predicted against measured p50 latency (ms) with the diagonal and a band of ten percent around it."""
    axes = (figure := Figure(figsize=(6.4, 5.4), layout="constrained")).add_subplot()
    palette = colours([m.precision for m, _ in points])
    delegates = _unique(m.delegate for m, _ in points)
    measured = [m.latency_quantile_ms(0.5) for m, _ in points]
    values = [v for v in [*measured, *(p for _, p in points)] if v > 0]
    low, high = min(values) * 0.8, max(values) * 1.25
    line = np.linspace(low, high, 50)
    axes.fill_between(line, line * 0.9, line * 1.1, color=MUTED, alpha=0.16, lw=0)
    axes.plot(line, line, color=MUTED, lw=1.2)
    for (m, predicted), x in zip(points, measured, strict=True):
        marker = MARKERS[delegates.index(m.delegate) % len(MARKERS)]
        axes.plot([x], [predicted], ls="", marker=marker, ms=7.5, color=palette[m.precision], alpha=0.9)
    _latency_axis(axes, "x", values, "measured p50, ms")
    _latency_axis(axes, "y", values, "predicted, ms")
    axes.set(xlim=(low, high), ylim=(low, high))
    keys = _point_keys([m for m, _ in points], palette)
    axes.legend(handles=[*keys, Patch(color=MUTED, alpha=0.25, label="equal, ±10 %")], loc="upper left")
    return figure


@drawn
def timeline(header: Header, events: Sequence[Event], dots: int = 1500) -> Figure:
    """Load of others, latency with its budget, and the branch in use over one time axis, phases shaded."""
    times = [e.time_s for e in events]
    end = max(times[-1], times[0] + 1e-3)
    latency = [e.latency_ms for e in events]
    loads = [(e.time_s, e.context.cpu_load) for e in events if e.context and e.context.cpu_load is not None]
    speeds = {b: min(e.base_ms for e in events if e.branch == b) for b in _unique(e.branch for e in events)}
    names = sorted(speeds, key=lambda b: speeds[b])
    heights = ([1.1] if loads else []) + [2.4, max(0.7, 0.27 * len(names) + 0.2)]
    figure = Figure(figsize=(9.6, sum(heights) + 1.1), layout="constrained")
    panels = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    _shade(panels, events)
    if loads:
        keep = thin([v for _, v in loads], dots)
        x, y = [loads[i][0] for i in keep] + [times[-1]], [loads[i][1] for i in keep] + [loads[keep[-1]][1]]
        panels[0].fill_between(x, y, step="post", color=MUTED, alpha=0.35, lw=0)
        panels[0].step(x, y, where="post", color=MUTED, lw=1)
        panels[0].set(ylim=(0, 1.05), ylabel="load of\nothers")
        panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panels[0].yaxis.set_major_locator(MaxNLocator(3))
    middle, bottom = panels[-2:]
    keep = thin(latency, dots)
    for kept, colour, label in ((True, ACCENT, "inference, budget kept"), (False, MISSED, "inference, budget missed")):
        chosen = [i for i in keep if events[i].kept is kept]
        x, y = [times[i] for i in chosen], [latency[i] for i in chosen]
        middle.scatter(x, y, s=5, color=colour, alpha=0.5, lw=0, label=label if chosen else None)
    mean = rolling_mean(latency, window := max(5, len(events) // 60))
    few = thin(list(mean), dots // 2)
    middle.plot([times[i] for i in few], mean[few], color=INK, lw=1.5, label=f"mean of {window}")
    limit = header.budget.get("latency_ms")
    if limit is not None:
        middle.axhline(limit, color=MISSED, lw=1.3, ls=(0, (5, 3)), label=f"budget {limit:g} ms")
    _latency_axis(middle, "y", latency, "latency, ms")
    figure.legend(*middle.get_legend_handles_labels(), loc="outside upper left", ncols=4, markerscale=2)
    rows = [names.index(e.branch) for e in events]
    steps = [i for i, row in enumerate(rows) if i == 0 or row != rows[i - 1]] + [len(rows) - 1]
    steps = [steps[k] for k in thin([rows[i] for i in steps], dots)]
    bottom.step([times[i] for i in steps], [rows[i] for i in steps], where="post", color=ACCENT, lw=1.6)
    bottom.set_yticks(range(len(names)), names)
    bottom.set(ylim=(-0.6, len(names) - 0.4), xlabel="time since the session opened, s", xlim=(times[0], end))
    return figure


def _shade(panels: Sequence[Axes], events: Sequence[Event]) -> None:
    starts = [i for i, e in enumerate(events) if i == 0 or e.phase != events[i - 1].phase]
    for i, stop in zip(starts, [*(events[i].time_s for i in starts[1:]), events[-1].time_s], strict=True):
        phase = events[i].phase or ""
        if phase and "idle" not in phase:
            for axes in panels:
                axes.axvspan(events[i].time_s, stop, color=OTHER_COLOURS[0], alpha=0.1, lw=0)
        if phase and stop - events[i].time_s > 0.012 * len(phase) * (events[-1].time_s - events[0].time_s):
            across = panels[0].get_xaxis_transform()
            panels[0].text((events[i].time_s + stop) / 2, 1.03, phase, transform=across, ha="center")


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
