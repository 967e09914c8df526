"""Finding cells that crash: new ones are tried in a child process before they are measured."""

from __future__ import annotations

from collections.abc import Sequence

from adascale_runtime.engines import delegates
from adascale_runtime.seams.bundle import Bundle
from profiling.cells import Cell


def find(bundle: Bundle, cells: Sequence[Cell], allow_fallback: bool = False) -> list[tuple[Cell, str]]:
    """The cells that crash or never end, each with a sentence that says so."""
    bad = []
    for name, threads in dict.fromkeys((cell.delegate, cell.threads) for cell in cells):
        members = [cell for cell in cells if (cell.delegate, cell.threads) == (name, threads)]
        crashed = delegates.examine(bundle, [cell.branch for cell in members], name, threads, allow_fallback)
        bad += [(cell, crashed[cell.branch.id]) for cell in members if cell.branch.id in crashed]
    return bad
