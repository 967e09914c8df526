"""What TensorFlow Lite's own GPU delegate takes: "gpu:classic".

It is what apps had before LiteRT's accelerator, and what phones' Google Play services offer. The rows are the rules of
TensorFlow's Analyzer (``gpu_compatibility=True``). From TensorFlow 2.18 on the Analyzer calls every file compatible;
2.17.1 was the last to judge. The delegate itself looks at types and axes too, which the Analyzer does not.
"""

from __future__ import annotations

from converters.delegates.operator import Operator, Tensor
from converters.delegates.table import Row, Table, declare, first, merged, rows, taken

VERSION = "TensorFlow 2.17.1"
_SOURCE = f"tensorflow/lite/tools/versioning/gpu_compatibility.cc; measured: Analyzer of {VERSION}"
#: Of the rules that the Analyzer does not know.
MODEL_BUILDER = "tensorflow/lite/delegates/gpu/common/model_builder.cc"
MOST_AXES = 4
_FUSED = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
_FLOATS = ("float32", "float16")
_QUANTIZED = ("int8", "uint8")
#: Inputs of other types, by kind.
_INPUTS = {
    "CAST": ("bool", "int32"), "SELECT": ("bool",), "SELECT_V2": ("bool",), "LOGICAL_AND": ("bool",),
    "ONE_HOT": ("int32",), "GATHER": ("int32",),
}  # fmt: skip
_COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND")
_CASTS = ("bool", "int32")


def _tensors(operator: Operator) -> str:
    """The types and axes that the delegate checks of every operator."""
    inputs: tuple[str, ...] = (*_FLOATS, *_QUANTIZED, *_INPUTS.get(operator.kind, ()))
    outputs: tuple[str, ...] = (*_FLOATS, *_QUANTIZED)
    if operator.kind in _COMPARISONS:
        outputs += ("bool",)
    if operator.kind == "CAST":
        outputs += _CASTS
    for tensors, types in ((operator.variables, inputs), (operator.outputs, outputs)):
        for tensor in tensors:
            if tensor.dtype not in types:
                return tensor.dtype
            if tensor.dtype in _QUANTIZED and tensor.quantization == "channel":
                return f"{tensor.dtype} with scales by channel"
            if tensor.rank > MOST_AXES:
                return f"rank {tensor.rank}"
    return ""


def fused(operator: Operator) -> str:
    """The fused activation, unless it is one that GPUs compute."""
    return "" if operator.activation in _FUSED else f"fused {operator.activation}"


def constant(operator: Operator, position: int, what: str) -> str:
    """What should be a constant, unless it is one or absent."""
    tensor = operator.optional(position)
    return "" if tensor is None or tensor.constant else f"{what} that are no constants"


def _broadcast(operator: Operator) -> str:
    """Different numbers of axes join only in three forms."""
    long, short = sorted((operator.input(0), operator.input(1)), key=lambda t: t.rank, reverse=True)
    if short.rank < 2 or long.rank == short.rank:
        return ""
    if long.rank == 4 and short.rank == 3 and long.shape[0] == 1:
        return ""
    if long.rank == 4 and short.rank == 2:
        one = long.shape[0] == 1 and short.shape == (1, 1)
        if one or (long.shape[0] == short.shape[0] and long.shape[3] == short.shape[1]):
            return ""
    return "broadcasting " + " and ".join(f"rank {t.rank}" for t in (long, short))


def _multiply(operator: Operator) -> str:
    left, right = operator.input(0), operator.input(1)
    both = False
    if left.rank == right.rank:
        pairs = list(zip(left.shape, right.shape, strict=True))
        both = any(one < other for one, other in pairs) and any(one > other for one, other in pairs)
    return first(_broadcast(operator), "broadcasting both inputs" if both else "", fused(operator))


def depthwise(operator: Operator) -> str:
    """The form of depthwise convolutions."""
    channels, filters = operator.source.shape[-1], operator.target.shape[-1]
    multiplier = int(operator.option("depthMultiplier"))
    if filters != channels * multiplier:
        return f"depth multiplier {multiplier}"
    return fused(operator)


def _depthwise(operator: Operator) -> str:
    several = operator.option("depthMultiplier") != 1 and operator.source.shape[-1] != 1
    return first(depthwise(operator), f"depth multiplier {operator.option('depthMultiplier')}" if several else "")


def _dense(operator: Operator) -> str:
    if operator.option("weightsFormat"):
        return "shuffled weights"
    kept = operator.option("keepNumDims") and operator.source.rank != operator.target.rank
    return "kept axes of another number" if kept else ""


def _cast(operator: Operator) -> str:
    old, new = operator.source.dtype, operator.target.dtype
    pair = {old, new}
    fits = (old == "bool" and new in _FLOATS) or (new == "bool" and old in _FLOATS) or pair == {"float32", "int32"}
    return "" if fits or _same_cast(old, new) else f"{old} to {new}"


def _same_cast(old: str, new: str) -> bool:
    return old == new and old in ("float32", "int32")


def softmax(operator: Operator) -> str:
    """Softmax has no other temperature than 1."""
    beta = float(operator.option("beta", 0.0))
    return "" if beta == 1.0 else f"beta {beta:g}"


def paddings(operator: Operator) -> str:
    """Paddings are for three or four axes."""
    amounts = operator.input(1)
    fits = amounts.rank == 2 and amounts.shape[0] in (3, 4) and amounts.shape[1] == 2
    return first(constant(operator, 1, "paddings"), "" if fits else f"paddings of {amounts.shape[0]} axes")


def mirror(operator: Operator) -> str:
    """Mirrored paddings leave the border out."""
    return first("SYMMETRIC" if operator.option("mode") else "", paddings(operator))


def _axes_of_slice(tensor: Tensor) -> str:
    return "" if tensor.rank in (3, 4) else f"rank {tensor.rank}"


def _slice(operator: Operator) -> str:
    return _axes_of_slice(operator.source)


def masks(operator: Operator) -> str:
    """Slices keep all axes."""
    for name in ("ellipsisMask", "newAxisMask", "shrinkAxisMask"):
        if operator.option(name):
            return name.removesuffix("Mask").replace("Axis", " axis") + " mask"
    return ""


def _strided(operator: Operator) -> str:
    return first(masks(operator), _axes_of_slice(operator.source))


def bilinear(operator: Operator) -> str:
    """Corners and centers exclude each other."""
    both = operator.option("alignCorners") and operator.option("halfPixelCenters")
    return first(constant(operator, 1, "sizes"), "align_corners and half_pixel_centers" if both else "")


def _sizes(operator: Operator) -> str:
    return constant(operator, 1, "sizes")


def _axes(operator: Operator) -> str:
    return constant(operator, 1, "axes")


def _dequantize(operator: Operator) -> str:
    return "int16" if operator.source.dtype == "int16" else ""


def _select(operator: Operator) -> str:
    if operator.input(0).dtype not in ("bool", *_FLOATS):
        return f"a condition in {operator.input(0).dtype}"
    others = [t.dtype for t in (operator.input(1), operator.input(2)) if t.dtype not in _FLOATS]
    return others[0] if others else choices(operator)


def choices(operator: Operator) -> str:
    """What is chosen has the output's shape, or is a single number."""
    for choice in (operator.input(1), operator.input(2)):
        single = not choice.shape or (choice.rank == 1 and choice.shape[0] <= 1)
        if not single and choice.shape != operator.target.shape:
            return "choices of another shape"
    return ""


def cumsum(operator: Operator) -> str:
    """Cumulated sums are of floats, along an axis that is known."""
    source, axis = operator.source, operator.input(1)
    if source.dtype not in _FLOATS or operator.target.dtype not in _FLOATS:
        return source.dtype
    return "" if axis.constant and axis.dtype == "int32" else "an axis that is no constant"


def _one_hot(operator: Operator) -> str:
    return "" if all(size == 1 for size in operator.source.shape[:-1]) else "indices of several axes"


def _gather(operator: Operator) -> str:
    return first("int32" if operator.source.dtype == "int32" else "", indices(operator))


def indices(operator: Operator) -> str:
    """Indices to gather lie in one row."""
    found = operator.input(1)
    return "" if found.rank == 1 else f"indices of rank {found.rank}"


_FREE = (
    "ABS BATCH_MATMUL CONCATENATION COS DEPTH_TO_SPACE ELU EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD GELU GREATER "
    "GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGISTIC MAXIMUM MINIMUM NEG NOT_EQUAL "
    "PACK POW PRELU QUANTIZE RELU RELU6 RELU_N1_TO_1 RSQRT SIGN SIN SPACE_TO_DEPTH SPLIT "
    "SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE TANH TILE TRANSPOSE_CONV"
)
_ROWS: dict[str, Row] = merged(
    (
        rows(_FREE, taken, _SOURCE),
        rows("ADD", _broadcast, _SOURCE),
        rows("MUL", _multiply, _SOURCE),
        rows("SUB DIV CONV_2D AVERAGE_POOL_2D MAX_POOL_2D", fused, _SOURCE),
        rows("DEPTHWISE_CONV_2D", _depthwise, _SOURCE),
        rows("FULLY_CONNECTED", _dense, _SOURCE),
        rows("CAST", _cast, _SOURCE),
        rows("SOFTMAX", softmax, _SOURCE),
        rows("PAD PADV2", paddings, _SOURCE),
        rows("MIRROR_PAD", mirror, _SOURCE),
        rows("SLICE", _slice, _SOURCE),
        rows("STRIDED_SLICE", _strided, _SOURCE),
        rows("RESIZE_BILINEAR", bilinear, _SOURCE),
        rows("RESIZE_NEAREST_NEIGHBOR RESHAPE", _sizes, _SOURCE),
        rows("MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD TRANSPOSE", _axes, _SOURCE),
        rows("DEQUANTIZE", _dequantize, _SOURCE),
        rows("GATHER", _gather, _SOURCE),
        rows("SELECT SELECT_V2", _select, _SOURCE),
        rows("CUMSUM", cumsum, _SOURCE),
        rows("ONE_HOT", _one_hot, _SOURCE),
    )
)

TABLE = declare(
    Table(
        "gpu:classic",
        "TensorFlow Lite's GPU delegate (OpenCL, OpenGL).",
        VERSION,
        _ROWS,
        tensors=Row("", (1, 99), _tensors, MODEL_BUILDER),
        pieces=1,
    )
)
