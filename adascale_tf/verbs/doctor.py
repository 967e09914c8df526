"""``doctor``: what this machine supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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


def doctor(devices: Sequence[str] = (), *, key: str | Path | None = None) -> Diagnosis:
    """Look at versions, delegates, meters, signals, adb, drivers and portable Pythons, without importing TensorFlow.

    Args:
        devices: Phones to look at as well: ``HOST:PORT``, ``usb`` or ``usb:SERIAL``.
        key: The RSA key that they know. Default: adb's own.

    Returns:
        A check for each, with its status (``ok``, ``limited`` or ``missing``), what was found and what to do.

    Raises:
        BadInput: An address or the key is wrong.
    """
    from adascale_tf.verbs.phones import devices as look
    from android_harness.portable import installed
    from profiling.doctor import examine, phone

    met = look(devices, key=key).devices if devices else ()
    phones = (phone(one.address, one.facts, one.detail or one.state) for one in met)
    return Diagnosis((*examine(), *installed.checks(), *phones))
