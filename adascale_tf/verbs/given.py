"""Normalizing arguments that verbs accept in several forms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adascale_runtime.seams.budget import Budget
    from adascale_runtime.seams.bundle import Bundle


def bundle_of(given: Bundle | str | Path) -> Bundle:
    """The bundle itself, or the one at a path.

    Raises:
        BadBundle: There is none, or it is damaged.
    """
    from adascale_runtime.seams import bundle

    return given if isinstance(given, bundle.Bundle) else bundle.load(Path(given))


def budget_of(given: Budget | str) -> Budget:
    """The budget itself, or the one that a text such as ``latency_ms=5,min_accuracy=0.9`` names.

    Raises:
        BadInput: The text is no budget.
    """
    from adascale_runtime.seams import budget

    return budget.parse(given) if isinstance(given, str) else given


def path_of(given: str | Path | None) -> Path | None:
    """A path, None where none was given."""
    return None if given is None else Path(given)
