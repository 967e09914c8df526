"""A line chart as SVG text: the same bytes on every machine, so that a test can hold it against the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log2

WIDTH, HEIGHT = 720, 400
#: Of the plotted area: left, top, right, bottom.
LEFT, TOP, RIGHT, BOTTOM = 56, 16, 500, 352
COLOURS = ("#d1479e", "#3b82f6", "#14a38b", "#e08a1e")
_TEXT = 'font-family="sans-serif" font-size="12" fill="#737373"'


@dataclass(frozen=True)
class Line:
    """A series of points (x, y), x above 0; drawn as dots, joined if ``joined``."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    joined: bool = True


def draw(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """A chart of percentages over percentages; the horizontal axis is logarithmic, its ticks are powers of two."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    first, last = floor(log2(min(xs))), ceil(log2(max(xs)))
    low, high = 5 * floor(min(ys) / 5), 5 * ceil(max(ys) / 5)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            round(LEFT + (log2(x) - first) / max(1, last - first) * (RIGHT - LEFT), 1),
            round(BOTTOM - (y - low) / max(1, high - low) * (BOTTOM - TOP), 1),
        )

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for power in range(first, last + 1):
        x, _ = place(2.0**power, low)
        parts.append(_tick(x, TOP, x, BOTTOM) + _text(x, BOTTOM + 16, f"{2.0**power:g}", "middle"))
    for value in range(low, high + 1, 5):
        _, y = place(2.0**first, value)
        parts.append(_tick(LEFT, y, RIGHT, y) + _text(LEFT - 6, y + 4, str(value), "end"))
    for number, line in enumerate(lines):
        places = [place(x, y) for x, y in sorted(line.points)]
        if line.joined:
            path = " ".join(f"{x},{y}" for x, y in places)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-dasharray="5 3"/>')
        parts += [_dot(x, y, line) for x, y in places]
        height = TOP + 10 + 22 * number
        parts.append(_dot(RIGHT + 20, height - 4, line) + _text(RIGHT + 32, height, line.name, "start"))
    parts.append(_text((LEFT + RIGHT) / 2, HEIGHT - 12, x_label, "middle"))
    middle = (TOP + BOTTOM) / 2
    parts.append(f'<g transform="rotate(-90 14 {middle:g})">{_text(14, middle, y_label, "middle")}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _tick(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#a3a3a3" stroke-opacity="0.35"/>'


def _text(x: float, y: float, content: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {_TEXT}>{escape(content)}</text>'


def _dot(x: float, y: float, line: Line) -> str:
    """A ring for a point of a joined line, a disc for one that stands alone."""
    fill = "none" if line.joined else line.colour
    return f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="{fill}" stroke="{line.colour}" stroke-width="1.5"/>'
