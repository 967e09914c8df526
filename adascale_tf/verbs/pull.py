"""``pull``: fetch what the agent measured in Termux."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adascale_tf.verbs import given
from adascale_tf.verbs.profile import Measured

if TYPE_CHECKING:
    from adascale_runtime.seams.bundle import Bundle

_UNFINISHED = "The work in Termux is not finished, so its files stay; pull again when it is."


def pull(
    bundle: Bundle | str | Path,
    address: str,
    *,
    out: str | Path | None = None,
    key: str | Path | None = None,
    clean: bool = False,
) -> Measured:
    """Fetch what the agent measured in Termux.

    Args:
        bundle: The bundle that was measured, or its path.
        address: ``HOST:PORT``, ``usb`` or ``usb:SERIAL``.
        out: Append to this file (JSON lines) those measurements that it does not hold yet.
        key: The RSA key that the phone knows. Default: adb's own.
        clean: Then remove what was brought to the phone's storage, if the work there is finished.

    Returns:
        All that was measured there; what was not, and why, is among its ``problems``.

    Raises:
        BadInput: The plan on the phone is of another bundle.
        AdaScaleError: The phone is not there.
    """
    from adascale_runtime.seams import speed
    from android_harness import keys, phone_facts, termux
    from android_harness.adb import connect, parse_address
    from profiling import cells

    opened, path = given.bundle_of(bundle), given.path_of(out)
    with connect(parse_address(address), keys.load(given.path_of(key))[0]) as adb:
        pulled = termux.pull(adb, phone_facts.identity(phone_facts.read(adb)), opened)
        new = pulled.measurements if path is None else termux.new(pulled.measurements, path)
        if new and path is not None:
            cells.append(path, new)
        if clean and not pulled.unfinished:
            termux.clean(adb)
    notes = (_UNFINISHED,) if clean and pulled.unfinished else ()
    fresh = bool(new) or not pulled.measurements
    usual = speed.usual(pulled.measurements)
    return Measured(tuple(pulled.measurements), tuple(pulled.missing), notes, path, fresh, usual)
