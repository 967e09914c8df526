"""``doctor``: what this machine supports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiling.doctor import Check


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at on this machine, in order."""

    checks: tuple[Check, ...]

    @property
    def lacking(self) -> tuple[Check, ...]:
        """The checks with something to do."""
        return tuple(check for check in self.checks if check.status != "ok")


def doctor() -> Diagnosis:
    """Look at versions, delegates, meters, signals, adb, drivers and portable Pythons, without importing TensorFlow.

    Returns:
        A check for each, with its status (``ok``, ``limited`` or ``missing``), what was found and what to do.
    """
    from android_harness.portable import installed
    from profiling.doctor import examine

    return Diagnosis((*examine(), *installed.checks()))
