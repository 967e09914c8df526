"""Checks of .tflite files from outside: sound structure, and agreement with the manifest.

LiteRT trusts its files: an operator that reads its own output, or an offset that leads elsewhere, ends the process.
:func:`check` looks at the structure first, in some milliseconds, without LiteRT. It does not know what each operator
demands of its tensors; what passes here and crashes all the same is met by :mod:`adascale_runtime.engines.trial`.
Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

from adascale_runtime.errors import BadBundle
from adascale_runtime.files import tflite_graph
from adascale_runtime.files.tflite_bytes import Damaged, FlatTable, Reader
from adascale_runtime.files.tflite_graph import Code, FileGraph
from adascale_runtime.seams.manifest import Branch, TensorSpec
from adascale_runtime.text import excerpt

IDENTIFIER = b"TFL3"
MOST_BUFFERS, MOST_CODES, MOST_GRAPHS, MOST_SIGNATURES, MOST_METADATA = 500_000, 1000, 2000, 1000, 1000
#: By how much a file may exceed the operators and multiply-accumulates of its manifest: constants are unpacked by
#: operators that the manifest does not count, and a small network may be off by any factor.
SLACK, SLACK_OPERATORS, SLACK_MACS = 2, 500, 10**8
_DTYPES = {0: "float32", 2: "int32", 3: "uint8", 7: "int16", 9: "int8"}


class Border(NamedTuple):
    """An input or output of a signature; integers have a scale and a zero point if they stand for real numbers."""

    name: str
    shape: Tuple[int, ...]
    dtype: str
    scale: Any
    zero_point: Any


class Signature(NamedTuple):
    """What can be run by its name: ``operators`` and ``macs`` of it and of what it calls, each part counted once."""

    inputs: Tuple[Border, ...]
    outputs: Tuple[Border, ...]
    operators: int
    macs: int


def read(data: Any) -> Dict[str, Signature]:
    """The signatures of a .tflite's bytes; :class:`Damaged` says what does not hold together."""
    if len(data) < 8 or bytes(data[4:8]) != IDENTIFIER:
        raise Damaged("its identifier 'TFL3' is missing")
    try:
        return _read(Reader(data).root())
    except (struct.error, OverflowError):
        raise Damaged("it refers to data outside of the file") from None


def _read(model: FlatTable) -> Dict[str, Signature]:
    model.text(3)
    model.vector(5, 4)
    if model.vector(8, 4)[1] or model.vector(9, 4)[1]:
        raise Damaged("it stores values in other files, which is not supported")
    codes = [_code(table) for table in model.tables(1, MOST_CODES, "kinds of operators")]
    buffers = [_buffer(table) for table in model.tables(4, MOST_BUFFERS, "buffers")]
    for entry in model.tables(6, MOST_METADATA, "notes"):
        entry.text(0)
        if entry.number(1, "I") >= len(buffers):
            raise Damaged("it has metadata in a buffer that does not exist")
    tables = model.tables(2, MOST_GRAPHS, "subgraphs")
    if not tables:
        raise Damaged("it has no operators")
    names = ["subgraph {}".format(number) for number in range(len(tables))]
    graphs = [tflite_graph.read(table, codes, buffers, len(tables), name) for table, name in zip(tables, names)]
    if sum(graph.operators for graph in graphs) > tflite_graph.MOST_OPERATORS:
        raise Damaged("it has more than {} operators".format(tflite_graph.MOST_OPERATORS))
    _check_calls(graphs)
    by_key: Dict[str, Signature] = {}
    for table in model.tables(7, MOST_SIGNATURES, "signatures"):
        key, signature = _signature(table, graphs)
        if key in by_key:
            raise Damaged("it has two signatures '{}'".format(excerpt(key)))
        by_key[key] = signature
    return by_key


def _code(table: FlatTable) -> Code:
    table.number(2, "i")
    return Code(max(table.number(0, "b"), table.number(3, "i")), table.text(1))


def _buffer(table: FlatTable) -> int:
    """The bytes that a buffer holds: in the flatbuffer, or behind it in the same file."""
    start, count = table.vector(0, 1)
    offset, size = table.number(1, "Q"), table.number(2, "Q")
    if offset > 1 and size:
        if count or offset + size > table.reader.size:
            raise Damaged("one of its buffers is outside of the file")
        return int(size)
    if start % 4:
        raise Damaged("one of its buffers is not aligned")
    return count


def _check_calls(graphs: Sequence[FileGraph]) -> None:
    """Refuse subgraphs that call each other in a circle, or so often that a run would not end."""
    operators: Dict[int, int] = {}
    begun: Set[int] = set()
    stack = list(range(len(graphs)))
    while stack:
        index = stack[-1]
        missing = [call for call in graphs[index].calls if call not in operators]
        if index not in operators and missing:
            if index in begun or index in missing:
                raise Damaged("subgraph {} calls itself".format(index))
            begun.add(index)
            stack += missing
            continue
        stack.pop()
        operators[index] = graphs[index].operators + sum(operators[call] for call in graphs[index].calls)
        if operators[index] > tflite_graph.MOST_OPERATORS:
            raise Damaged("subgraph {} runs more than {} operators".format(index, tflite_graph.MOST_OPERATORS))


def _reached(graphs: Sequence[FileGraph], first: int) -> Set[int]:
    """The subgraphs that a run of one may reach."""
    reached, stack = {first}, [first]
    while stack:
        new = set(graphs[stack.pop()].calls) - reached
        reached |= new
        stack += new
    return reached


def _signature(table: FlatTable, graphs: Sequence[FileGraph]) -> Tuple[str, Signature]:
    key, index = _word(table.text(2)), table.number(4, "I")
    if index >= len(graphs):
        raise Damaged("the signature '{}' runs a part of the file that does not exist".format(excerpt(key)))
    graph = graphs[index]
    ends = []
    for field, allowed in ((0, graph.inputs), (1, graph.outputs)):
        entries = table.tables(field, len(allowed), "inputs or outputs of a signature")
        borders = tuple(_border(entry, graph, allowed, key) for entry in entries)
        if len({border.name for border in borders}) != len(borders):
            raise Damaged("the signature '{}' uses a name twice".format(excerpt(key)))
        ends.append(borders)
    reached = [graphs[number] for number in _reached(graphs, index)]
    return key, Signature(ends[0], ends[1], sum(g.operators for g in reached), sum(g.macs for g in reached))


def _border(entry: FlatTable, graph: FileGraph, allowed: Sequence[int], key: str) -> Border:
    name, index = _word(entry.text(0)), entry.number(1, "I")
    if index not in allowed:
        raise Damaged("the signature '{}' names a tensor that is not an input or output".format(excerpt(key)))
    tensor = graph.tensors[index]
    dtype = _DTYPES.get(tensor.kind, "type {}".format(tensor.kind))
    if dtype == "float32" or tensor.scale is None:
        return Border(name, tensor.shape, dtype, None, None)
    return Border(name, tensor.shape, dtype, tensor.scale, tensor.zero_point)


def _word(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged("one of its names is not text") from None


_SEEN: Dict[str, Dict[str, Signature]] = {}


def signatures(path: Path, sha256: str) -> Dict[str, Signature]:
    """The signatures of a file that is known to have that sum; :class:`BadBundle` if it does not hold together."""
    if sha256 not in _SEEN:
        try:
            with open(str(path), "rb") as file:
                if not path.stat().st_size:
                    raise Damaged("it is empty")
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    _SEEN[sha256] = read(data)
        except OSError as error:
            raise BadBundle("{} cannot be read ({}).".format(path, error.strerror or error)) from None
        except Damaged as error:
            raise BadBundle(
                "{} is not a usable .tflite file: {}; copy or build the bundle again.".format(path, error)
            ) from None
    return _SEEN[sha256]


def check(root: Path, branches: "Sequence[Branch]", sums: Dict[str, str]) -> None:
    """Check the files of branches, and that each is what the manifest says of it; :class:`BadBundle` if not.

    ``sums``: the sha256 of each path of the bundle, which has been verified.
    """
    for branch in branches:
        # A compiled file holds the vendor's code in the place of operators, behind the same border.
        for one in (branch, *(replace(branch, file=compiled.file) for compiled in branch.compiled)):
            _check(root, one, sums[one.file])


def _check(root: Path, branch: "Branch", sha256: str) -> None:
    there = signatures(root / branch.file, sha256)
    if branch.signature not in there:
        raise _other(branch, "it has no signature '{}'".format(excerpt(branch.signature)))
    signature = there[branch.signature]
    for noun, ends, wanted in (
        ("input", signature.inputs, branch.input),
        ("output", signature.outputs, branch.output),
    ):
        if len(ends) != 1:
            raise _other(branch, "it has {} {}s instead of one".format(len(ends), noun))
        _compare(branch, noun, ends[0], wanted)
    _check_work(branch, signature)


def check_inputs(branches: "Sequence[Branch]") -> None:
    """Refuse branches that cannot all answer the same input: micro-kernels may differ, those of a network may not."""
    for branch in branches:
        if branch.input.shape != branches[0].input.shape:
            raise BadBundle(
                "The branches '{}' and '{}' take inputs of different shapes; build the bundle again.".format(
                    excerpt(branches[0].id), excerpt(branch.id)
                )
            )


def _compare(branch: "Branch", noun: str, actual: Border, wanted: "TensorSpec") -> None:
    pairs: List[Tuple[str, Any, Any]] = [
        ("name", actual.name, wanted.name),
        ("shape", list(actual.shape), list(wanted.shape)),
    ]
    pairs += [("dtype", actual.dtype, wanted.dtype), ("zero point", actual.zero_point, wanted.zero_point)]
    if not _close(actual.scale, wanted.scale):
        pairs.append(("scale", actual.scale, wanted.scale))
    for what, is_now, should_be in pairs:
        if is_now != should_be:
            said = "its {} has the {} {} there, and {} in the manifest"
            raise _other(branch, said.format(noun, what, excerpt(is_now), excerpt(should_be)))
    if not actual.shape or actual.shape[0] != 1 or 0 in actual.shape:
        raise _other(branch, "its {} has the shape {}, but a batch of 1 is needed".format(noun, list(actual.shape)))
    if actual.scale is not None and not 0.0 < actual.scale < float("inf"):
        raise _other(branch, "its {} has the scale {}".format(noun, actual.scale))


def _close(actual: Any, wanted: Any) -> bool:
    if actual is None or wanted is None:
        return actual is wanted
    return bool(abs(actual - wanted) <= 1e-6 * abs(actual))


def _check_work(branch: "Branch", signature: Signature) -> None:
    cost = branch.cost
    if signature.operators > SLACK * cost.ops + SLACK_OPERATORS:
        said = "it runs {} operators, and the manifest says {}"
        raise _other(branch, said.format(signature.operators, cost.ops))
    if signature.macs > SLACK * cost.macs + SLACK_MACS:
        said = "it takes {} multiply-accumulates, and the manifest says {}"
        raise _other(branch, said.format(signature.macs, cost.macs))


def _other(branch: "Branch", why: str) -> BadBundle:
    return BadBundle(
        "Branch '{}' is not what its file {} holds: {}; copy or build the bundle again.".format(
            excerpt(branch.id), excerpt(branch.file), why
        )
    )
