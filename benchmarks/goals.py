"""A quantity with its goal and what was reached, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adascale_tf.cli import console


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    quantity: str
    goal: str
    reached: float
    met: bool


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the table."""
    lines = [(row.quantity, row.goal, f"{row.reached:.3g}", "met" if row.met else "missed") for row in rows]
    console.table(title, ("quantity", "goal", "reached", ""), lines)
