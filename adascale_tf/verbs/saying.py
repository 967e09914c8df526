"""Notes of a verb to its caller: one function type, and a silent default."""

from __future__ import annotations

from collections.abc import Callable

#: Takes one sentence that a person should read, such as what was left out of the data.
Say = Callable[[str], None]


def unsaid(sentence: str) -> None:
    """The default: say nothing."""
