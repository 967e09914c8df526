"""What a person sees: progress bars on standard error, tables or JSON on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from adascale_tf import codec
from adascale_tf.progress import Tick, silent

F = TypeVar("F", bound=Callable[..., Any])

quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress bars, no tables.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")


def output_options(command: F) -> F:
    """The options that every command with facts has."""
    return quiet_option(json_option(command))


@contextmanager
def progress(quiet: bool) -> Iterator[Tick]:
    """A :data:`~adascale_tf.progress.Tick` that draws bars with an estimate of the time left.

    Silent when asked, or when standard error is no terminal (then one line says when each kind of work begins).
    """
    if quiet:
        yield silent
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("[bold]{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def tick(what: str, done: int, total: int, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, note=note)
            bars.update(tasks[what], completed=done, total=total, note=note)

        yield tick


def _lines() -> Tick:
    """Progress for logs: a line at each tenth of a kind of work, with an estimate of the time left."""
    import time

    begun: dict[str, tuple[float, int]] = {}
    said: dict[str, int] = {}

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        start, first = begun.setdefault(what, (now, done))
        tenth = 10 * done // max(1, total)
        if said.get(what, -1) < tenth:
            said[what] = tenth
            rate = (now - start) / (done - first) if done > first else None
            left = "" if rate is None else f", about {rate * (total - done):.0f} s left"
            click.echo(f"{what}: {done} of {total}{left} {f'({note})' if note else ''}".rstrip(), err=True)

    return tick


def emit(value: Any) -> None:
    """Print dataclasses or plain values as JSON on standard output."""
    click.echo(codec.dump(value), nl=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; the first column and texts are left-aligned, numbers right-aligned."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for number, name in enumerate(columns):
        numeric = bool(rows) and all(
            str(row[number]).lstrip("~")[:1].isdigit() or str(row[number]) in ("-", "") for row in rows
        )
        drawn.add_column(name, justify="right" if numeric and number else "left", no_wrap=number == 0)
    for row in rows:
        drawn.add_row(*[str(cell) for cell in row])
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(drawn)


def size(count: int) -> str:
    """Bytes for people: 14.3 kB."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
