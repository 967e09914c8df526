"""``inspect``: what a bundle holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adascale_runtime.seams import losses
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Manifest
from adascale_tf.verbs.given import bundle_of


@dataclass(frozen=True)
class Inspection:
    """A bundle's manifest, and what a person should know of it."""

    manifest: Manifest
    #: A sentence for each branch that lost much, was left out, or stands far below the others.
    remarks: tuple[str, ...]


def inspect(path: str | Path | Bundle) -> Inspection:
    """Open a bundle, check that it is whole, and say what it holds.

    Args:
        path: the bundle's folder or .zip, or an opened one.

    Raises:
        BadBundle: it is damaged or foreign.
    """
    manifest = bundle_of(path).manifest
    return Inspection(manifest, tuple(losses.remarks(manifest)))
