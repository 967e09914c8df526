"""What LiteRT's GPU accelerator takes: "gpu" (WebGPU on hosts, OpenCL or OpenGL on phones).

The accelerator says of every operator that it leaves why; the rows are these words, found with the WebGPU build. The
builds for phones share the code that decides (``delegate_kernel.cc``, ``model_builder.cc`` of LiteRT's ML Drift).
What it takes it may still compute wrongly: the table's warnings say what was seen.
"""

from __future__ import annotations

from collections.abc import Iterable

from converters.delegates import gpu_classic as classic
from converters.delegates import gpu_wrong
from converters.delegates.operator import Operator, Tensor
from converters.delegates.table import Check, Row, Table, declare, first, merged, rows

VERSION = "LiteRT 2.3.0"
_SOURCE = f"measured: {VERSION}, WebGPU"
_FLOATS = ("float32", "float16")
_SMALL = (*_FLOATS, "int8", "uint8")
_NUMBERS = (*_SMALL, "int16", "int32")
_ALL = (*_NUMBERS, "bool")


def _axes(tensors: Iterable[Tensor]) -> str:
    most = max((t.rank for t in tensors), default=0)
    return f"rank {most}" if most > classic.MOST_AXES else ""


def _of(types: tuple[str, ...], *more: Check, made: tuple[str, ...] = ()) -> Check:
    """Kinds whose data have such types and at most four axes; ``made`` are further types of outputs."""

    def check(operator: Operator) -> str:
        variable = operator.variables[:1] if operator.kind in _BY_FIRST else operator.variables
        wrong = [t.dtype for t in variable if t.dtype not in types]
        wrong += [t.dtype for t in operator.outputs if t.dtype not in (*types, *made)]
        axes = _axes((*operator.variables, *operator.outputs))
        return (wrong[0] if wrong else axes) or first(*(rule(operator) for rule in more))

    return check


#: Kinds whose further inputs are indices of another type.
_BY_FIRST = ("GATHER", "EMBEDDING_LOOKUP", "DYNAMIC_UPDATE_SLICE")


def _pair(operator: Operator) -> str:
    """Two inputs that are joined element by element."""
    constants = [t for t in operator.inputs if t is not None and t.constant]
    scalar = operator.target.rank and any(not t.shape for t in operator.variables)
    halves = [t.dtype for t in constants if t.dtype == "int16"]
    return first(
        _axes(constants),
        "a scalar that is no constant" if scalar else "",
        "constants in int16 (the accelerator crashes)" if halves else "",
    )


def _weights(operator: Operator) -> str:
    """Weights in the file, or made by an operator."""
    weights = operator.input(1)
    if weights.constant and weights.dtype not in (*_FLOATS, "int8", "uint8", "int4", "int2"):
        return f"{weights.dtype} weights"
    return _axes((weights,))


def _depthwise(operator: Operator) -> str:
    weights, several = operator.input(1), operator.option("depthMultiplier") != 1
    loose = not weights.constant or weights.stored in ("int8", "uint8", "int16")
    crash = several and loose and weights.dtype in _FLOATS
    return first(
        classic.depthwise(operator),
        f"depth multiplier {operator.option('depthMultiplier')} of such weights (the accelerator crashes)"
        if crash
        else "",
    )


def _dense(operator: Operator) -> str:
    weights = operator.input(1)
    if weights.dtype == "uint8":
        return "uint8 weights"
    unpacked = weights.dtype in _FLOATS and weights.stored in ("int8", "uint8")
    return first("weights unpacked from integers" if unpacked else "", classic.fused(operator))


def _prelu(operator: Operator) -> str:
    slopes, source = operator.input(1), operator.source
    if not slopes.constant:
        return "slopes that are no constants"
    if slopes.dtype not in _SMALL:
        return f"{slopes.dtype} slopes"
    if all(size == 1 for size in slopes.shape[:-1]):
        return "" if slopes.shape and slopes.shape[-1] == source.shape[-1] else "slopes for other channels"
    return "" if slopes.shape == source.shape[1:] else "slopes of another shape"


def _paddings(operator: Operator) -> str:
    wide = "int64 paddings" if operator.input(1).dtype == "int64" else ""
    filled = operator.optional(2)
    crash = f"{filled.dtype} fillings" if filled is not None and filled.dtype in ("int16", "int32") else ""
    return first(classic.mirror(operator) if operator.kind == "MIRROR_PAD" else classic.paddings(operator), wide, crash)


def _bounds(operator: Operator) -> str:
    for position in (1, 2):
        bounds = operator.input(position)
        if not bounds.constant:
            return "bounds that are no constants"
        if bounds.dtype != "int32":
            return f"{bounds.dtype} bounds"
    return ""


def _strided(operator: Operator) -> str:
    steps = operator.input(3).numbers()
    back = steps is None or any(step < 0 for step in steps)
    return first(classic.masks(operator), "strides backwards" if back else "")


def _fixed(what: str, position: int = 1) -> Check:
    return lambda operator: classic.constant(operator, position, what)


def _transpose(operator: Operator) -> str:
    return first(classic.constant(operator, 1, "axes"), "rank 1" if operator.source.rank < 2 else "")


def _dequantize(operator: Operator) -> str:
    return "" if operator.source.dtype in ("int8", "uint8") else operator.source.dtype


def _start(operator: Operator) -> str:
    return "a start that is constant" if operator.input(2).constant else ""


_ROWS: dict[str, Row] = merged(
    (
        rows("ADD MUL", _of(_NUMBERS, _pair, classic.fused), _SOURCE),
        rows("SUB DIV", _of(_NUMBERS, _pair, classic.fused), _SOURCE, (1, 2)),
        rows("MAXIMUM MINIMUM FLOOR_DIV FLOOR_MOD", _of(_NUMBERS, _pair), _SOURCE),
        rows("SQUARED_DIFFERENCE POW", _of(_SMALL, _pair), _SOURCE),
        rows("EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL", _of(_ALL, _pair), _SOURCE),
        rows("LOGICAL_AND LOGICAL_OR LOGICAL_NOT", _of(("bool",)), _SOURCE),
        rows("ABS NEG SIGN", _of(_NUMBERS), _SOURCE),
        rows(
            "CEIL COS ELU EXP FLOOR GELU HARD_SWISH LEAKY_RELU LOG RELU_N1_TO_1 ROUND SIN SQRT SQUARE",
            _of(_SMALL),
            _SOURCE,
        ),
        rows("LOGISTIC RELU RELU6 RSQRT TANH", _of(_SMALL), _SOURCE, (1, 2)),
        rows("PRELU", _of(_SMALL, _prelu), _SOURCE),
        rows("SOFTMAX", _of(_SMALL, classic.softmax), _SOURCE),
        rows("CONV_2D", _of(_SMALL, _weights, classic.fused), _SOURCE, (1, 6)),
        rows("DEPTHWISE_CONV_2D", _of(_SMALL, _weights, _depthwise), _SOURCE, (1, 6)),
        rows("TRANSPOSE_CONV", _of(_SMALL, _weights, _fixed("sizes", 0)), _SOURCE, (1, 3)),
        rows("FULLY_CONNECTED", _of(_SMALL, _weights, _dense), _SOURCE),
        rows("BATCH_MATMUL", _of(_SMALL, _weights), _SOURCE),
        rows("AVERAGE_POOL_2D MAX_POOL_2D", _of(_SMALL, classic.fused), _SOURCE, (1, 2)),
        rows("MEAN", _of(_SMALL, _fixed("axes")), _SOURCE),
        rows("SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD", _of(_NUMBERS, _fixed("axes")), _SOURCE),
        rows("REDUCE_ANY", _of(("bool",), _fixed("axes")), _SOURCE),
        rows("RESIZE_BILINEAR", _of(_SMALL, classic.bilinear), _SOURCE, (1, 3)),
        rows("RESIZE_NEAREST_NEIGHBOR", _of(_SMALL, _fixed("sizes")), _SOURCE, (1, 3)),
        rows("RESHAPE", _of(_ALL, _fixed("sizes")), _SOURCE),
        rows("TRANSPOSE", _of(_ALL, _transpose), _SOURCE),
        rows("PAD", _of(_NUMBERS, _paddings), _SOURCE),
        rows("PADV2 MIRROR_PAD", _of(_SMALL, _paddings), _SOURCE),
        rows("SLICE", _of(_ALL, _bounds), _SOURCE),
        rows("STRIDED_SLICE", _of(_NUMBERS, _strided), _SOURCE, (1, 2)),
        rows("CONCATENATION REVERSE_V2", _of(_ALL), _SOURCE),
        rows("PACK TILE", _of(_NUMBERS), _SOURCE),
        rows("SPLIT", _of(_SMALL, _fixed("axes", 0)), _SOURCE),
        rows("SPLIT_V UNPACK SPACE_TO_DEPTH DEPTH_TO_SPACE", _of(_SMALL), _SOURCE),
        rows("GATHER", _of(_ALL, classic.indices), _SOURCE),
        rows("EMBEDDING_LOOKUP", _of(("int32",), made=_SMALL), _SOURCE),
        rows("SELECT SELECT_V2", _of(_ALL, classic.choices), _SOURCE),
        rows("CAST", _of(_ALL), _SOURCE),
        rows("QUANTIZE", _of(_SMALL), _SOURCE),
        rows("DEQUANTIZE", _of(_NUMBERS, _dequantize), _SOURCE, (1, 3)),
        rows("CUMSUM", _of(_FLOATS, classic.cumsum), _SOURCE),
        rows("ONE_HOT", _of(("int32",), made=_FLOATS), _SOURCE),
        rows("ARG_MAX", _of(_SMALL, made=("int32",)), _SOURCE),
        rows("TOPK_V2", _of(_SMALL, made=("int32",)), _SOURCE),
        rows("DYNAMIC_UPDATE_SLICE", _of(_NUMBERS, _start), _SOURCE),
    )
)

TABLE = declare(
    Table(
        "gpu",
        "LiteRT's GPU accelerator.",
        VERSION,
        _ROWS,
        warnings=gpu_wrong.WARNINGS,
    )
)
