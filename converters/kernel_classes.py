"""Kernel classes of a .tflite's operators, and the sums in which the time of each class is linear.

XNNPACK, LiteRT's CPU backend, computes a convolution as a product of matrices: P output positions by N filters by K
inputs at each of T taps. It walks the result in tiles of some rows by some columns and a tile at the border costs as
much as a whole one, so 17 filters cost what 32 do where a tile is 16 wide. How large tiles are depends on the chip,
which the converter does not know; hence sums for the tiles of several, among which a regression finds the device's.
1x1 convolutions without stride are plain products (GEMM); others fetch their rows through pointers (IGEMM), at a cost
for every tap.

Sources: kernels' names as LiteRT's profiler prints them; XNNPACK's ``src/configs/gemm-config.c`` for tiles; Dukhan,
"The Indirect Convolution Algorithm", 2019; nn-Meter (Zhang et al., MobiSys 2021), which sums such kernels.
"""

from __future__ import annotations

import math
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from converters.delegates import xnnpack
from converters.delegates.operator import view

#: Sums by class of kernels, such as ``conv-integer``.
Sums = dict[str, dict[str, float]]

#: Tiles (rows, columns): NEON, AVX2 and AVX-512 for floats; NEON, its dot products, AVX2 and AVX-512 for integers.
TILES = {
    "float": ((4, 8), (6, 8), (5, 16), (7, 16), (7, 32)),
    "integer": ((2, 8), (4, 16), (3, 8), (5, 8), (7, 16)),
    "hybrid": ((2, 8), (4, 16), (3, 8), (5, 8), (7, 16), (10, 16), (1, 64)),
}
#: How many 8-bit inputs an integer kernel multiplies at once: the inputs at a tap are filled up to it.
DEPTH = 8

_NAMES = {
    "elementwise": "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE PRELU LEAKY_RELU RELU RELU6 RELU_N1_TO_1 "
    "RELU_0_TO_1 ABS NEG SQUARE FLOOR CEIL ROUND",
    "curve": "LOGISTIC TANH SOFTMAX HARD_SWISH ELU GELU EXP SQRT RSQRT LOG SIN COS",
    "copy": "CONCATENATION PAD PADV2 SPLIT SLICE STRIDED_SLICE TRANSPOSE SPACE_TO_DEPTH DEPTH_TO_SPACE",
    "view": "RESHAPE SQUEEZE EXPAND_DIMS",
    "averagepool": "AVERAGE_POOL_2D",
    "maxpool": "MAX_POOL_2D",
    "mean": "MEAN SUM REDUCE_MAX REDUCE_MIN",
    "convert": "QUANTIZE DEQUANTIZE",
    "resize": "RESIZE_BILINEAR",
    "conv": "CONV_2D",
    "depthwise": "DEPTHWISE_CONV_2D",
    "dense": "FULLY_CONNECTED",
    "deconv": "TRANSPOSE_CONV",
    "matmul": "BATCH_MATMUL",
}
#: The class of each kind of operator; others are ``builtin``. What XNNPACK takes of them is for its table to say.
CLASSES = {operator: name for name, operators in _NAMES.items() for operator in operators.split()}
_PRODUCTS = ("conv", "gemm", "depthwise", "dense", "deconv", "matmul")
_POOLS = ("averagepool", "maxpool")


def sums(graph: Any, operators: list[tuple[Any, int, float]]) -> Sums:
    """The sums of one subgraph. ``operators``: each with its multiply-accumulates and its bytes of weights.

    Beside the operators' classes there is ``partition``: ``count`` of the pieces that XNNPACK takes and ``operators``
    in them; and ``reuse``, see :func:`reuse`.
    """
    totals: Sums = {}
    for operator, macs, weight_bytes in operators:
        add(totals.setdefault(name(graph, operator), {}), terms(graph, operator, macs, weight_bytes))
    taken = [delegated(graph, operator) for operator, _, _ in operators]
    pieces = partitions([_edges(graph, operator) for operator, _, _ in operators], taken)
    totals["partition"] = {"count": float(pieces), "operators": float(sum(taken))}
    totals["reuse"] = reuse(touched(graph, [operator for operator, _, _ in operators]))
    return totals


def name(graph: Any, operator: Any) -> str:
    """The class of kernels that runs an operator, such as ``conv-integer``."""
    return f"{_class(graph, operator)}-{_arithmetic(graph, operator)}"


def delegated(graph: Any, operator: Any) -> bool:
    """Whether XNNPACK takes the operator, see :mod:`converters.delegates.xnnpack`."""
    return not xnnpack.TABLE.judge(view(graph, operator))[0]


def prepared(graph: Any) -> dict[str, float]:
    """What opening a file prepares for each of its subgraphs, whichever runs: ``operators``, and ``packed_bytes``.

    XNNPACK packs the weights of every product anew, so weights that operators share count once for each.
    """
    packed = 0.0
    for operator in graph.operators:
        if _class(graph, operator) in _PRODUCTS and delegated(graph, operator):
            weights = int(operator.inputs[1])
            packed += graph.bytes_of(weights) if graph.is_constant(weights) else 0.0
    return {"operators": float(len(graph.operators)), "packed_bytes": packed}


def add(total: dict[str, float], more: dict[str, float]) -> None:
    """Add the values of ``more`` to those of the same names in ``total``."""
    for key, value in more.items():
        total[key] = total.get(key, 0.0) + value


def terms(graph: Any, operator: Any, macs: int, weight_bytes: float) -> dict[str, float]:
    """What the time of one operator may depend on.

    ``count`` is 1; ``macs`` are the multiply-accumulates, of pooling the additions; ``input_bytes``, ``output_bytes``
    and ``weight_bytes`` are read and written; ``rows`` are contiguous runs of channels, at every position of every
    output or joined tensor. Products of matrices have, for tiles of r rows and c columns, ``macs_RxC`` with tiles
    filled up and ``tiles_RxC``, how many there are, times taps.
    """
    own, arithmetic = _class(graph, operator), _arithmetic(graph, operator)
    variable = [int(t) for t in operator.inputs if t >= 0 and not graph.is_constant(int(t))]
    values = {
        "count": 1.0,
        "input_bytes": sum(graph.bytes_of(t) for t in variable),
        "output_bytes": sum(graph.bytes_of(int(t)) for t in operator.outputs),
    }
    output = [int(n) for n in graph.tensors[int(operator.outputs[0])].shape]
    positions, filters = math.prod(output[:-1]), output[-1] if output else 1
    if own != "view":  # a reshape moves a block as a whole
        values["rows"] = float(positions * max(len(variable), len(operator.outputs)))
    if own in _POOLS:
        options = operator.builtinOptions
        values["macs"] = float(math.prod(output) * options.filterHeight * options.filterWidth)
    if own not in _PRODUCTS or not macs:
        return values
    values.update(macs=float(macs), weight_bytes=weight_bytes)
    if own == "depthwise":
        taps = macs // (positions * filters)
        values["fetches"] = float(positions * taps)
        for columns in (8, 16):
            values[f"macs_1x{columns}"] = float(positions * _up(filters, columns) * taps)
            values[f"tiles_1x{columns}"] = float(positions * -(-filters // columns))
        return values
    depth = int(graph.tensors[operator.inputs[1]].shape[3]) if own in ("conv", "gemm") else macs // positions // filters
    taps = max(1, macs // max(1, positions * filters * depth))
    for rows, columns in TILES.get(arithmetic, ()):
        tiles = -(-positions // rows) * -(-filters // columns)
        height = 1 if positions == 1 else rows  # a single row has kernels of its own
        width = columns // 2 if columns == 32 and filters <= 16 else columns  # and so have few filters
        filled = _up(depth, DEPTH) if arithmetic != "float" else depth
        values[f"macs_{rows}x{columns}"] = float(tiles * height * width * filled * taps)
        values[f"tiles_{rows}x{columns}"] = float(tiles * taps)
    return values


def partitions(edges: list[tuple[set[int], set[int]]], taken: list[bool]) -> int:
    """How many pieces a delegate's operators fall into, see :func:`pieces`."""
    return len(pieces(edges, taken))


def pieces(edges: list[tuple[set[int], set[int]]], taken: list[bool]) -> list[list[int]]:
    """The pieces that a delegate's operators fall into, each as positions of operators.

    ``edges``: tensors that each operator reads and writes, in an order in which they can run. As LiteRT does it: all
    operators of one kind (taken or not) that can run now make a piece, then the kinds change (TensorFlow Lite's
    ``graph_info.cc``). Operators of a cycle, which nothing can run, are in no piece.
    """
    made = {t for _, outputs in edges for t in outputs}
    left, kind, found = list(range(len(edges))), True, []
    while left:
        piece = []
        for index in list(left):
            inputs, outputs = edges[index]
            if taken[index] == kind and not inputs & made:
                left.remove(index)
                made -= outputs
                piece.append(index)
        if kind and piece:
            found.append(piece)
        if not piece and not any(taken[i] != kind and not edges[i][0] & made for i in left):
            break  # a cycle: no order runs this file
        kind = not kind
    return found


def touched(graph: Any, operators: list[Any]) -> list[tuple[Any, float]]:
    """The tensors that operators read and write, in order, with their bytes while they run.

    Constants belong to the operator that reads them, because XNNPACK packs a copy for each.
    """
    touches: list[tuple[Any, float]] = []
    for number, operator in enumerate(operators):
        tensors = [int(t) for t in (*operator.inputs, *operator.outputs) if t >= 0]
        touches += [((t, number) if graph.is_constant(t) else t, graph.bytes_of(t)) for t in tensors]
    return touches


def reuse(touches: list[tuple[Any, float]]) -> dict[str, float]:
    """Bytes touched by one inference of an endless row, by the distance since they were touched before.

    ``touches``: what is touched, in order, and its bytes. The distance of a touch is the bytes of all that was touched
    since the last touch of the same, itself included: a cache of so many bytes that forgets what was used longest ago
    still holds it (Mattson et al., "Evaluation techniques for storage hierarchies", 1970). Keys are upper bounds of
    distance in bytes, powers of two, as text.
    """
    tree = [0.0] * (2 * len(touches) + 1)  # a Fenwick tree over time: the bytes of whatever was touched last then
    last: dict[Any, int] = {}
    distances: dict[str, float] = {}

    def put(time: int, size: float) -> None:
        while time < len(tree):
            tree[time] += size
            time += time & -time

    def before(time: int) -> float:
        total = 0.0
        while time:
            total += tree[time]
            time -= time & -time
        return total

    for time, (key, size) in enumerate(touches * 2, start=1):
        if key in last:
            if time > len(touches) and size > 0:
                bound = str(1 << max(0, math.ceil(math.log2(before(time) - before(last[key] - 1)))))
                distances[bound] = distances.get(bound, 0.0) + size
            put(last[key], -size)
        last[key] = time
        put(time, size)
    return distances


def _edges(graph: Any, operator: Any) -> tuple[set[int], set[int]]:
    return {int(t) for t in operator.inputs if t >= 0}, {int(t) for t in operator.outputs}


def _class(graph: Any, operator: Any) -> str:
    own = CLASSES.get(graph.kind(operator), "builtin")
    if own == "conv":
        window = [int(n) for n in graph.tensors[int(operator.inputs[1])].shape[1:3]]
        options = operator.builtinOptions
        return "gemm" if window == [1, 1] and options.strideH == options.strideW == 1 else "conv"
    return own


def _arithmetic(graph: Any, operator: Any) -> str:
    """``integer`` or ``wide`` (16-bit) by the activations; ``hybrid`` for 8-bit weights under float activations."""
    output = _type(graph, operator.outputs[0])
    if output in (schema.TensorType.INT8, schema.TensorType.UINT8):
        return "integer"
    if output == schema.TensorType.INT16:
        return "wide"
    product = CLASSES.get(graph.kind(operator)) in _PRODUCTS
    narrow = product and _type(graph, operator.inputs[1]) in (schema.TensorType.INT8, schema.TensorType.INT4)
    return "hybrid" if narrow else "float"


def _type(graph: Any, tensor: Any) -> int:
    return int(graph.tensors[int(tensor)].type)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
