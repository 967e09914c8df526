"""Progress and tables of the benchmarks: lines on standard error, plain tables on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from adascale_runtime.progress import Tick


def progress() -> Tick:
    """A tick that prints a line at each tenth of a kind of work, with the seconds since its begin."""
    begun: dict[str, float] = {}
    said: dict[str, int] = {}

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        start = begun.setdefault(what, time.monotonic())
        tenth = 10 * done // max(1, total)
        if said.get(what, -1) != tenth:
            said[what] = tenth
            spent = time.monotonic() - start
            print(f"{what}: {done} of {total}, {spent:.0f} s {f'({note})' if note else ''}".rstrip(), file=sys.stderr)

    return tick


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; the first column is left-aligned, and so are columns of words."""
    cells = [[str(value) for value in row] for row in (columns, *rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    numeric = [
        number > 0 and bool(rows) and all(row[number].lstrip("~+-<>= ")[:1].isdigit() or row[number] in ("", "-")
        for row in cells[1:])
        for number in range(len(columns))
    ]  # fmt: skip
    print(title)
    for row in (cells[0], ["-" * width for width in widths], *cells[1:]):
        aligned = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(aligned).rstrip())
    print()
