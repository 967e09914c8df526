"""A quantity with its goal and what was reached, as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import console


@dataclass(frozen=True)
class Row:
    """A line of the table.

    ``reached``: the middle of ``values``, one a repeat; ``worst``: the one that is furthest on the wrong side. A
    quantity that was measured once has neither.
    """

    quantity: str
    goal: str
    reached: float
    met: bool
    worst: float | None = None
    values: tuple[float, ...] = ()


def repeated(quantity: str, goal: str, values: Sequence[float]) -> Row:
    """A line of several repeats. ``goal`` starts with ``<=``, ``<``, ``>=`` or ``>`` and a number in the values' unit.

    The goal counts as met only if the worst repeat meets it.
    """
    found = re.match(r"([<>]=?) *([-+]?[\d.]+)", goal)
    if found is None:
        raise ValueError(f"{goal!r} is no goal with a limit")
    low, limit = found.group(1).startswith("<"), float(found.group(2))
    worst = max(values) if low else min(values)
    met = (worst < limit if low else worst > limit) or ("=" in found.group(1) and worst == limit)
    return Row(quantity, goal, median(values), met, worst, tuple(values))


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the table."""
    lines = [
        (
            row.quantity, row.goal, f"{row.reached:.3g}", "" if row.worst is None else f"{row.worst:.3g}",
            max(1, len(row.values)), "met" if row.met else "missed",
        )
        for row in rows
    ]  # fmt: skip
    console.table(title, ("quantity", "goal", "middle", "worst", "repeats", ""), lines)
