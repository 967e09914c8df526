"""What XNNPACK, LiteRT's backend for CPUs, takes: delegate "cpu".

The rules are those of ``tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc``, checked against LiteRT operator by
operator. What it leaves runs in LiteRT's own kernels on the same cores.
"""

from __future__ import annotations

from converters.delegates.operator import Operator, Tensor
from converters.delegates.table import Check, Row, Table, declare, first, merged, rows

VERSION = "LiteRT 2.3.0"
_SOURCE = f"xnnpack_delegate.cc; measured: {VERSION}"
_FLOAT = ("float32", "float16")
_EIGHT = ("int8", "uint8")
_BOTH = (*_FLOAT, *_EIGHT)
_NO_HALF = ("float32", *_EIGHT)
#: XNN_MAX_TENSOR_DIMS.
_MOST_AXES = 6
_FUSED = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
#: Concatenations and splits have kernels for so many parts.
_PARTS = {"CONCATENATION": (2, 5), "SPLIT": (2, 4)}


def typed(tensor: Tensor, types: tuple[str, ...]) -> str:
    """Its type, unless it is one of ``types``; its scheme of quantization, unless it is one scale for all."""
    if tensor.dtype not in types:
        return tensor.dtype
    if tensor.dtype in _EIGHT and tensor.quantization != "tensor":
        return f"{tensor.dtype} with scales by {tensor.quantization}" if tensor.quantization else "unscaled integers"
    return ""


def _activation(operator: Operator) -> str:
    return "" if operator.activation in _FUSED else f"fused {operator.activation}"


def _axes(*tensors: Tensor) -> str:
    most = max((t.rank for t in tensors), default=0)
    return f"rank {most}" if most > _MOST_AXES else ""


def _static(operator: Operator, position: int, what: str) -> str:
    return "" if operator.input(position).constant else f"{what} that are no constants"


def _scaled(value: float, least: float, most: float) -> str:
    """A ratio of scales that the integer kernels can shift by."""
    return "" if least <= value < most else "scales too far apart"


def _ratio(one: Tensor, other: Tensor) -> float:
    return one.scale[0] / other.scale[0]


def _of(types: tuple[str, ...], *more: Check) -> Check:
    """Kinds with one data input: its type, the output's, and further rules."""

    def check(operator: Operator) -> str:
        source, target = operator.source, operator.target
        mixed = "mixed types" if source.dtype != target.dtype else ""
        plain = first(typed(source, types), typed(target, types), mixed, _axes(source, target))
        return plain or first(*(rule(operator) for rule in more))

    return check


def _pairs(types: tuple[str, ...]) -> Check:
    """Kinds with two data inputs of a type."""

    def check(operator: Operator) -> str:
        left, right, target = operator.input(0), operator.input(1), operator.target
        plain = first(*(typed(t, types) for t in (left, right, target)), _axes(left, right, target))
        mixed = "mixed types" if len({left.dtype, right.dtype, target.dtype}) > 1 else ""
        fused = _activation(operator) if "fusedActivationFunction" in operator.options else ""
        return first(plain, mixed, fused) or (_pair_scales(operator) if target.dtype in _EIGHT else "")

    return check


def _pair_scales(operator: Operator) -> str:
    left, right, target = operator.input(0), operator.input(1), operator.target
    if operator.kind == "MUL":
        return _scaled(left.scale[0] * right.scale[0] / target.scale[0], 2**-16, 2**8)
    return first(_scaled(_ratio(left, target), 2**-10, 2**8), _scaled(_ratio(right, target), 2**-10, 2**8))


def _leaky(operator: Operator) -> str:
    alpha = float(operator.option("alpha", 0.0))
    if not alpha:
        return "alpha 0"
    if operator.source.dtype not in _EIGHT:
        return ""
    positive = _ratio(operator.source, operator.target)
    most = 2**7 if alpha > 0 else 2**7 - 2**-8
    return first(_scaled(positive, 2**-8, 2**7 + 1e-9), _scaled(abs(alpha) * positive, 2**-8, most + 1e-9))


def _softmax(operator: Operator) -> str:
    beta = float(operator.option("beta", 0.0))
    return "" if beta == 1.0 else f"beta {beta:g}"


def _prelu(operator: Operator) -> str:
    slope = operator.input(1)
    return first(typed(slope, _FLOAT), _static(operator, 1, "slopes"))


def _pool(operator: Operator) -> str:
    height, width = operator.option("filterHeight"), operator.option("filterWidth")
    down, right = operator.option("strideH"), operator.option("strideW")
    return first(_activation(operator), "strides beyond the window" if down > height or right > width else "")


def _constant_axes(operator: Operator) -> str:
    return _static(operator, 1, "axes")


def _sizes(operator: Operator) -> str:
    return _static(operator, 1, "sizes")


def _shape(operator: Operator) -> str:
    fixed = _static(operator, 1, "sizes") if len(operator.inputs) > 1 else ""
    return fixed or _alike(operator)


def _alike(operator: Operator) -> str:
    """What only moves integers cannot scale them."""
    source, target = operator.source, operator.target
    same = source.scale == target.scale and source.zero_point == target.zero_point
    return "" if same or source.dtype not in _EIGHT else "an output of another scale"


def _order(operator: Operator) -> str:
    return _static(operator, 1, "axes")


def _paddings(operator: Operator) -> str:
    amounts = operator.input(1)
    return first(_static(operator, 1, "paddings"), "" if amounts.dtype == "int32" else f"{amounts.dtype} paddings")


def _slice(operator: Operator) -> str:
    sizes = operator.input(2).numbers()
    rest = "sizes of -1" if sizes is not None and any(n <= 0 for n in sizes) else ""
    return first(_static(operator, 1, "starts"), _static(operator, 2, "sizes"), rest)


def _strided(operator: Operator) -> str:
    for mask in ("ellipsisMask", "newAxisMask", "shrinkAxisMask"):
        if operator.option(mask):
            return mask.removesuffix("Mask").replace("Axis", " axis") + " mask"
    steps = operator.input(3).numbers()
    fixed = first(*(_static(operator, n, "bounds") for n in (1, 2, 3)))
    return fixed or ("" if steps is not None and set(steps) == {1} else "strides other than 1")


def _count(operator: Operator) -> str:
    least, most = _PARTS[operator.kind]
    parts = len(operator.outputs) if operator.kind == "SPLIT" else len(operator.inputs)
    return "" if least <= parts <= most else f"{parts} parts"


def _joined(operator: Operator) -> str:
    inputs = [operator.input(n) for n in range(len(operator.inputs))]
    plain = first(*(typed(t, _BOTH) for t in (*inputs, operator.target)))
    scaled = any(t.scale != operator.target.scale or t.zero_point != operator.target.zero_point for t in inputs)
    apart = "inputs of other scales" if scaled and operator.target.dtype in _EIGHT else ""
    return first(plain, _count(operator), _axes(*inputs), apart)


def _split(operator: Operator) -> str:
    data, axis = operator.input(1), operator.input(0)
    return first(typed(data, _BOTH), "" if axis.constant else "an axis that is no constant", _count(operator))


def _block(operator: Operator) -> str:
    return "" if int(operator.option("blockSize")) > 1 else "blocks of one"


def _quantize(operator: Operator) -> str:
    source, target = operator.source, operator.target
    wrong = first(typed(source, _BOTH), typed(target, _EIGHT))
    if wrong or source.dtype == "float32":
        return wrong
    if source.dtype != target.dtype:
        return f"{source.dtype} to {target.dtype}"
    return _scaled(_ratio(source, target), 2**-8, 2**7 + 1e-9)


def _dequantize(operator: Operator) -> str:
    return first(typed(operator.source, _EIGHT), typed(operator.target, _FLOAT))


def _weights(operator: Operator) -> str:
    """The arithmetic of a product: activations, weights and bias must fit together."""
    source, weights, target = operator.source, operator.input(1), operator.target
    if operator.kind == "TRANSPOSE_CONV":
        source = operator.input(2)
    wrong = first(typed(source, _BOTH), typed(target, _BOTH), "mixed types" if source.dtype != target.dtype else "")
    if wrong:
        return wrong
    if not weights.constant:
        return "weights that are no constants"
    return _scheme(operator.kind, source, weights)


def _scheme(kind: str, source: Tensor, weights: Tensor) -> str:
    """Which weights have kernels under which activations."""
    narrow = weights.dtype if weights.dtype != "int2" else "int4"
    allowed: tuple[str, ...] = (source.dtype,)
    if kind == "FULLY_CONNECTED":
        allowed += {"float32": ("int8", "int4"), "int8": ("int4",)}.get(source.dtype, ())
    elif kind != "DEPTHWISE_CONV_2D" and source.dtype == "float32":
        allowed += ("int8",)
    if narrow not in allowed:
        return f"{weights.dtype} weights under {source.dtype} activations"
    if narrow == "int4" and weights.shape[-1] % 2:
        return f"int4 weights for an odd number of inputs ({weights.shape[-1]})"
    zero = source.dtype == "int8" and any(weights.zero_point)
    return "weights with a zero point" if zero else ""


def _stretch(operator: Operator) -> str:
    """Integer products are scaled by a factor below 256."""
    source, weights, target = operator.source, operator.input(1), operator.target
    if operator.kind == "TRANSPOSE_CONV":
        source = operator.input(2)
    if target.dtype not in _EIGHT or not weights.scale:
        return ""
    return _scaled(source.scale[0] * max(weights.scale) / target.scale[0], 0.0, 2**8)


def _conv(operator: Operator) -> str:
    return first(_weights(operator), _activation(operator), _stretch(operator))


def _depthwise(operator: Operator) -> str:
    bias = "" if operator.optional(2) is not None else "no bias"
    filters, channels = operator.target.shape[-1], operator.source.shape[-1]
    multiplier = int(operator.option("depthMultiplier"))
    wrong = "" if multiplier > 0 and filters == channels * multiplier else f"depth multiplier {multiplier}"
    return first(bias, _conv(operator), wrong)


def _transposed(operator: Operator) -> str:
    window = operator.input(1).shape[1:3]
    strides = (operator.option("strideH"), operator.option("strideW"))
    wide = any(step > size for step, size in zip(strides, window, strict=True))
    return first(_static(operator, 0, "sizes"), _conv(operator), "strides beyond the window" if wide else "")


def _dense(operator: Operator) -> str:
    if operator.version == 8:
        return "version 8 (sparse weights)"
    if operator.option("weightsFormat"):
        return "shuffled weights"
    return _conv(operator)


def _matmul(operator: Operator) -> str:
    left, right, target = operator.input(0), operator.input(1), operator.target
    if left.dtype == target.dtype == "float32" and right.dtype == "int8":
        return "" if right.constant else "integers that are no constants"
    return first(
        *(typed(t, (*_FLOAT, "int8")) for t in (left, right, target)),
        "mixed types" if len({left.dtype, right.dtype, target.dtype}) > 1 else "",
        _axes(left, right, target),
    )


_ROWS: dict[str, Row] = merged(
    (
        rows("ADD SUB MUL", _pairs(_BOTH), _SOURCE),
        rows("DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE", _pairs(_FLOAT), _SOURCE),
        rows(
            "ABS CEIL COS EXP FLOOR GELU HARD_SWISH LOG NEG RELU RELU6 RELU_N1_TO_1 ROUND RSQRT SIN SQRT SQUARE",
            _of(_FLOAT),
            _SOURCE,
        ),
        rows("LOGISTIC TANH", _of(_BOTH), _SOURCE),
        rows("ELU", _of((*_FLOAT, "int8")), _SOURCE),
        rows("LEAKY_RELU", _of(_BOTH, _leaky), _SOURCE),
        rows("PRELU", _of(_FLOAT, _prelu), _SOURCE),
        rows("SOFTMAX", _of(_FLOAT, _softmax), _SOURCE),
        rows("AVERAGE_POOL_2D", _of(_FLOAT, _pool), _SOURCE),
        rows("MAX_POOL_2D", _of(_NO_HALF, _pool), _SOURCE),
        rows("MEAN SUM REDUCE_MAX REDUCE_MIN", _of(_BOTH, _constant_axes), _SOURCE),
        rows("RESIZE_BILINEAR", _of(_NO_HALF, _sizes), _SOURCE),
        rows("RESHAPE", _of(_BOTH, _shape), _SOURCE),
        rows("TRANSPOSE", _of(_BOTH, _order), _SOURCE),
        rows("PAD", _of(_BOTH, _paddings), _SOURCE),
        rows("SLICE", _of(_BOTH, _slice), _SOURCE),
        rows("STRIDED_SLICE", _of(_BOTH, _strided), _SOURCE),
        rows("CONCATENATION", _joined, _SOURCE),
        rows("SPLIT", _split, _SOURCE),
        rows("SPACE_TO_DEPTH DEPTH_TO_SPACE", _of(_BOTH, _block), _SOURCE),
        rows("QUANTIZE", _quantize, _SOURCE),
        rows("DEQUANTIZE", _dequantize, _SOURCE),
        rows("CONV_2D", _conv, _SOURCE),
        rows("DEPTHWISE_CONV_2D", _depthwise, _SOURCE),
        rows("TRANSPOSE_CONV", _transposed, _SOURCE),
        rows("FULLY_CONNECTED", _dense, _SOURCE),
        rows("BATCH_MATMUL", _matmul, _SOURCE),
    )
)

TABLE = declare(Table("cpu", "XNNPACK, LiteRT's kernels for CPUs.", VERSION, _ROWS))
