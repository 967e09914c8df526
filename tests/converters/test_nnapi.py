"""NNAPI's tables: no row is older than the operations that it needs, and each rule at each API level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.device.nnapi import DEPRECATED, LEVELS, api_level, remark, version
from adascale_runtime.errors import BadInput
from converters.delegates import nnapi, support, table
from converters.delegates.nnapi_rules import RULES
from converters.delegates.operator import Operator, Tensor
from profiling import micro_kernels
from tests.converters.nnapi_operations import CODES, PUBLISHED

KINDS = sorted(kind for kinds, _ in RULES for kind in kinds.split())
SCHEMA = {name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
FLOAT = Tensor(0, (1, 8, 8, 4), "float32")
UINT8 = Tensor(0, (1, 8, 8, 4), "uint8", quantization="tensor", scale=(0.1,), zero_point=(128,))
INT8 = Tensor(0, (1, 8, 8, 4), "int8", quantization="tensor", scale=(0.1,), zero_point=(3,))
WHOLE = Tensor(0, (1, 8, 8, 4), "int32")
PLACES = Tensor(9, (4,), "int32", constant=True)


def operator(kind: str, *inputs: Tensor | None, target: Tensor = FLOAT, version: int = 1, **options: Any) -> Operator:
    return Operator(0, kind, version, inputs, (target,), options)


def judged(one: Operator) -> dict[int, str]:
    """Why an operator is not taken, by API level; empty where it is."""
    return {level: table.lookup(f"nnapi:{name}").judge(one)[0] for name, level in LEVELS.items()}


def first_level(one: Operator) -> int | None:
    levels = [level for level, reason in judged(one).items() if not reason]
    assert levels == [level for level in LEVELS.values() if levels and level >= levels[0]]  # never taken back
    return levels[0] if levels else None


# --- against what the NDK publishes


def test_the_published_lists_have_the_headers_codes() -> None:
    coded = {name: first + n for first, names in PUBLISHED.values() for n, name in enumerate(names)}
    assert sorted(coded.values()) == list(range(102))
    assert {name: coded[name] for name in CODES} == CODES
    assert sorted(LEVELS.values()) == sorted(PUBLISHED)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_is_taken_before_the_operations_that_it_becomes(kind: str) -> None:
    appeared = {name: level for level, (_, names) in PUBLISHED.items() for name in names}
    least = nnapi.least_level(kind)
    assert kind in SCHEMA
    for level in LEVELS.values():
        if level >= least:
            for name in nnapi.operations(kind, level):
                assert appeared[name] <= level, name


def test_kinds_of_no_level_are_not_in_the_table() -> None:
    for kind in ("BATCH_MATMUL", "GELU", "CUSTOM", "WHILE", "RFFT2D", "EMBEDDING_LOOKUP"):
        assert judged(operator(kind, FLOAT)) == dict.fromkeys(LEVELS.values(), table.NO_KERNEL)


def test_the_tables_are_those_of_the_versions_and_the_newest_is_the_plain_one() -> None:
    names = {name for name in (*table.TABLES, *table.ALIASES) if name.startswith("nnapi")}
    assert names == {"nnapi", *(f"nnapi:{v}" for v in LEVELS)} and table.ALIASES["nnapi:1.3"] == "nnapi"
    assert set(nnapi.TABLE.rows) == set(KINDS) == set(table.lookup("nnapi:1.0").rows)
    for row in nnapi.TABLE.rows.values():
        assert row.source.endswith("nnapi_delegate.cc") and row.versions[0] == 1


# --- rules


CONVOLUTION = (FLOAT, replace(FLOAT, shape=(4, 3, 3, 4), constant=True), replace(FLOAT, shape=(4,), constant=True))
Q_WEIGHTS = replace(INT8, shape=(4, 3, 3, 4), constant=True, scale=(0.01,) * 4, quantization="channel")
Q_BIAS = Tensor(2, (4,), "int32", constant=True)
U_WEIGHTS = replace(UINT8, shape=(4, 3, 3, 4), constant=True, scale=(0.01,))
CASES: Mapping[str, tuple[Operator, int | None]] = {
    "float convolution": (operator("CONV_2D", *CONVOLUTION), 27),
    "uint8 convolution": (operator("CONV_2D", UINT8, U_WEIGHTS, Q_BIAS, target=replace(UINT8, scale=(0.2,))), 27),
    "uint8, large products": (operator("CONV_2D", UINT8, replace(U_WEIGHTS, scale=(5.0,)), Q_BIAS, target=UINT8), 29),
    "int8 by channel": (operator("CONV_2D", INT8, Q_WEIGHTS, Q_BIAS, target=INT8, version=3), 29),
    "hybrid convolution": (operator("CONV_2D", FLOAT, Q_WEIGHTS, CONVOLUTION[2], version=5), 29),
    "dilated": (operator("CONV_2D", *CONVOLUTION, dilationWFactor=2, dilationHFactor=2), 29),
    "no bias": (operator("CONV_2D", *CONVOLUTION[:2], None), None),
    "a version to come": (operator("CONV_2D", *CONVOLUTION, version=6), None),
    "depthwise": (operator("DEPTHWISE_CONV_2D", *CONVOLUTION), 27),
    "depthwise int8": (operator("DEPTHWISE_CONV_2D", INT8, Q_WEIGHTS, Q_BIAS, target=INT8, version=3), 29),
    "dense": (operator("FULLY_CONNECTED", FLOAT, CONVOLUTION[1], None), 27),
    "dense, kept dimensions": (operator("FULLY_CONNECTED", FLOAT, CONVOLUTION[1], None, keepNumDims=True), 30),
    "dense int16": (operator("FULLY_CONNECTED", INT8, Q_WEIGHTS, target=replace(INT8, dtype="int16")), None),
    "add": (operator("ADD", FLOAT, FLOAT), 27),
    "add int8": (operator("ADD", INT8, INT8, target=INT8, version=2), 27),
    "add int32": (operator("ADD", WHOLE, WHOLE, target=WHOLE), 30),
    "add int32 with relu": (operator("ADD", WHOLE, WHOLE, target=WHOLE, fusedActivationFunction=1), None),
    "add int16": (operator("ADD", *[replace(INT8, dtype="int16")] * 2), None),
    "mul 3": (operator("MUL", FLOAT, FLOAT, version=3), 29),
    "sub": (operator("SUB", FLOAT, FLOAT), 28),
    "sub int8": (operator("SUB", INT8, INT8, target=INT8), 29),
    "sub int32": (operator("SUB", WHOLE, WHOLE, target=WHOLE), 30),
    "sub of rank 5": (operator("SUB", replace(FLOAT, shape=(1,) * 5), FLOAT), None),
    "mean": (operator("MEAN", FLOAT, PLACES), 28),
    "mean int8": (operator("MEAN", INT8, PLACES, target=INT8), 29),
    "mean to a scalar": (operator("MEAN", FLOAT, PLACES, target=replace(FLOAT, shape=())), None),
    "softmax": (operator("SOFTMAX", FLOAT), 27),
    "softmax of rank 3": (operator("SOFTMAX", replace(FLOAT, shape=(1, 2, 3))), 29),
    "softmax of rank 5": (operator("SOFTMAX", replace(FLOAT, shape=(1,) * 5)), None),
    "reshape": (operator("RESHAPE", FLOAT, PLACES), 27),
    "reshape, computed": (operator("RESHAPE", FLOAT, replace(PLACES, constant=False)), None),
    "resize": (operator("RESIZE_BILINEAR", FLOAT, PLACES), 27),
    "resize int8": (operator("RESIZE_BILINEAR", INT8, PLACES, target=INT8), 29),
    "resize, half pixels": (operator("RESIZE_BILINEAR", FLOAT, PLACES, version=3, halfPixelCenters=True), 30),
    "resize, not square": (operator("RESIZE_BILINEAR", FLOAT, PLACES, target=replace(FLOAT, shape=(1, 4, 8, 4))), 29),
    "nearest": (operator("RESIZE_NEAREST_NEIGHBOR", FLOAT, PLACES), 29),
    "pad": (operator("PAD", FLOAT, PLACES), 28),
    "pad int8": (operator("PAD", INT8, PLACES, target=INT8), 29),
    "pad with a value": (operator("PADV2", FLOAT, PLACES, replace(FLOAT, shape=())), 29),
    "squeeze": (operator("SQUEEZE", FLOAT, squeezeDims=[1]), 28),
    "squeeze, none named": (operator("SQUEEZE", FLOAT, squeezeDims=None), 29),
    "concatenation": (operator("CONCATENATION", UINT8, UINT8, target=UINT8), 27),
    "concatenation of scales": (operator("CONCATENATION", UINT8, replace(UINT8, scale=(0.3,)), target=UINT8), 29),
    "concatenation of rank 5": (operator("CONCATENATION", replace(FLOAT, shape=(1,) * 5)), None),
    "tanh": (operator("TANH", FLOAT), 27),
    "tanh int8": (operator("TANH", INT8, target=INT8, version=2), 29),
    "hard swish": (operator("HARD_SWISH", FLOAT), 27),
    "dequantize int8": (operator("DEQUANTIZE", INT8, version=2), 30),
    "dequantize symmetric": (operator("DEQUANTIZE", replace(INT8, zero_point=(0,)), version=2), 29),
    "dequantize float16": (operator("DEQUANTIZE", replace(FLOAT, dtype="float16")), 30),
    "quantize to uint8": (operator("QUANTIZE", FLOAT, target=UINT8), 29),
    "quantize to int8": (operator("QUANTIZE", FLOAT, target=INT8), 30),
    "transpose": (operator("TRANSPOSE", FLOAT, PLACES), 28),
    "transpose int64": (operator("TRANSPOSE", *[replace(FLOAT, dtype="int64")], PLACES), None),
    "slice": (operator("SLICE", FLOAT, PLACES, PLACES), 29),
    "slice, long places": (operator("SLICE", FLOAT, replace(PLACES, dtype="int64"), PLACES), None),
    "gather": (operator("GATHER", FLOAT, replace(PLACES, constant=False), version=2), 29),
    "arg max": (operator("ARG_MAX", FLOAT, PLACES, target=WHOLE), 29),
    "arg max of int64": (operator("ARG_MAX", FLOAT, PLACES, target=replace(WHOLE, dtype="int64")), None),
    "split": (operator("SPLIT", PLACES, FLOAT), 29),
    "split int8": (operator("SPLIT", PLACES, INT8, target=INT8), 30),
    "split by sizes": (operator("SPLIT_V", FLOAT, PLACES, PLACES), 30),
    "pack": (operator("PACK", FLOAT, FLOAT, axis=0), 30),
    "pack at the end": (operator("PACK", FLOAT, FLOAT, axis=4), None),
    "elu": (operator("ELU", FLOAT), 30),
    "exp int8": (operator("EXP", INT8, target=INT8), None),
    "squared difference": (operator("SQUARED_DIFFERENCE", FLOAT, FLOAT), 28),
    "sum": (operator("SUM", FLOAT, PLACES), 29),
    "logical": (operator("LOGICAL_NOT", replace(FLOAT, dtype="bool"), target=replace(FLOAT, dtype="bool")), 29),
    "basic lstm": (operator("LSTM", UINT8, UINT8, UINT8, Q_BIAS, WHOLE, target=UINT8), 28),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_is_taken_from_its_level_on(name: str) -> None:
    one, level = CASES[name]
    assert first_level(one) == level, judged(one)
    for reason in judged(one).values():
        assert "\n" not in reason and not reason.endswith(".")


def test_reasons_name_the_version_that_takes_it() -> None:
    assert judged(CASES["sub int8"][0]) == {
        27: "no kernel before NNAPI 1.1",
        28: "int8 before NNAPI 1.2",
        29: "",
        30: "",
    }
    assert judged(CASES["int8 by channel"][0])[27] == "int8 before NNAPI 1.2"
    assert judged(CASES["resize, half pixels"][0])[29] == "half_pixel_centers before NNAPI 1.3"
    assert judged(CASES["mul 3"][0])[28] == "version 3"


@given(
    st.sampled_from(KINDS), st.lists(st.sampled_from([FLOAT, UINT8, INT8, WHOLE, PLACES, None]), max_size=6),
    st.sampled_from([FLOAT, INT8, WHOLE]), st.integers(1, 6), st.integers(0, 5),
)  # fmt: skip
def test_every_rule_judges_or_refuses_any_operator(
    kind: str, inputs: list[Tensor | None], target: Tensor, version: int, activation: int
) -> None:
    one = operator(kind, *inputs, target=target, version=version, fusedActivationFunction=activation)
    try:
        reasons = judged(one)
    except BadInput as error:  # an input that the kind cannot do without
        assert "lacks an input" in str(error)
    else:
        taken = [not reason for reason in reasons.values()]
        assert taken == sorted(taken)  # what an earlier version takes, a later one does


# --- files


def test_the_level_of_real_files() -> None:
    dense = micro_kernels.write(micro_kernels.Kernel("dense", "float", 1, 24, 2))
    assert support.api_level(dense, micro_kernels.SIGNATURE) == 27
    assert support.api_level(dense, micro_kernels.SIGNATURE, "gpu") is None
    for name in LEVELS:
        assert support.support(dense, micro_kernels.SIGNATURE, f"nnapi:{name}").whole
    integer = micro_kernels.write(micro_kernels.Kernel("conv", "integer", 8, 4, 4))
    assert support.api_level(integer, micro_kernels.SIGNATURE) in (29, 30)
    early = support.support(integer, micro_kernels.SIGNATURE, "nnapi:1.1")
    assert early.taken == 0 and any("before NNAPI 1.2" in r.reason for r in early.refusals)


# --- phones


@pytest.mark.parametrize(
    ("sdk", "wanted"),
    [("26", None), ("27", "1.0"), ("28", "1.1"), ("29", "1.2"), ("30", "1.3"), ("31", "1.3"), ("36", "1.3"),
     (None, None), ("", None), ("x", None), ("-29", None), ("٣٠", None), ("9" * 30, None), (30, "1.3"), (29.5, None)],
)  # fmt: skip
def test_the_version_of_a_phone(sdk: object, wanted: str | None) -> None:
    assert version(api_level({"sdk": sdk})) == wanted


@given(st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans()))
def test_whatever_a_phone_says_is_a_level_or_none(told: object) -> None:
    found = api_level({"sdk": told})
    assert found is None or 0 <= found <= 999
    assert bool(remark({"sdk": told})) == (found is not None and found >= DEPRECATED)


def test_the_remark_names_the_phone_and_what_to_use() -> None:
    told = remark({"name": "Pixel 9 1", "sdk": "35"})
    assert told.startswith("NNAPI is deprecated on Pixel 9 1 (API level 35): ") and "gpu and npu" in told
    assert remark({"name": "Pixel 8 1", "sdk": "34"}) == remark({}) == ""
