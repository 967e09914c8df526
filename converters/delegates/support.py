"""What a delegate will take of a .tflite: operator by operator, and as manifests tell it. Pure: no delegate runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from adascale_runtime.device.nnapi import LEVELS
from adascale_runtime.seams.support import Refusal, Support
from converters import graphs
from converters.delegates import gpu as _gpu  # noqa: F401  (declares its tables)
from converters.delegates import gpu_classic as _gpu_classic  # noqa: F401
from converters.delegates import nnapi as _nnapi  # noqa: F401
from converters.delegates import npu as _npu  # noqa: F401
from converters.delegates import xnnpack as _xnnpack  # noqa: F401
from converters.delegates.operator import File, Operator, Subgraph, read
from converters.delegates.table import TABLES, Table, known, lookup
from converters.kernel_classes import pieces

#: The metadata in which TensorFlow's converter says which runtime a file needs.
_MIN_RUNTIME = "min_runtime_version"
_SMALLER = "a smaller piece than what is taken"


@dataclass(frozen=True)
class Verdict:
    """What a delegate does with one operator."""

    operator: Operator
    taken: bool
    #: Why it is not taken, as part of a sentence; "" if it is.
    reason: str
    #: Where the rule comes from.
    source: str


def verdicts(model: bytes, signature: str, delegate: str) -> tuple[Verdict, ...]:
    """Whether a delegate takes each operator of a signature, in the file's order.

    Raises:
        BadInput: It is no .tflite, it is damaged, it lacks the signature, or there is no table for the delegate.
    """
    table, file = lookup(delegate), read(model, signature)
    return tuple(verdict for part in _judged(table, file) for verdict in part[0])


def support(model: bytes, signature: str, delegate: str) -> Support:
    """What a delegate takes of a signature.

    Raises:
        BadInput: See :func:`verdicts`.
    """
    return _support(lookup(delegate), read(model, signature))


def several(model: bytes, signature: str, delegates: Iterable[str]) -> tuple[Support, ...]:
    """What delegates take of a signature, by their names; those that there is no table for are left out.

    Raises:
        BadInput: It is no .tflite, it is damaged, or it lacks the signature.
    """
    tables = [lookup(name) for name in sorted(delegates) if known(name)]
    if not tables:
        return ()
    file = read(model, signature)
    return tuple(_support(table, file) for table in tables)


def names() -> tuple[str, ...]:
    """The delegates that there are tables for, each under one name."""
    return tuple(sorted(TABLES))


def _support(table: Table, file: File) -> Support:
    parts = _judged(table, file)
    found = [verdict for judged, _ in parts for verdict in judged]
    refused = Counter((v.operator.kind, v.reason) for v in found if not v.taken)
    warnings = (row.reason(file) for row in table.warnings)
    taken = sum(v.taken for v in found)
    return Support(
        table.delegate,
        operators=len(found),
        taken=taken,
        partitions=sum(count for _, count in parts),
        refusals=tuple(Refusal(kind, reason, count) for (kind, reason), count in refused.items()),
        warnings=tuple(warning for warning in warnings if warning) if taken else (),
    )


def api_level(model: bytes, signature: str, delegate: str = "nnapi") -> int | None:
    """The least API level of Android at which NNAPI takes all of a signature; None if none does, or for others.

    Raises:
        BadInput: See :func:`verdicts`.
    """
    if delegate != "nnapi":
        return None
    file = read(model, signature)
    whole = (level for name, level in LEVELS.items() if _support(lookup(f"nnapi:{name}"), file).whole)
    return next(whole, None)


def check(delegates: Iterable[str]) -> None:
    """Refuse a delegate that there is no table for; :class:`BadInput` lists those that there are."""
    for name in delegates:
        lookup(name)


def min_runtime(model: bytes) -> str:
    """The version of TensorFlow that the file's operators need, as its converter noted it: "2.14.0"; "" if it did not.

    Raises:
        BadInput: It is no .tflite, or it is damaged.
    """
    tree = graphs.parse(model)
    for entry in tree.metadata or []:
        if entry.name in (_MIN_RUNTIME, _MIN_RUNTIME.encode()) and 0 <= entry.buffer < len(tree.buffers or []):
            data = tree.buffers[entry.buffer].data
            words = bytes(data).split(b"\0")[0].decode("ascii", "replace") if data is not None else ""
            return words if words.replace(".", "").isdigit() else ""
    return ""


def _judged(table: Table, file: File) -> list[tuple[list[Verdict], int]]:
    """For each subgraph its operators' verdicts, and in how many pieces they are taken."""
    for row in table.files:
        if reason := row.reason(file):
            return [([Verdict(o, False, reason, row.source) for o in g.operators], 0) for g in file.subgraphs]
    return [_cut(table, graph, [_judge(table, o) for o in graph.operators]) for graph in file.subgraphs]


def _judge(table: Table, operator: Operator) -> Verdict:
    reason, source = table.judge(operator)
    return Verdict(operator, not reason, reason, source)


def _cut(table: Table, graph: Subgraph, judged: list[Verdict]) -> tuple[list[Verdict], int]:
    """The verdicts after a delegate has left the pieces that are too small or too many for it."""
    found = pieces(graph.edges, [v.taken for v in judged])
    kept = sorted((p for p in found if len(p) >= table.least_piece), key=len, reverse=True)
    kept = kept[: table.pieces] if table.pieces else kept
    inside = {index for piece in kept for index in piece}
    left = [
        Verdict(v.operator, False, _SMALLER, table.version) if v.taken and n not in inside else v
        for n, v in enumerate(judged)
    ]
    return left, len(kept)
