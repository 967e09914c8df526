"""The report's section on support: what the bundle says that delegates take of its branches, beside measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adascale_runtime.seams.manifest import Branch, Manifest
from adascale_runtime.seams.records import Measurement
from adascale_runtime.seams.support import Support
from profiling.promises import Promise, promise_of
from profiling.report_words import ReportCell


@dataclass(frozen=True)
class Row:
    """A branch, with a cell for each of :attr:`Table.delegates`."""

    branch: str
    cells: tuple[ReportCell, ...]


@dataclass(frozen=True)
class Table:
    """What each delegate takes of each branch."""

    delegates: tuple[str, ...]
    rows: tuple[Row, ...]
    #: What is known to be wrong though operators are taken: the delegate, the sentence, and the branches.
    warnings: tuple[str, ...]


def table(manifest: Manifest | None, digest: str, measured: Sequence[Measurement]) -> Table | None:
    """The table of a bundle; None where there is no bundle, or one without support tables.

    Args:
        manifest: of the bundle.
        digest: the bundle's; measurements of other bundles do not count.
        measured: what was measured on any device.
    """
    if manifest is None or not any(branch.support for branch in manifest.branches):
        return None
    names = tuple(dict.fromkeys(one.delegate for branch in manifest.branches for one in branch.support))
    found: dict[tuple[str, str], list[tuple[Measurement, Promise]]] = {}
    branches = {branch.id: branch for branch in manifest.branches}
    for m in measured:
        promise = promise_of(m, branches.get(m.branch), True)
        if m.bundle == digest and promise.support is not None:
            found.setdefault((m.branch, promise.support.delegate), []).append((m, promise))
    rows = tuple(
        Row(b.recipe, tuple(_cell(b, name, found.get((b.id, name), ())) for name in names)) for b in branches.values()
    )
    return Table(names, rows, _warnings(manifest.branches))


def _cell(branch: Branch, name: str, seen: Sequence[tuple[Measurement, Promise]]) -> ReportCell:
    known: Support | None = next((one for one in branch.support if one.delegate == name), None)
    if known is None:
        return ReportCell(None, reason="the bundle says nothing of this delegate")
    told = dict.fromkeys(_measured(m, promise) for m, promise in seen)
    words = f"{known.words} *" if known.warnings else known.words
    return ReportCell(words, "; ".join(told) if told else "not measured")


def _measured(m: Measurement, promise: Promise) -> str:
    if m.delegation is None:
        return promise.words
    if promise.kept:
        return "as measured"
    parts = "1 part" if m.delegation.partitions == 1 else f"{m.delegation.partitions} parts"
    return f"measured otherwise: {m.delegation.delegated} of {m.delegation.nodes} in {parts}"


def _warnings(branches: Sequence[Branch]) -> tuple[str, ...]:
    which: dict[tuple[str, str], list[str]] = {}
    for branch in branches:
        for one in branch.support:
            for sentence in one.warnings:
                which.setdefault((one.delegate, sentence), []).append(branch.recipe)
    return tuple(f"* {name}, {', '.join(own)}: {sentence}" for (name, sentence), own in which.items())
