"""``inspect``: what a bundle holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adascale_runtime.seams import losses
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Manifest
from adascale_runtime.seams.support import Support
from adascale_tf.verbs.given import bundle_of

if TYPE_CHECKING:
    from converters.delegates.support import Verdict


@dataclass(frozen=True)
class Inspection:
    """A bundle's manifest, and what a person should know of it."""

    manifest: Manifest
    #: A sentence for each branch that lost much, was left out, or stands far below the others.
    remarks: tuple[str, ...]
    #: What each delegate that was asked for takes of each branch, by the branch's id.
    support: dict[str, tuple[Support, ...]] = field(default_factory=dict)


def inspect(path: str | Path | Bundle, *, delegates: str | Sequence[str] = ()) -> Inspection:
    """Open a bundle, check that it is whole, and say what it holds.

    Args:
        path: the bundle's folder or .zip, or an opened one.
        delegates: say what these will take of each branch, known from its file alone: "gpu", or a variant such as
            "gpu:classic" or "nnapi:1.2".

    Raises:
        BadBundle: it is damaged or foreign.
        BadInput: nothing is known of a delegate.
    """
    opened = bundle_of(path)
    support: dict[str, tuple[Support, ...]] = {}
    if delegates:
        from adascale_tf.verbs.targets import named
        from converters.delegates import support as tables

        names = named(delegates)
        for branch in opened.manifest.branches:
            model = opened.path(branch.file).read_bytes()
            support[branch.id] = tuple(tables.support(model, branch.signature, name) for name in names)
    return Inspection(opened.manifest, tuple(losses.remarks(opened.manifest)), support)


def operators_of(path: str | Path | Bundle, branch: str, delegate: str) -> tuple[Verdict, ...]:
    """Whether a delegate takes each operator of a branch, and why not.

    Args:
        path: the bundle's folder or .zip, or an opened one.
        branch: the branch's id.
        delegate: the delegate, or a variant of it.

    Raises:
        BadBundle: the bundle is damaged or foreign.
        BadInput: it has no such branch, or nothing is known of the delegate.
    """
    from converters.delegates import support as tables

    opened = bundle_of(path)
    entry = opened.manifest.branch(branch)
    return tables.verdicts(opened.path(entry.file).read_bytes(), entry.signature, delegate)
