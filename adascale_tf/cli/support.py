"""Tables of what delegates will take of a bundle's branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adascale_tf.cli import console

if TYPE_CHECKING:
    from adascale_tf.verbs.inspect import Inspection
    from converters.delegates.support import Verdict


def show(inspection: Inspection, name: str, as_json: bool) -> None:
    """A row for each branch, a column for each delegate; warnings and versions below."""
    if as_json:
        console.emit(inspection.support)
        return
    delegates = [one.delegate for one in next(iter(inspection.support.values()))]
    oldest = {b.id: b.min_runtime for b in inspection.manifest.branches}
    rows = [
        (branch, *(_cell(one.words, one.warnings) for one in found), oldest[branch] or "-")
        for branch, found in inspection.support.items()
    ]
    console.table(f"What delegates will take of {name}", ("branch", *delegates, "TensorFlow Lite from"), rows)
    warnings = {
        (one.delegate, words) for found in inspection.support.values() for one in found for words in one.warnings
    }
    for delegate, words in sorted(warnings):
        console.say(f"* {delegate}: {words}.")


def _cell(words: str, warnings: Sequence[str]) -> str:
    return f"{words} *" if warnings else words


def show_operators(found: Mapping[str, Mapping[str, Sequence[Verdict]]], as_json: bool) -> None:
    """A row for each operator of each branch, a column for each delegate."""
    if as_json:
        console.emit(
            {branch: {name: list(map(_facts, each)) for name, each in of.items()} for branch, of in found.items()}
        )
        return
    for branch, verdicts in found.items():
        first = next(iter(verdicts.values()))
        rows = [
            (v.operator.index, v.operator.kind, _shapes(v),
             *("yes" if each[n].taken else each[n].reason for each in verdicts.values()))
            for n, v in enumerate(first)
        ]  # fmt: skip
        console.table(f"Operators of {branch}", ("", "operator", "input", *verdicts), rows)


def _shapes(verdict: Verdict) -> str:
    variable = verdict.operator.variables
    return ", ".join(f"{t.dtype} {'x'.join(map(str, t.shape))}" for t in variable[:2])


def _facts(verdict: Verdict) -> dict[str, Any]:
    return {
        "operator": verdict.operator.index, "kind": verdict.operator.kind, "version": verdict.operator.version,
        "taken": verdict.taken, "reason": verdict.reason, "source": verdict.source,
    }  # fmt: skip
