"""Branches on LiteRT's accelerators: opening them, which operators the delegate took, and how long each takes."""

from __future__ import annotations

import os
import re
from typing import Optional, Tuple

from adascale_runtime.engines import litert, native_words
from adascale_runtime.engines.registry import lookup
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.records import Delegation, OperatorTime

#: One row of a profile's "Run Order" table ends in the operator's origin and its index.
_ROW = re.compile(r"\[(Builtin|Delegate)\]:(\d+)\s*$")
#: Its columns: kind, start, first and mean in ms, share, cumulated share, memory, calls, name.
_TIMES = re.compile(r"^\s*(\S.*?)\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+[\d.]+%\s+[\d.]+%\s.*\[(Builtin|Delegate)\]:\d+\s*$")


def count_taken(summary: str, nodes: int) -> Delegation:
    """What a delegate took, from the run order of a profile: rows of LiteRT's own operators are those it left.

    Operators of a delegate follow each other for as long as it is one partition.
    """
    order = summary.split("Top by")[0]
    rows = [row for row in map(_ROW.search, order.splitlines()) if row]
    own = {int(row.group(2)) for row in rows if row.group(1) == "Builtin" and int(row.group(2)) < nodes}
    partitions, inside = 0, False
    for row in rows:
        delegated = row.group(1) == "Delegate"
        partitions += delegated and not inside
        inside = delegated
    return Delegation(nodes, nodes - len(own), partitions)


def operator_times(summary: str) -> Tuple[OperatorTime, ...]:
    """The operators in the run order of a profile, with their mean times in milliseconds."""
    rows = map(_TIMES.match, summary.split("Top by")[0].splitlines())
    return tuple(OperatorTime(row.group(1), float(row.group(2)), row.group(3) == "Delegate") for row in rows if row)


def profile(
    library: litert.Library, path: str, signature: str, delegate: str, threads: int = 1
) -> Tuple[OperatorTime, ...]:
    """The times of a branch's operators in a run of its own.

    None for accelerators, which tell of none, and for the reference kernels, which the C library lacks.
    """
    record = lookup(delegate)
    if not record.counts_operators or record.kernels not in litert.KERNELS:
        return ()
    compiled = litert.Compiled(
        library, path, signature, litert.HARDWARE["cpu"], threads, record.kernels, profiling=True
    )
    try:
        compiled.run(bytes(compiled.input_bytes))
        return operator_times(compiled.profile(bytes(compiled.input_bytes)))
    finally:
        compiled.close()


def taken(
    library: litert.Library, path: str, signature: str, delegate: str
) -> Tuple[Optional[Delegation], Optional[str]]:
    """What a delegate takes of a branch, or None with the reason."""
    record = lookup(delegate)
    if record.counts_operators:
        kernels = record.kernels if record.kernels in litert.KERNELS else "builtin"  # neither delegates anything
        compiled = litert.Compiled(library, path, signature, litert.HARDWARE["cpu"], 1, kernels, profiling=True)
        try:
            return count_taken(compiled.profile(bytes(compiled.input_bytes)), compiled.nodes), None
        finally:
            compiled.close()
    if not record.litert:
        return None, "{} does not report which operators it took".format(delegate)
    compiled = _accelerated(library, path, signature, litert.HARDWARE[record.hardware] | litert.HARDWARE["cpu"])
    try:
        if compiled.accelerated():
            return Delegation(compiled.nodes, compiled.nodes, 1), None
    finally:
        compiled.close()
    why = "{} did not take all of the {} operators; LiteRT does not report how many it took"
    return None, why.format(delegate, compiled.nodes)


def _accelerated(
    library: litert.Library, path: str, signature: str, hardware: int, threads: int = 1
) -> litert.Compiled:
    """A branch compiled for an accelerator; what its drivers say when it fails goes into the error's sentence."""
    with native_words.held_back() as said:
        try:
            return litert.Compiled(library, path, signature, hardware, threads)
        except AdaScaleError as error:
            raise AdaScaleError(str(error).rstrip(".") + native_words.reason(said())) from None


def open_compiled(
    library: litert.Library, path: str, signature: str, delegate: str, threads: int = 1, allow_fallback: bool = False
) -> litert.Compiled:
    """Compile a branch for one of the delegates that LiteRT's C library has.

    Raises :class:`AdaScaleError` if the delegate cannot take all of it and ``allow_fallback`` is not given.
    """
    record = lookup(delegate)
    if record.hardware == "cpu":
        if record.kernels not in litert.KERNELS:
            raise AdaScaleError("LiteRT's C library has no {} kernels; use builtin.".format(record.kernels))
        return litert.Compiled(library, path, signature, litert.HARDWARE["cpu"], threads, record.kernels)
    fallback = litert.HARDWARE["cpu"] if allow_fallback else 0
    try:
        compiled = _accelerated(library, path, signature, litert.HARDWARE[record.hardware] | fallback, threads)
    except AdaScaleError as error:
        raise AdaScaleError(
            "{} runs no operator of {} here ({}); is its accelerator library beside {}?".format(
                delegate, os.path.basename(path), error, library.path
            )
        ) from None
    if not allow_fallback and not compiled.accelerated():
        compiled.close()
        raise AdaScaleError(
            "{} left operators of '{}' to the CPU; give --allow-fallback to measure it anyway.".format(
                delegate, signature
            )
        )
    return compiled
