"""The rules of NNAPI's tables: what TensorFlow Lite's delegate asks of each kind of operator at an API level.

Source: ``Validate`` in tensorflow/lite/delegates/nnapi/nnapi_delegate.cc.
"""

from __future__ import annotations

from collections.abc import Callable

from adascale_runtime.device.nnapi import LEVELS
from converters.delegates.operator import Operator, Tensor
from converters.delegates.table import first

_FLOAT = ("float32",)
_QUANTIZED = ("uint8", "int8")
_COMMON = _FLOAT + _QUANTIZED
_NUMBERS = (*_COMMON, "int32")
#: What an operand may hold at all; float16 only where it is unpacked from constants.
OPERANDS = (*_NUMBERS, "bool", "int16", "float16")

#: A rule that the API level decides, too.
Ruled = Callable[[Operator, int], str]


def _of(types: tuple[str, ...], at: int = 0) -> Ruled:
    return lambda o, level: "" if o.input(at).dtype in types else o.input(at).dtype


def _since(wanted: int, words: str) -> str:
    name = next(name for name, level in LEVELS.items() if level == wanted)
    return f"{words} before NNAPI {name}"


def _constant(tensor: Tensor, words: str) -> str:
    return "" if tensor.constant else f"{words} that is computed"


def _hybrid(o: Operator) -> bool:
    """Float activations with quantized weights."""
    weights = o.optional(1 if o.kind != "LSTM" else 2)
    return o.source.dtype == "float32" and weights is not None and weights.dtype in _QUANTIZED


def _scale(tensor: Tensor) -> float:
    return tensor.scale[0] if tensor.scale else 0.0


def _narrow(o: Operator, level: int) -> str:
    """Convolutions and fully connected layers before NNAPI 1.2."""
    if level >= 29:
        return ""
    weights, source = o.input(1), o.source
    exact = _scale(source) * _scale(weights) < _scale(o.target)
    return first(
        _since(29, "quantized weights under float activations") if _hybrid(o) else "",
        "" if source.dtype in ("float32", "uint8") else _since(29, source.dtype),
        _since(29, "weights quantized by channel") if weights.quantization == "channel" else "",
        "" if source.dtype != "uint8" or exact else _since(29, "an output scale below that of the products"),
    )


def _convolution(o: Operator, level: int) -> str:
    dilated = (o.option("dilationWFactor", 1), o.option("dilationHFactor", 1)) != (1, 1)
    return first(
        _narrow(o, level),
        "no bias" if o.kind == "CONV_2D" and o.optional(2) is None else "",
        _since(29, "dilation") if dilated and level < 29 else "",
    )


def _dense(o: Operator, level: int) -> str:
    kept = o.option("keepNumDims", False) and level < 30
    return first(
        "int16" if o.target.dtype == "int16" else "", _narrow(o, level), _since(30, "kept dimensions") if kept else ""
    )


def _sum(o: Operator, level: int) -> str:
    """ADD and MUL: integers of 32 bits from NNAPI 1.3 on, without an activation."""
    if o.source.dtype != "int32":
        return _of(_COMMON)(o, level)
    return _since(30, "int32") if level < 30 else _inactive(o, level)


def _difference(o: Operator, level: int) -> str:
    wanted = {"float32": 28, "uint8": 29, "int8": 29, "int32": 30}.get(o.source.dtype)
    if wanted is None or level < wanted:
        return o.source.dtype if wanted is None else _since(wanted, o.source.dtype)
    return first(_inactive(o, level) if o.source.dtype == "int32" else "", _shallow(o, level))


def _squared(o: Operator, level: int) -> str:
    wanted = {"float32": 28, "uint8": 29, "int8": 30, "int32": 30}.get(o.source.dtype)
    if wanted is None or level < wanted:
        return o.source.dtype if wanted is None else _since(wanted, o.source.dtype)
    return _shallow(o, level)


def _inactive(o: Operator, level: int) -> str:
    return "" if o.activation == "NONE" else f"a fused {o.activation}"


def _shallow(o: Operator, level: int) -> str:
    ranks = [t.rank for t in o.inputs if t is not None]
    return f"rank {max(ranks)}" if ranks and max(ranks) > 4 else ""


def _choice(o: Operator, level: int) -> str:
    axis = o.input(1)
    return first(
        _of(("float16", *_NUMBERS))(o, level),
        "" if axis.dtype == "int32" or (axis.dtype == "int64" and axis.constant) else f"an axis of {axis.dtype}",
        "" if o.target.dtype == "int32" else f"an output of {o.target.dtype}",
    )


def _l2_pool(o: Operator, level: int) -> str:
    return first(_of(_FLOAT)(o, level), _inactive(o, level) and _since(29, _inactive(o, level)) if level < 29 else "")


def _softmax(o: Operator, level: int) -> str:
    rank = o.source.rank
    return first(
        _of(_COMMON)(o, level),
        "" if o.target.dtype in _COMMON else f"an output of {o.target.dtype}",
        f"rank {rank}" if rank > 4 else _since(29, f"rank {rank}") if level < 29 and rank not in (2, 4) else "",
    )


def _reshape(o: Operator, level: int) -> str:
    shape = o.optional(1)
    scalar = shape is None and not [n for n in (o.option("newShape", None) or []) if n]
    return first(
        _of(_COMMON)(o, level),
        "" if shape is None else _constant(shape, "a shape"),
        "a scalar output" if scalar and not o.target.rank else "",
    )


def _resize(o: Operator, level: int) -> str:
    rank, bilinear, size = o.source.rank, o.kind == "RESIZE_BILINEAR", o.target.shape
    return first(
        f"rank {rank}" if bilinear and rank != 4 else "",
        _of(_COMMON)(o, level),
        _constant(o.input(1), "a size"),
        _since(29, "a size that is not square") if bilinear and level < 29 and len(set(size[1:3])) > 1 else "",
        _since(30, "align_corners") if o.option("alignCorners", False) and level < 30 else "",
        _since(30, "half_pixel_centers") if o.option("halfPixelCenters", False) and level < 30 else "",
        _since(29, o.source.dtype) if bilinear and level < 29 and o.source.dtype != "float32" else "",
    )


def _squeeze(o: Operator, level: int) -> str:
    named = o.option("squeezeDims", None)
    return _since(29, "no squeeze_dims") if level == 28 and (named is None or not len(named)) else ""


def _concatenation(o: Operator, level: int) -> str:
    parts = [t for t in o.inputs if t is not None]
    same = len({(t.scale, t.zero_point) for t in parts}) <= 1
    return first(
        _inactive(o, level),
        f"rank {o.source.rank}" if o.source.rank > 4 else "",
        _of(("float16", *_COMMON))(o, level),
        _since(29, "inputs of different scales") if o.source.dtype == "uint8" and level < 29 and not same else "",
    )


def _dequantize(o: Operator, level: int) -> str:
    kind, zeros = o.source.dtype, set(o.source.zero_point) <= {0}
    if kind == "float16":
        return "" if level >= 30 else _since(30, "float16")
    return first(
        "" if kind in _QUANTIZED else kind,
        _since(29, "int8") if kind == "int8" and level < 29 else "",
        _since(30, "an int8 zero point other than 0") if kind == "int8" and level == 29 and not zeros else "",
    )


def _tanh(o: Operator, level: int) -> str:
    return first(
        _of(_COMMON)(o, level), _since(29, o.source.dtype) if level < 29 and o.source.dtype != "float32" else ""
    )


def _pad(o: Operator, level: int) -> str:
    return first(
        _of(_COMMON)(o, level),
        "an empty input" if 0 in o.source.shape else "",
        _since(29, "a value to pad with") if level < 29 and o.optional(2) is not None else "",
        _since(29, o.source.dtype) if level < 29 and o.source.dtype != "float32" else "",
    )


def _to_batch(o: Operator, level: int) -> str:
    crops = o.input(2).numbers()
    return "" if crops == (0, 0, 0, 0) else "crops other than 0"


def _slice(o: Operator, level: int) -> str:
    places = {o.input(1).dtype, o.input(2).dtype} - {"int32"}
    return first(_of(_NUMBERS)(o, level), f"places of {places.pop()}" if places else "")


def _transposed(o: Operator, level: int) -> str:
    return first(_constant(o.input(0), "a shape"), _constant(o.input(1), "weights"))


def _recurrent(o: Operator, level: int) -> str:
    return first(
        "" if len(o.inputs) == 5 else f"{len(o.inputs)} inputs",
        "" if o.input(1).dtype == "float32" else f"weights of {o.input(1).dtype}",
    )


def _lstm(o: Operator, level: int) -> str:
    basic = len(o.inputs) == 5
    weights = o.input(2 if basic else 4).dtype
    allowed = ("uint8",) if basic else _COMMON if level >= 30 else ("float32", "uint8")
    return first(
        _since(29, "quantized weights under float activations") if level < 29 and not basic and _hybrid(o) else "",
        _since(29, "24 inputs") if len(o.inputs) == 24 and level < 29 else "",
        "" if weights in allowed else f"weights of {weights}",
    )


def _sequence(o: Operator, level: int) -> str:
    several = o.kind != "UNIDIRECTIONAL_SEQUENCE_LSTM" or len(o.inputs) in (20, 24)
    return first(
        "quantized weights under float activations" if _hybrid(o) else "",
        "" if several else f"{len(o.inputs)} inputs",
    )


def _mean(o: Operator, level: int) -> str:
    allowed = _COMMON if level >= 29 else _FLOAT
    early = o.source.dtype in _COMMON and o.source.dtype not in allowed
    return first(
        _since(29, o.source.dtype) if early else _of(_COMMON)(o, level), "" if o.target.rank else "a scalar output"
    )


def _reduced(types: tuple[str, ...]) -> Ruled:
    return lambda o, level: first(_of(types)(o, level), "" if o.target.rank else "a scalar output")


def _cast(o: Operator, level: int) -> str:
    for tensor in (o.source, o.target):
        if tensor.dtype not in _NUMBERS:
            return tensor.dtype
        if tensor.dtype == "int8" and level < 30:
            return _since(30, "int8")
    return ""


def _top(o: Operator, level: int) -> str:
    k = o.input(1)
    return first(_of(_NUMBERS)(o, level), "" if k.dtype == "int32" else f"k of {k.dtype}", _constant(k, "k"))


def _select(o: Operator, level: int) -> str:
    same = o.source.shape == o.input(1).shape
    return first(_of(_NUMBERS, 1)(o, level), "" if same else "a condition of another shape")


def _gather(o: Operator, level: int) -> str:
    places = o.input(1)
    return first(
        _of(("float16", *_NUMBERS))(o, level),
        "" if places.dtype == "int32" else f"positions of {places.dtype}",
        "" if places.rank else "a scalar position",
    )


def _axis(tensor: Tensor) -> str:
    return "" if tensor.dtype == "int32" and tensor.constant else "an axis that is no constant of int32"


def _split(o: Operator, level: int) -> str:
    early = _since(30, "int8") if o.input(1).dtype == "int8" and level < 30 else ""
    return first(_of(_NUMBERS, 1)(o, level), early, _axis(o.source))


def _split_v(o: Operator, level: int) -> str:
    sizes = o.input(1)
    plain = sizes.dtype == "int32" and sizes.rank == 1 and sizes.constant
    return first(_of(_NUMBERS)(o, level), "" if plain else "sizes that are no constants of int32", _axis(o.input(2)))


def _quantize(o: Operator, level: int) -> str:
    kind = o.target.dtype
    return first(
        _of(_COMMON)(o, level),
        "" if kind in _QUANTIZED else f"an output of {kind}",
        _since(30, "an output of int8") if kind == "int8" and level < 30 else "",
    )


def _fill(o: Operator, level: int) -> str:
    value = o.input(1).dtype
    return first(
        _constant(o.source, "a shape"), "" if value in ("float32", "int32", "int64") else value,
        "" if o.target.rank else "a scalar output",
    )  # fmt: skip


def _pack(o: Operator, level: int) -> str:
    axis = o.option("axis", 0)
    last = axis in (-1, o.source.rank)
    return first(_of(("int32", "float32", "int8"))(o, level), "an axis after the last" if last else "")


def _any(o: Operator, level: int) -> str:
    return ""


#: The rule of each kind; several kinds stand with spaces between them.
RULES: tuple[tuple[str, Ruled], ...] = (
    ("ADD MUL", _sum), ("SUB", _difference), ("SQUARED_DIFFERENCE", _squared), ("DIV", _of(_FLOAT)),
    ("CONV_2D DEPTHWISE_CONV_2D", _convolution), ("FULLY_CONNECTED", _dense), ("TRANSPOSE_CONV", _transposed),
    ("AVERAGE_POOL_2D MAX_POOL_2D HARD_SWISH RELU RELU6 RELU_N1_TO_1 LOGISTIC SPACE_TO_DEPTH DEPTH_TO_SPACE PRELU "
     "LEAKY_RELU", _of(_COMMON)),
    ("L2_POOL_2D", _l2_pool), ("TANH", _tanh), ("SOFTMAX", _softmax), ("LOG_SOFTMAX ELU", _of(_FLOAT)),
    ("RESHAPE", _reshape), ("RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", _resize), ("SQUEEZE", _squeeze),
    ("EXPAND_DIMS", lambda o, level: first(_of(("float16", *_NUMBERS))(o, level), _axis(o.input(1)))),
    ("CONCATENATION", _concatenation), ("PACK", _pack), ("SPLIT", _split), ("SPLIT_V", _split_v),
    ("PAD PADV2", _pad), ("SPACE_TO_BATCH_ND STRIDED_SLICE FLOOR LOCAL_RESPONSE_NORMALIZATION", _any),
    ("BATCH_TO_SPACE_ND", _to_batch), ("SLICE", _slice), ("GATHER", _gather), ("TOPK_V2", _top), ("SELECT", _select),
    ("TRANSPOSE", lambda o, level: _constant(o.input(1), "a permutation")),
    ("TILE", lambda o, level: first(_of(_NUMBERS)(o, level), "" if o.input(1).dtype == "int32" else o.input(1).dtype)),
    ("DEQUANTIZE", _dequantize), ("QUANTIZE", _quantize), ("CAST", _cast),
    ("ABS EXP LOG RSQRT POW SIN SQRT", _of(_FLOAT)), ("NEG", _of(("float32", "int32"))),
    ("MAXIMUM MINIMUM", _of(_NUMBERS)), ("LOGICAL_OR LOGICAL_AND LOGICAL_NOT", _of(("bool",))),
    ("LESS LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL", _of((*_NUMBERS, "bool"))),
    ("ARG_MAX ARG_MIN", _choice), ("MEAN", _mean), ("SUM REDUCE_PROD", _reduced(_FLOAT)),
    ("REDUCE_MIN REDUCE_MAX", _reduced(_COMMON)), ("REDUCE_ANY", _reduced(("bool",))),
    ("L2_NORMALIZATION", lambda o, level: first(
        _inactive(o, level), "" if level >= 29 else _of(_FLOAT)(o, level),
        _since(29, f"rank {o.source.rank}") if level < 29 and o.source.rank != 4 else "")),
    ("RNN SVDF", _recurrent), ("LSTM", _lstm), ("FILL", _fill),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM UNIDIRECTIONAL_SEQUENCE_RNN BIDIRECTIONAL_SEQUENCE_LSTM", _sequence),
)  # fmt: skip
