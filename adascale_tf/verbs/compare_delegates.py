"""``compare_delegates``: which delegate is best for each branch, and whether it did what was known of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt
from adascale_tf.verbs import given
from adascale_tf.verbs.fit import Source, measurements_of

if TYPE_CHECKING:
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.records import Measurement
    from profiling.comparison import Comparison


def compare_delegates(
    measured: Source | Iterable[Source | Measurement],
    *,
    bundle: Bundle | str | Path | None = None,
    device: str | None = None,
) -> Comparison:
    """Compare the delegates of each branch on each device.

    How many times as fast as the CPU a delegate is comes with an interval of 95 %, from pairs of blocks of the same
    round. A delegate with wrong outputs is never the best one.

    Args:
        measured: What :func:`~adascale_tf.verbs.profile.profile` gave, measurements, paths of their files, or several
            of these. Of a cell that was measured several times, the last counts.
        bundle: The bundle that was measured, or its path: its support tables are compared with what was measured, and
            the range of its outputs tells near ties from wrong ones.
        device: Only this device: its name, serial, model or processor.

    Returns:
        Each branch with its delegates, the crossovers, and what contradicts the support tables.

    Raises:
        BadInput: A file is none of measurements, there is nothing to compare, or it is of another device or bundle.
    """
    from profiling import comparison

    found = [m for m in measurements_of(measured) if m.latency_ms and comparison.is_idle(m)]
    if not found:
        raise BadInput("There are no timed runs of branches to compare; measure some with 'adascale profile'.")
    if device is not None:
        found = _of_device(found, device)
    opened = None if bundle is None else given.bundle_of(bundle)
    if opened is not None and all(m.bundle != opened.digest for m in found):
        others = ", ".join(sorted({excerpt(m.bundle) for m in found}))
        raise BadInput(f"The measurements are of the bundle {others}, not of {opened.root} ({opened.digest}).")
    return comparison.compare(found, {} if opened is None else {opened.digest: opened.manifest})


def _of_device(found: Sequence[Measurement], wanted: str) -> list[Measurement]:
    names = ("name", "serial", "model", "soc", "board", "cpu")
    meant = [m for m in found if wanted.casefold() in {str(m.device.get(name, "")).casefold() for name in names}]
    if not meant:
        there = "; ".join(sorted({excerpt(str(m.device.get("name"))) for m in found}))
        raise BadInput(f"Nothing was measured on '{excerpt(wanted)}'; the measurements are of {there}.")
    return meant
