"""Console output: progress bars on standard error, sentences, tables or JSON on standard output.

The only module of the command line that prints. Names of phones and models, paths and reasons come from outside: here
control characters are escaped (:func:`~adascale_runtime.text.printable`) and markup is not interpreted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adascale_runtime.files import codec
from adascale_runtime.progress import Tick, silent
from adascale_runtime.text import printable

if TYPE_CHECKING:
    from rich.text import Text

#: Longest text of a table cell or of a note beside a bar, and most lines of one message.
CELL, LINES = 200, 200

F = TypeVar("F", bound=Callable[..., Any])

quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress bars, no tables.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")


def output_options(command: F) -> F:
    """The options that every command with facts has."""
    return quiet_option(json_option(command))


class Number(click.FloatRange):
    """A finite number for an option, from ``min`` on; ``nan`` and ``inf`` are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def say(message: str, err: bool = False) -> None:
    """Print a message for people, a line or several, with whatever a terminal would obey escaped."""
    lines = message.split("\n")
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"... and {len(lines) - LINES + 1} lines more"]
    click.echo("\n".join(printable(line) for line in lines), err=err)


def note(sentence: str) -> None:
    """Print what a verb says on its way, on standard error."""
    say(f"note: {sentence}", err=True)


def warn(sentence: str) -> None:
    """Print what a person should know before the result, on standard error."""
    say(f"adascale: {sentence}", err=True)


def remark(sentence: str) -> None:
    """Print what a person should know beside the result, on standard error."""
    say(sentence, err=True)


def cell(value: Any) -> str:
    """A value as one line of a table, escaped and of bounded length."""
    return printable(str(value), CELL).replace("\n", "\\n").replace("\t", " ")


def _text(value: Any) -> Text:
    from rich.text import Text

    return Text(cell(value))


@contextmanager
def drawing() -> Iterator[Callable[[str], None] | None]:
    """A function that redraws a few lines on standard error again and again; None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        yield lambda lines: live.update(Text("\n".join(map(cell, lines.split("\n")))))


@contextmanager
def progress(quiet: bool) -> Iterator[Tick]:
    """A :data:`~adascale_runtime.progress.Tick` that draws bars with an estimate of the time left.

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
        TextColumn("{task.description:<20}", style="bold", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def tick(what: str, done: int, total: int, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(cell(what), total=total, note=cell(note))
            bars.update(tasks[what], completed=done, total=total, note=cell(note))

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
            say(f"{cell(what)}: {done} of {total}{left} {f'({cell(note)})' if note else ''}".rstrip(), err=True)

    return tick


def emit(value: Any) -> None:
    """Print dataclasses or plain values as JSON, in ASCII, on standard output."""
    click.echo(codec.dump(value), nl=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; the first column and texts are left-aligned, numbers right-aligned."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=_text(title), title_justify="left", title_style="bold", header_style="bold")
    for number, name in enumerate(columns):
        numeric = bool(rows) and all(
            str(row[number]).lstrip("~")[:1].isdigit() or str(row[number]) in ("-", "") for row in rows
        )
        drawn.add_column(_text(name), justify="right" if numeric and number else "left", no_wrap=number == 0)
    for row in rows:
        drawn.add_row(*map(_text, row))
    console = Console() if sys.stdout.isatty() else Console(width=150)
    console.print(drawn)


def size(count: int) -> str:
    """Bytes for people: 14.3 kB."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
