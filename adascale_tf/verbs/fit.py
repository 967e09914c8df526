"""``fit``: predictors from measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from adascale_tf.verbs.profile import Measured

if TYPE_CHECKING:
    from adascale_runtime.seams.predictors import Predictors
    from adascale_runtime.seams.records import Measurement

#: Measurements in any of the forms that they come in.
Source = Measured | Path | str


def fit(
    measured: Source | Iterable[Source | Measurement], *, share: str = "none", out: str | Path | None = None
) -> Predictors:
    """Fit predictors of latency, memory and energy, each with the error on branches that it did not see.

    Args:
        measured: What :func:`~adascale_tf.verbs.profile.profile` gave, measurements, paths of their files, or several
            of these. Of a cell that was measured several times, the last counts.
        share: ``"model"``: phones of a model count as one device, as in a fleet that shares; ``"none"``: each phone for
            itself.
        out: Write the predictors to this file, too.

    Returns:
        The predictors, for :class:`~adascale_runtime.session.Session` and ``search``.

    Raises:
        BadInput: A file is none of measurements, or there are too few of them.
    """
    from adascale_runtime.files import codec
    from adascale_runtime.seams import records
    from profiling import fit as fitting

    fitted = fitting.fit(records.latest(list(measurements_of(measured))), share)
    if out is not None:
        codec.write_text(Path(out), codec.dump(fitted))
    return fitted


def measurements_of(measured: Source | Iterable[Source | Measurement]) -> Iterator[Measurement]:
    """All measurements that an argument stands for, in order.

    Raises:
        BadInput: A file is none of measurements.
    """
    from adascale_runtime.seams import records

    for source in [measured] if isinstance(measured, (Measured, str, Path)) else measured:
        if isinstance(source, Measured):
            yield from source.measurements
        elif isinstance(source, (str, Path)):
            yield from records.runs([Path(source)])
        else:
            yield source
