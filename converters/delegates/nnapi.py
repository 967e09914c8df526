"""What Android's neural networks API takes, by version: delegates "nnapi:1.0" to "nnapi:1.3", which is "nnapi", too.

TensorFlow Lite's delegate decides by the API level of the phone which operators it hands over; the phone's driver may
take fewer, and without an accelerator none is used at all. Sources: ``Validate`` in
tensorflow/lite/delegates/nnapi/nnapi_delegate.cc for the rules (:mod:`.nnapi_rules`), ``Map`` there for the operations
of NNAPI that a kind becomes.
"""

from __future__ import annotations

from adascale_runtime.device.nnapi import LEVELS
from converters.delegates.nnapi_rules import OPERANDS, RULES, Ruled
from converters.delegates.operator import Operator
from converters.delegates.table import Check, Row, Table, declare, first

VERSION = "TensorFlow 2.21"
_SOURCE = "tensorflow/lite/delegates/nnapi/nnapi_delegate.cc"
#: How many pieces the delegate takes unless an application asks for more: nnapi_delegate.h.
_PIECES = 3

#: The operations of NNAPI (``ANEURALNETWORKS_*``) that kinds become, where they have not the kind's name.
_BECOME: dict[str, tuple[str, ...]] = {
    "RELU_N1_TO_1": ("RELU1",), "ARG_MAX": ("ARGMAX",), "ARG_MIN": ("ARGMIN",), "PADV2": ("PAD_V2",),
    "SUM": ("REDUCE_SUM",), "LEAKY_RELU": ("PRELU",), "PACK": ("CONCATENATION", "RESHAPE"), "SPLIT_V": ("SLICE",),
    "SQUARED_DIFFERENCE": ("SUB", "MUL"),
}  # fmt: skip


def operations(kind: str, level: int) -> tuple[str, ...]:
    """The operations of NNAPI that an operator of a kind becomes at an API level."""
    if kind == "HARD_SWISH" and level < LEVELS["1.3"]:
        return ("MUL", "ADD")
    return _BECOME.get(kind, (kind,))


#: The API level from which on kinds are taken, for those that are not taken at 27.
_SINCE = {
    28: "SQUEEZE SUB DIV PAD SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND STRIDED_SLICE TRANSPOSE SVDF LSTM MEAN "
    "SQUARED_DIFFERENCE",
    29: "ARG_MAX ARG_MIN RESIZE_NEAREST_NEIGHBOR UNIDIRECTIONAL_SEQUENCE_LSTM UNIDIRECTIONAL_SEQUENCE_RNN ABS EXP LOG "
    "RSQRT POW SLICE SIN TRANSPOSE_CONV SQRT MAXIMUM MINIMUM CAST LEAKY_RELU PRELU TILE LOGICAL_OR LOGICAL_AND "
    "LOGICAL_NOT LESS LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL NEG TOPK_V2 SELECT GATHER PADV2 "
    "BIDIRECTIONAL_SEQUENCE_LSTM EXPAND_DIMS SPLIT LOG_SOFTMAX QUANTIZE REDUCE_ANY REDUCE_MIN REDUCE_MAX REDUCE_PROD "
    "SUM",
    30: "ELU FILL PACK SPLIT_V",
}
#: The greatest version of kinds.
_VERSIONS = {
    1: "L2_POOL_2D RESHAPE SQUEEZE LOCAL_RESPONSE_NORMALIZATION FLOOR DIV UNIDIRECTIONAL_SEQUENCE_RNN "
    "ABS EXP LOG RSQRT POW SIN SQRT RNN SVDF CAST LEAKY_RELU PRELU TILE LOGICAL_OR "
    "LOGICAL_AND LOGICAL_NOT BIDIRECTIONAL_SEQUENCE_LSTM EXPAND_DIMS LOG_SOFTMAX REDUCE_PROD SUM ELU FILL",
    2: "ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D MAX_POOL_2D SOFTMAX UNIDIRECTIONAL_SEQUENCE_LSTM L2_NORMALIZATION "
    "CONCATENATION DEQUANTIZE RELU RELU_N1_TO_1 RELU6 LOGISTIC TANH PAD PADV2 SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND "
    "STRIDED_SLICE TRANSPOSE SLICE SPACE_TO_DEPTH MEAN LESS LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL NEG "
    "TOPK_V2 SELECT GATHER SPLIT_V QUANTIZE REDUCE_ANY REDUCE_MIN REDUCE_MAX PACK SQUARED_DIFFERENCE",
    3: "DEPTHWISE_CONV_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SUB TRANSPOSE_CONV LSTM MAXIMUM MINIMUM SPLIT",
    5: "CONV_2D FULLY_CONNECTED",
}


def least_level(kind: str) -> int:
    """The API level from which on a kind is taken."""
    return next((level for level, kinds in _SINCE.items() if kind in kinds.split()), LEVELS["1.0"])


def _check(rule: Ruled, kind: str, level: int) -> Check:
    least = least_level(kind)
    if level < least:
        name = next(name for name, api in LEVELS.items() if api == least)
        return lambda o: f"no kernel before NNAPI {name}"

    def check(operator: Operator) -> str:
        strange = (t.dtype for t in (*operator.variables, *operator.outputs) if t.dtype not in OPERANDS)
        return first(rule(operator, level), next(strange, ""))

    return check


def _rows(level: int) -> dict[str, Row]:
    most = {kind: number for number, kinds in _VERSIONS.items() for kind in kinds.split()}
    most["MUL"] = 3 if level >= LEVELS["1.2"] else 2
    return {
        kind: Row(kind, (1, most.get(kind, 99)), _check(rule, kind, level), _SOURCE)
        for kinds, rule in RULES
        for kind in kinds.split()
    }


*_OLDER, _NEWEST = LEVELS
for _name in _OLDER:
    _summary = f"Android's NNAPI {_name}, API level {LEVELS[_name]}."
    declare(Table(f"nnapi:{_name}", _summary, VERSION, _rows(LEVELS[_name]), pieces=_PIECES))
#: The newest version, which phones from Android 11 on have.
TABLE = declare(
    Table("nnapi", "Android's NNAPI, deprecated since Android 15.", VERSION, _rows(LEVELS[_NEWEST]), pieces=_PIECES),
    f"nnapi:{_NEWEST}",
)
