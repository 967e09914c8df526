"""What LiteRT's GPU accelerator takes and computes wrongly, or crashes on.

Found by comparing outputs with those of LiteRT's own kernels, operator by operator, with the WebGPU build on Vulkan in
software. Whether a phone's build does the same is for a run on the phone to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from adascale_runtime.errors import BadInput
from converters.delegates import parts
from converters.delegates.operator import DAMAGED, File, Operator, Tensor
from converters.delegates.table import FileRow, warned

VERSION = "LiteRT 2.3.0"
SOURCE = f"measured: {VERSION}, WebGPU"
_NARROW = ("int8", "uint8", "int4")
_EIGHT = ("int8", "uint8")
_MOVED = "RESHAPE TRANSPOSE SLICE STRIDED_SLICE PAD SPLIT DEPTH_TO_SPACE SPACE_TO_DEPTH RESIZE_BILINEAR MAX_POOL_2D"


def _points_apart(operator: Operator) -> bool:
    weights = operator.input(1)
    steps = max(int(operator.option("strideH")), int(operator.option("strideW")))
    return weights.shape[1:3] == (1, 1) and steps > 1 and weights.dtype in _NARROW


def _loose_groups(operator: Operator) -> bool:
    weights = operator.input(1)
    loose = not weights.constant or weights.stored in _EIGHT
    return loose and weights.dtype == "float32" and weights.shape[-1] != operator.source.shape[-1]


def _folded(operator: Operator) -> bool:
    source, weights = operator.source, operator.input(1)
    return source.rank == 1 or source.shape[-1] != weights.shape[-1]


def _flattened(operator: Operator) -> bool:
    source, weights = operator.source, operator.input(1)
    several = math.prod(source.shape[:-1]) > 1 and source.rank > 2
    return weights.dtype in _NARROW and several and not operator.option("keepNumDims")


def _loose_weights(operator: Operator) -> bool:
    return not operator.input(1).constant


def _batches_differ(operator: Operator) -> bool:
    left, right = operator.input(0).shape[:-2], operator.input(1).shape[:-2]
    return left != right and not (operator.input(1).constant and math.prod(right) == 1 and not right)


def _constants(operator: Operator) -> list[Tensor]:
    return [t for t in operator.inputs if t is not None and t.constant]


def _row_by_row(operator: Operator) -> bool:
    return operator.target.rank == 1 and any(t.rank == 1 for t in _constants(operator))


def _constant_batches(operator: Operator) -> bool:
    return operator.target.rank == 3 and any(t.rank == 3 and t.shape[0] > 1 for t in _constants(operator))


def _constant_int32(operator: Operator) -> bool:
    return operator.target.dtype == "int32" and bool(_constants(operator))


def _one_axis(operator: Operator) -> bool:
    return operator.source.rank == 1


def _batches(operator: Operator) -> bool:
    return operator.source.rank == 4 and operator.source.shape[0] > 1


def _padded_batch(operator: Operator) -> bool:
    amounts = operator.input(1).numbers()
    return operator.source.rank == 4 and amounts is not None and any(amounts[:2])


def _several_rows(operator: Operator) -> bool:
    return operator.source.rank == 3 and operator.source.shape[1] > 1


def _wide(operator: Operator) -> bool:
    return operator.source.dtype in ("int16", "int32")


def _alone(operator: Operator) -> bool:
    return len(operator.inputs) == 1


def _exclusive(operator: Operator) -> bool:
    return bool(operator.option("exclusive"))


def _rescaled(operator: Operator) -> bool:
    source = operator.input(1) if operator.kind == "SPLIT" else operator.source
    target = operator.target
    return source.dtype in _EIGHT and (source.scale != target.scale or source.zero_point != target.zero_point)


def _unsigned(operator: Operator) -> bool:
    return operator.source.dtype == "uint8"


def _eight(operator: Operator) -> bool:
    return operator.source.dtype in _EIGHT


def _without_bias(operator: Operator) -> bool:
    return len(operator.inputs) < 3 or operator.inputs[2] is None


def _rule(what: str, kinds: str, wrong: Callable[[Operator], bool]) -> FileRow:
    def guarded(operator: Operator) -> bool:
        try:
            return wrong(operator)
        except (BadInput, *DAMAGED):  # the rule of its kind says so
            return False

    return warned(f"{VERSION} (WebGPU) computes {what} wrongly; compare outputs on the device.", kinds, guarded, SOURCE)


def _unread(file: File) -> str:
    """Several 8-bit outputs of which one is read by nobody; the run ends with SIGSEGV, each time.

    The TFLite converter writes it for a recurrent layer that it unrolls: its first step has no use for one of the
    gates; :mod:`converters.slices` rewrites such splits. UNPACK,
    SPLIT and SPLIT_V were seen to crash, in int8 and in uint8, at any position of the output; in float32 none does. The
    rule is wider: it holds for every kind of operator with several outputs.
    """
    for graph in file.subgraphs:
        read = parts.read(graph)
        for one in parts.unread(graph):
            if any(t.dtype in _EIGHT and t.index not in read for t in one.outputs):
                return f"{VERSION} (WebGPU) crashes on {one.kind} with an 8-bit output that nothing reads."
    return ""


def _siblings(file: File) -> str:
    """Arithmetic that joins two outputs of one operator.

    All kinds that were tried are wrong after SPLIT and UNPACK of floats (ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM,
    SQUARED_DIFFERENCE, POW, GREATER), by 0.15 to 3 times the range; only MUL of the first output by a later one is
    right. One of the two may go through an activation (RELU of the first: wrong; TANH of the last: right); the rule is
    wider by these. Where both do, as in recurrent layers, outputs are right, and so are those of slices.
    """
    for graph in file.subgraphs:
        for one, _ in parts.joins(graph):
            return f"{VERSION} (WebGPU) computes {one.kind} of two outputs of one operator wrongly."
    return ""


WARNINGS: tuple[FileRow, ...] = (
    FileRow(_unread, SOURCE),
    FileRow(_siblings, SOURCE),
    warned(
        f"{VERSION} (WebGPU) crashes on depthwise convolutions without a bias.",
        "DEPTHWISE_CONV_2D",
        _without_bias,
        SOURCE,
    ),
    _rule("1x1 convolutions with strides and integer weights", "CONV_2D", _points_apart),
    _rule("grouped convolutions with weights that are made as it runs", "CONV_2D", _loose_groups),
    _rule("dense layers that fold their input", "FULLY_CONNECTED", _folded),
    _rule("dense layers with integer weights on several rows of an image", "FULLY_CONNECTED", _flattened),
    _rule("dense layers with weights that are made as it runs", "FULLY_CONNECTED", _loose_weights),
    _rule("products of matrices of different batches", "BATCH_MATMUL", _batches_differ),
    _rule("arithmetic of single rows with constants", parts.JOINED, _row_by_row),
    _rule("arithmetic of three axes with constants of several batches", parts.JOINED, _constant_batches),
    _rule("arithmetic of 32-bit integers with constants", parts.JOINED, _constant_int32),
    _rule("the softmax of a single row without a batch", "SOFTMAX", _one_axis),
    _rule("depth to space of several batches", "DEPTH_TO_SPACE SPACE_TO_DEPTH", _batches),
    _rule("paddings of the batch", "PAD PADV2", _padded_batch),
    _rule("paddings of wide integers", "PAD", _wide),
    _rule("concatenations of one tensor", "CONCATENATION", _alone),
    _rule("one-hot rows of several axes", "ONE_HOT", _several_rows),
    _rule("exclusive cumulated sums", "CUMSUM", _exclusive),
    _rule("integers that are moved to another scale", _MOVED, _rescaled),
    _rule("unsigned integers", "LEAKY_RELU MEAN", _unsigned),
    _rule("8-bit integers", "FLOOR_DIV REDUCE_PROD", _eight),
)
