"""What a benchmark shows: tables on standard output, and how far it is on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adascale_runtime.progress import Tick, silent


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; the first column and texts are left-aligned, numbers right-aligned."""
    drawn = Table(title=Text(title), title_justify="left", title_style="bold", header_style="bold")
    for number, name in enumerate(columns):
        cells = [str(row[number]) for row in rows]
        numeric = bool(cells) and all(cell.lstrip("~")[:1].isdigit() or cell in ("-", "") for cell in cells)
        drawn.add_column(Text(name), justify="right" if numeric and number else "left", no_wrap=number == 0)
    for row in rows:
        drawn.add_row(*(Text(str(value)) for value in row))
    (Console() if sys.stdout.isatty() else Console(width=140)).print(drawn)


@contextmanager
def progress(quiet: bool) -> Iterator[Tick]:
    """A :data:`~adascale_runtime.progress.Tick` that prints a line at each tenth of a kind of work."""
    said: dict[str, int] = {}

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        tenth = 10 * done // max(1, total)
        if said.get(what, -1) < tenth:
            said[what] = tenth
            print(f"{what}: {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)

    yield silent if quiet else tick
