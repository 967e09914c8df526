"""Checks of a .tflite's subgraphs: properties of tensors and operators that LiteRT assumes without checking.

Standard library only and Python 3.8 compatible. Numbers of fields, types and operators are those of TFLite's schema
(tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from adascale_runtime.files.tflite_bytes import Damaged, FlatTable

#: Operators and tensors of all subgraphs together; an unrolled network of 128 steps has some thousands.
MOST_OPERATORS, MOST_TENSORS = 100_000, 500_000
MOST_DIMENSIONS = 8
#: Bytes of one tensor, and of all tensors that the operators of a subgraph write.
MOST_TENSOR_BYTES, MOST_WRITTEN_BYTES = 1 << 31, 1 << 32

#: Bits of an element by TensorType; strings and handles have no size of their own.
_BITS = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32, 16: 16, 17: 4, 18: 16,
    19: 2, 20: 4, 21: 8, 22: 8,
}  # fmt: skip
_STRING, _HANDLES = 5, (13, 14)
_CUSTOM = 32
#: What LiteRT's compilers for NPUs leave in a file: one operator that stands for the part they compiled.
_COMPILED = b"DISPATCH_OP"
#: Operators some of whose inputs may be left out, from which on: biases, gates of recurrent cells.
_OPTIONAL = {3: 2, 4: 2, 9: 2, 16: 1, 27: 4, 33: 2, 35: 1, 44: 1, 46: 1, 52: 1, 67: 3, 132: 2, 133: 3, _CUSTOM: 0}
#: Scales of integers lie far within these; LiteRT aborts on one that it cannot turn into a multiplier.
_SCALES = (1e-30, 1e30)
#: By operator, the type of the options that name other subgraphs, and the fields which do.
_CALLS = {31: (16, (0,)), 118: (92, (0, 1)), 119: (93, (0, 1)), 129: (103, (0,))}
_CALLS_2 = {174: (6, (1,)), 190: (7, (6,)), 198: (13, (5,)), 199: (14, (2,)), 200: (15, (0, 1)), 206: (21, (1,))}
_CASE = 209
#: By type of options, the bytes of an item in each field that is a vector or a string.
_VECTORS = {3: {1: 4, 2: 4}, 8: {5: 1}, 17: {0: 4}, 30: {0: 4}, 111: {0: 1, 1: 1}, 115: {0: 4}}
_VECTORS_2 = {
    2: {0: 8}, 3: {0: 8, 1: 8, 2: 8}, 4: {0: 8, 1: 8, 2: 8, 3: 8, 4: 1, 7: 8, 10: 8, 13: 8, 16: 4},
    5: {0: 1, 2: 1, 4: 4, 5: 1}, 6: {0: 8}, 7: {1: 8, 2: 8, 3: 8}, 9: {0: 8}, 10: {0: 8, 1: 8, 2: 8},
    12: {0: 8, 1: 8, 2: 8, 3: 8, 4: 4}, 13: {0: 8, 1: 8, 2: 8, 3: 8, 4: 8}, 16: {0: 8, 1: 8, 2: 8, 4: 8}, 17: {0: 8},
    21: {0: 1, 2: 1}, 23: {0: 4},
}  # fmt: skip


class Code(NamedTuple):
    """What an operator does: its number among the built-in ones, and its name if it is none of them."""

    number: int
    custom: bytes


class FileTensor(NamedTuple):
    """A tensor as the file declares it: ``kind`` is its TensorType, ``size`` its bytes (None: not known before a run);
    ``constant``: the file holds its values; ``given``: it has values, or none, before any operator ran."""

    shape: Tuple[int, ...]
    kind: int
    size: Optional[int]
    constant: bool
    given: bool
    scale: Optional[float]
    zero_point: Optional[int]


class FileGraph(NamedTuple):
    """A subgraph that holds together: ``calls`` are the subgraphs that its operators run, each as often as they do."""

    tensors: Tuple[FileTensor, ...]
    inputs: Tuple[int, ...]
    outputs: Tuple[int, ...]
    operators: int
    macs: int
    calls: Tuple[int, ...]


def read(table: FlatTable, codes: Sequence[Code], buffers: Sequence[int], graphs: int, name: str) -> FileGraph:
    """The subgraph of a table; :class:`Damaged` says what does not hold together.

    ``buffers``: the bytes that each buffer holds. ``graphs``: how many subgraphs there are. ``name``: for sentences.
    """
    table.text(4)
    rows = table.tables(0, MOST_TENSORS, "tensors")
    tensors = tuple(_tensor(t, buffers, "tensor {} of {}".format(i, name)) for i, t in enumerate(rows))
    inputs, outputs = table.numbers(1, "i"), table.numbers(2, "i")
    for index in inputs + outputs:
        if not 0 <= index < len(tensors):
            raise Damaged("{} has an input or output that is not one of its tensors".format(name))
    operators = table.tables(3, MOST_OPERATORS, "operators")
    calls: List[int] = []
    macs, written_bytes = 0, sum(tensors[index].size or 0 for index in inputs)
    written = {index for index, tensor in enumerate(tensors) if tensor.given}
    fixed = {index for index, tensor in enumerate(tensors) if tensor.constant} | set(inputs)
    written |= set(inputs)
    for number, operator in enumerate(operators):
        where = "operator {} of {}".format(number, name)
        code = _code(operator, codes, where)
        sources, targets = _ends(operator, code, len(tensors), where)
        _check_order(sources, targets, written, fixed, where)
        written.update(targets)
        fixed.update(targets)
        written_bytes += sum(tensors[index].size or 0 for index in targets)
        calls += _calls(operator, code, graphs, where)
        macs += _macs(code.number, tensors, sources, targets)
    if written_bytes > MOST_WRITTEN_BYTES:
        raise Damaged("{} writes {} bytes in one run".format(name, written_bytes))
    for index in outputs:
        if index not in written:
            raise Damaged("{} has an output, tensor {}, that nothing writes".format(name, index))
    return FileGraph(tensors, inputs, outputs, len(operators), macs, tuple(calls))


def _tensor(table: FlatTable, buffers: Sequence[int], where: str) -> FileTensor:
    shape = table.numbers(0, "i")
    kind, buffer = table.number(1, "b"), table.number(2, "I")
    table.text(3)
    if kind not in _BITS and kind != _STRING and kind not in _HANDLES:
        raise Damaged("{} has the unknown type {}".format(where, kind))
    if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
        raise Damaged("{} has the impossible shape {}".format(where, list(shape[:10])))
    if len(table.numbers(7, "i")) not in (0, len(shape)):
        raise Damaged("{} has two shapes of different ranks".format(where))
    if buffer >= len(buffers):
        raise Damaged("{} has its values in a buffer that does not exist".format(where))
    if table.at(6) or table.vector(9, 4)[1] or table.number(10, "I"):
        raise Damaged("{} is sparse, a variant, or in another file, which is not supported".format(where))
    elements = _product(shape)
    size = None if kind not in _BITS else (elements * _BITS[kind] + 7) // 8
    if elements > MOST_TENSOR_BYTES or (size or 0) > MOST_TENSOR_BYTES:
        raise Damaged("{} has {} elements".format(where, elements))
    held = buffers[buffer]
    if held and held != size:
        raise Damaged("{} takes {} bytes, but the file holds {} for it".format(where, size, held))
    scale, zero_point = _quantization(table.table(4), len(shape), where)
    if scale == 0.0 and not held:
        raise Damaged("{} has an invalid scale".format(where))
    given = bool(held) or elements == 0 or bool(table.number(5, "B"))
    return FileTensor(shape, kind, size, bool(held), given, scale, zero_point)


def _quantization(table: Optional[FlatTable], rank: int, where: str) -> Tuple[Optional[float], Optional[int]]:
    if table is None:
        return None, None
    table.vector(0, 4)
    table.vector(1, 4)
    scales, zeros = table.numbers(2, "f"), table.numbers(3, "q")
    dimension = table.number(6, "i")
    if table.number(4, "B") or table.at(5):
        raise Damaged("{} is quantized in a way that is not supported".format(where))
    if len(zeros) not in (0, len(scales)) or (len(scales) > 1 and not 0 <= dimension < rank):
        raise Damaged("{} has {} scales and {} zero points".format(where, len(scales), len(zeros)))
    if any(scale and not _SCALES[0] < scale < _SCALES[1] for scale in scales):
        raise Damaged("{} has an invalid scale".format(where))
    return (float(scales[0]), int(zeros[0]) if zeros else 0) if scales else (None, None)


def _code(operator: FlatTable, codes: Sequence[Code], where: str) -> Code:
    index = operator.number(0, "I")
    if index >= len(codes):
        raise Damaged("{} is of a kind that the file does not list".format(where))
    code = codes[index]
    if code.number == _CUSTOM and code.custom != _COMPILED:
        raise Damaged(
            "{} is a custom operator ('{}'), which is not supported".format(
                where, code.custom.decode("ascii", "replace")[:40]
            )
        )
    return code


def _ends(operator: FlatTable, code: Code, tensors: int, where: str) -> Tuple[List[int], List[int]]:
    """The tensors that an operator reads and writes; -1, an optional one, is left out."""
    ends = operator.numbers(1, "i"), operator.numbers(2, "i"), operator.numbers(8, "i")
    for index in ends[0] + ends[1] + ends[2]:
        if not -1 <= index < tensors:
            raise Damaged("{} uses tensor {}, which does not exist".format(where, index))
    if -1 in ends[0][: _OPTIONAL.get(code.number, len(ends[0]))]:
        raise Damaged("{} lacks an input that it needs".format(where))
    if len(operator.numbers(7, "B")) not in (0, len(ends[0])):
        raise Damaged("{} marks inputs as variables that it does not have".format(where))
    return [i for i in ends[0] if i >= 0], [i for i in ends[1] if i >= 0]


def _check_order(sources: List[int], targets: List[int], written: Set[int], fixed: Set[int], where: str) -> None:
    for index in sources:
        if index not in written:
            raise Damaged("{} reads tensor {} before anything has written it".format(where, index))
    if len(set(targets)) != len(targets) or any(index in fixed for index in targets):
        raise Damaged("{} writes a tensor that already has values".format(where))


def _calls(operator: FlatTable, code: Code, graphs: int, where: str) -> List[int]:
    """The subgraphs that an operator runs, after a look at its options."""
    operator.vector(5, 1)
    kinds = operator.number(3, "B"), operator.number(11, "B")
    options = operator.table(4), operator.table(12)
    for kind, table, vectors in zip(kinds, options, (_VECTORS, _VECTORS_2)):
        if table is not None:
            for field, size in vectors.get(kind, {}).items():
                table.vector(field, size)
    start, size = operator.number(9, "Q"), operator.number(10, "Q")
    if start + size > operator.reader.size:
        raise Damaged("{} has options outside of the file".format(where))
    called: List[int] = []
    for kind, table, calls in zip(kinds, options, (_CALLS, _CALLS_2)):
        if code.number in calls:
            wanted, fields = calls[code.number]
            if kind != wanted or table is None:
                raise Damaged("{} does not say which part of the file it runs".format(where))
            called += [table.number(field, "i") for field in fields]
    if code.number == _CASE:
        called += list(options[1].numbers(0, "i")) if options[1] is not None else []
    if any(not 0 <= index < graphs for index in called):
        raise Damaged("{} runs a part of the file that does not exist".format(where))
    return called


def _macs(code: int, tensors: Sequence[FileTensor], sources: List[int], targets: List[int]) -> int:
    """Multiply-accumulates of an operator, as far as its shapes tell: output positions times products behind each."""
    if code not in _PRODUCTS or len(sources) < 2 or not targets:
        return 0
    return _PRODUCTS[code]([tensors[i].shape for i in sources], tensors[targets[0]].shape)


def _product(shape: Sequence[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


_PRODUCTS: Dict[int, Any] = {
    3: lambda x, out: _product(out) * _product(x[1][1:]),  # convolution; weights: out, height, width, in
    4: lambda x, out: _product(out) * _product(x[1][1:3]),  # depthwise; weights: 1, height, width, out
    9: lambda x, out: _product(out) * (x[0][-1] if x[0] else 0),  # fully connected
    67: lambda x, out: _product(x[2]) * _product(x[1][:3]) if len(x) > 2 else 0,  # transposed convolution
    126: lambda x, out: _product(out) * (x[0][-1] if x[0] else 0),  # product of matrices
}
