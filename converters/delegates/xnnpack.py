"""What XNNPACK, LiteRT's CPU backend, takes: delegate "cpu".

Sources: tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc, and LiteRT's profile of one-operator files.
"""

from __future__ import annotations

from converters.delegates.operator import Operator
from converters.delegates.table import Row, Table, declare, first, rows

_DELEGATE = "tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc"
_8_BITS = ("int8", "uint8")


def _wide(operator: Operator) -> str:
    return "int16" if operator.target.dtype == "int16" else ""


def _average_pool(operator: Operator) -> str:
    return first(_wide(operator), operator.target.dtype if operator.target.dtype in _8_BITS else "")


def _depthwise(operator: Operator) -> str:
    hybrid = operator.target.dtype == "float32" and operator.input(1).dtype in ("int8", "int4")
    return first(_wide(operator), "8-bit filters under float activations" if hybrid else "")


_PLAIN = (
    "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE PRELU LEAKY_RELU RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ABS NEG "
    "SQUARE LOGISTIC TANH SOFTMAX HARD_SWISH ELU GELU EXP SQRT RSQRT LOG CONCATENATION PAD PADV2 SPLIT SLICE "
    "STRIDED_SLICE TRANSPOSE SPACE_TO_DEPTH DEPTH_TO_SPACE RESHAPE SQUEEZE EXPAND_DIMS MAX_POOL_2D MEAN SUM QUANTIZE "
    "DEQUANTIZE RESIZE_BILINEAR CONV_2D FULLY_CONNECTED TRANSPOSE_CONV BATCH_MATMUL"
)
_ROWS: dict[str, Row] = {
    **rows(_PLAIN, _wide, _DELEGATE),
    **rows("AVERAGE_POOL_2D", _average_pool, _DELEGATE),
    **rows("DEPTHWISE_CONV_2D", _depthwise, _DELEGATE),
}

TABLE = declare(Table("cpu", "XNNPACK, LiteRT's kernels for CPUs.", "LiteRT 2.3.0", _ROWS))
