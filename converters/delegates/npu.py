"""What NPUs take. "npu:openvino" is Intel's plugin of LiteRT with OpenVINO, which hosts have as the delegate ``npu``.

It is the one plugin that there is a table for, so that it stands for NPUs in general, and manifests hold it as "npu".
The plugin selects operators by their kind, whatever their form. What OpenVINO then cannot compile ends the compiler,
and nothing of the file is taken. Phones' NPUs have compilers of their own, whose rules are not known from files alone.
"""

from __future__ import annotations

from converters.delegates.operator import File, Operator
from converters.delegates.table import FileRow, Row, Table, declare, first, merged, rows, taken

VERSION = "ai-edge-litert 2.3.0 with OpenVINO 2026.3.1"
#: All rules were measured on files of one operator each.
_MEASURED = "measured: Intel's plugin of " + VERSION


def _number(operator: Operator) -> str:
    """OpenVINO does not count with truth values."""
    return "bool" if operator.source.dtype == "bool" else ""


def _fused(operator: Operator) -> str:
    """OpenVINO makes a truth value of the sign, where TFLite has a number."""
    return first("fused SIGN_BIT" if operator.activation == "SIGN_BIT" else "", _number(operator))


def _convolution(operator: Operator) -> str:
    """Weights of 4 bits are transposed as they are, which OpenVINO does up to three axes; groups get a fourth apart."""
    weights = operator.input(1)
    grouped = operator.kind == "CONV_2D" and weights.rank == 4 and weights.shape[3] != operator.source.shape[-1]
    return first(_fused(operator), "int4 weights" if weights.dtype == "int4" and not grouped else "")


def _transposed(operator: Operator) -> str:
    return "int4 weights" if operator.input(1).dtype == "int4" else ""


def _depthwise(operator: Operator) -> str:
    """OpenVINO divides the filters by the stated multiplier."""
    stated = operator.option("depthMultiplier")
    filters = operator.input(1).shape[-1]
    wrong = stated > 0 and filters % stated != 0
    return first(_fused(operator), f"depth multiplier {stated} of {filters} filters" if wrong else "")


def _fully_connected(operator: Operator) -> str:
    return first(_fused(operator), "shuffled weights" if operator.option("weightsFormat") else "")


def _reshape(operator: Operator) -> str:
    """OpenVINO takes the shape from the options where there are any, even from those that do not have it."""
    if "newShape" not in operator.options:
        return ""
    shape = operator.option("newShape")
    return "options without new_shape" if shape is None or not len(shape) else ""


def _resize(operator: Operator) -> str:
    both = operator.option("alignCorners") and operator.option("halfPixelCenters")
    dtype = operator.source.dtype
    other = operator.kind == "RESIZE_BILINEAR" and dtype in ("int32", "float16")
    return first("align_corners with half_pixel_centers" if both else "", dtype if other else "")


def _pad_value(operator: Operator) -> str:
    value = operator.input(2)
    return "a padding value with axes" if value.rank else ""


def _split(operator: Operator) -> str:
    axis = operator.input(0)
    return "an axis with axes" if axis.rank else ""


def _quantize(operator: Operator) -> str:
    old, new = operator.source.dtype, operator.target.dtype
    if new == "int32":
        return "to int32"
    return f"int16 to {new}" if old == "int16" and new in ("int8", "uint8") else ""


def _gelu(operator: Operator) -> str:
    return "int32" if operator.source.dtype == "int32" else ""


def _normalised(operator: Operator) -> str:
    return "" if operator.source.rank else "rank 0"


#: What LiteRT's own kernels lack ends it, too: a compiled file still names the kinds and versions it was made of.
_LIMITED = {
    "DIV": 2, "MAXIMUM": 4, "MINIMUM": 4, "SQUARED_DIFFERENCE": 2, "POW": 1, "FLOOR_DIV": 3, "FLOOR_MOD": 2,
    "SQUARE": 1, "SQRT": 2, "RSQRT": 3, "EXP": 2, "LOG": 2, "SIN": 2, "COS": 2, "TANH": 3, "LOGISTIC": 3, "RELU": 3,
    "RELU_0_TO_1": 1, "HARD_SWISH": 1, "SIGN": 2, "DEPTH_TO_SPACE": 2, "MIRROR_PAD": 3,
}  # fmt: skip


def _rows() -> dict[str, Row]:
    return merged([
        {kind: Row(kind, (1, most), _fused, _MEASURED) for kind, most in _LIMITED.items()},
        rows("SUB", _fused, _MEASURED, (1, 5)),
        rows("AVERAGE_POOL_2D MAX_POOL_2D", _fused, _MEASURED, (1, 3)),
        rows("ADD MUL", _fused, _MEASURED),
        rows("MEAN SUM", _number, _MEASURED),
        rows("CONV_2D", _convolution, _MEASURED),
        rows("TRANSPOSE_CONV", _transposed, _MEASURED),
        rows("DEPTHWISE_CONV_2D", _depthwise, _MEASURED),
        rows("FULLY_CONNECTED", _fully_connected, _MEASURED),
        rows("RESHAPE", _reshape, _MEASURED),
        rows("RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", _resize, _MEASURED, (1, 4)),
        rows("PADV2", _pad_value, _MEASURED),
        rows("SPLIT", _split, _MEASURED),
        rows("QUANTIZE", _quantize, _MEASURED),
        rows("GELU", _gelu, _MEASURED, (1, 3)),
        rows("L2_NORMALIZATION", _normalised, _MEASURED, (1, 2)),
        rows(
            "ABS ARG_MAX BATCH_MATMUL BROADCAST_TO CAST CONCATENATION CUMSUM DEQUANTIZE EMBEDDING_LOOKUP EQUAL "
            "EXPAND_DIMS GATHER GATHER_ND GREATER GREATER_EQUAL LEAKY_RELU LESS LESS_EQUAL LOGICAL_AND LOGICAL_NOT "
            "LOGICAL_OR NOT_EQUAL ONE_HOT PACK PAD PRELU REDUCE_MAX REVERSE_V2 SELECT SELECT_V2 SLICE SOFTMAX "
            "STRIDED_SLICE TILE TOPK_V2 TRANSPOSE UNPACK",
            taken, _MEASURED,
        ),
        rows("CONV_3D RANGE REDUCE_ALL", taken, _MEASURED + " (selected; not run)"),
    ])  # fmt: skip


ROWS = _rows()


def _border(file: File) -> str:
    """The plugin refuses a graph with an input of six axes or more."""
    most = max((t.rank for graph in file.subgraphs for t in graph.inputs), default=0)
    return f"an input of rank {most}" if most > 5 else ""


def _compiles(file: File) -> str:
    """One operator that was selected and cannot be compiled takes all others with it."""
    for operator in file.operators:
        row = ROWS.get(operator.kind)
        if row is not None and (reason := row.reason(operator)):
            return f"the compiler ends at {operator.kind} with {reason}"
    return ""


TABLE = declare(
    Table(
        "npu",
        "Intel's NPU plugin of LiteRT with OpenVINO, as hosts have it.",
        VERSION,
        ROWS,
        files=(FileRow(_border, _MEASURED), FileRow(_compiles, _MEASURED)),
    ),
    "npu:openvino",
)
