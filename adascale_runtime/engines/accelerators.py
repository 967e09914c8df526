"""Branches on LiteRT's accelerators: opening them, which operators the delegate took, and how long each takes."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Optional, Tuple

from adascale_runtime.engines import litert, native_words
from adascale_runtime.engines.registry import lookup
from adascale_runtime.errors import AdaScaleError, UnknownDelegate
from adascale_runtime.seams.records import Delegation, OperatorTime

#: One row of a profile's "Run Order" table ends in the operator's origin and its index.
_ROW = re.compile(r"\[(Builtin|Delegate)\]:(\d+)\s*$")
#: Its columns: kind, start, first and mean in ms, share, cumulated share, memory, calls, name.
_TIMES = re.compile(r"^\s*(\S.*?)\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+[\d.]+%\s+[\d.]+%\s.*\[(Builtin|Delegate)\]:\d+\s*$")

#: What stands in the place of a kind where the operators of an NPU's partition were.
_PARTITION = "DELEGATE"


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


def count_dispatched(summary: str, nodes: int) -> Delegation:
    """What an NPU took, from the run order of a profile in which the built-in kernels run the rest: each of its
    partitions is one row, each operator that it left another."""
    rows = [row.group(1) for row in map(_TIMES.match, summary.split("Top by")[0].splitlines()) if row]
    left = min(nodes, sum(kind != _PARTITION for kind in rows))
    return Delegation(nodes, nodes - left, rows.count(_PARTITION))


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
    library: litert.Library, path: str, signature: str, delegate: str, operators: Optional[int] = None
) -> Tuple[Optional[Delegation], Optional[str]]:
    """What a delegate takes of a branch, or None with the reason.

    ``operators``: how many there were before the file was compiled ahead of time; None for files that were not.
    """
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
    hardware = litert.HARDWARE[record.hardware] | litert.HARDWARE["cpu"]
    counts = library.vendor(hardware) is not None  # a vendor's plugin cuts the graph itself: its parts are rows
    compiled = _accelerated(library, path, signature, hardware, kernels="builtin", profiling=counts)
    try:
        if counts:
            summary = compiled.profile(bytes(compiled.input_bytes))
            return count_dispatched(summary, operators or compiled.nodes), None
        if compiled.accelerated():
            return Delegation(compiled.nodes, compiled.nodes, 1), None
    finally:
        compiled.close()
    why = "{} did not take all of the {} operators; LiteRT does not report how many it took"
    return None, why.format(delegate, compiled.nodes)


def _accelerated(
    library: litert.Library, path: str, signature: str, hardware: int, threads: int = 1, *, kernels: str = "xnnpack",
    profiling: bool = False,
) -> litert.Compiled:  # fmt: skip
    """A branch compiled for an accelerator; what its drivers say when it fails goes into the error's sentence."""
    with native_words.held_back() as said:
        try:
            return litert.Compiled(library, path, signature, hardware, threads, kernels, profiling=profiling)
        except UnknownDelegate:
            raise
        except AdaScaleError as error:
            raise AdaScaleError(str(error).rstrip(".") + native_words.reason(said())) from None


def _refusal(library: litert.Library, path: str, signature: str, delegate: str, error: AdaScaleError) -> str:
    """Why an accelerator cannot run a branch alone: what it left to the CPU, where that can be counted."""
    hardware, file = litert.HARDWARE[lookup(delegate).hardware], os.path.basename(path)
    if library.vendor(hardware) is None:
        return "{} runs no operator of {} here ({}); is its accelerator library beside {}?".format(
            delegate, file, error, library.path
        )
    found: Optional[Delegation] = None
    with suppress(AdaScaleError):
        found = taken(library, path, signature, delegate)[0]
    if found is None or found.verdict != "partly":
        return "{} cannot run {} here ({}); choose another delegate for it.".format(delegate, file, error)
    return "{} takes {} of the {} operators of '{}' and leaves the others to the CPU; give --allow-fallback to measure it anyway.".format(  # noqa: E501
        delegate, found.delegated, found.nodes, signature
    )


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
    except UnknownDelegate:
        raise
    except AdaScaleError as error:
        raise AdaScaleError(_refusal(library, path, signature, delegate, error)) from None
    if not allow_fallback and not compiled.accelerated():
        compiled.close()
        raise AdaScaleError(
            "{} left operators of '{}' to the CPU; give --allow-fallback to measure it anyway.".format(
                delegate, signature
            )
        )
    return compiled
