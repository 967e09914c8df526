"""Support as manifests tell it; damaged files; the version that a file asks for."""

from __future__ import annotations

import functools
import random
import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from converters.delegates import support, table
from converters.delegates.operator import read
from tests.fixtures import small_model
from tests.fixtures.operator_matrix import IMAGE, SIGNATURE, T, build, cases, drawn, numbers

DELEGATES = sorted(table.TABLES)


@functools.cache
def files() -> list[bytes]:
    """Every seventieth file of the matrix."""
    return [case.model for case in cases()[::70]]


def test_there_is_a_table_for_the_cpu_and_both_kinds_of_gpu() -> None:
    assert {"cpu", "gpu", "gpu:classic"} <= set(DELEGATES)
    for found in table.TABLES.values():
        assert found.summary and found.version
        assert all(row.source and row.kind == kind for kind, row in found.rows.items())


def test_an_unknown_delegate_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(BadInput, match="gpu:classic"):
        support.support(small_model.pack(small_model.tree()), "main", "gpu:other")


@pytest.mark.parametrize("alias", sorted(table.ALIASES))
def test_another_name_gives_the_same_and_manifests_hold_one(alias: str) -> None:
    name = table.ALIASES[alias]
    assert name in support.names() and alias not in support.names()
    for case in cases()[::97]:
        told = support.support(case.model, SIGNATURE, name)
        assert support.support(case.model, SIGNATURE, alias) == replace(told, delegate=alias)
        assert support.verdicts(case.model, SIGNATURE, alias) == support.verdicts(case.model, SIGNATURE, name)


def test_a_name_has_one_table() -> None:
    for name in (*table.TABLES, *table.ALIASES):
        with pytest.raises(BadInput, match=f"two tables for the delegate '{name}'"):
            table.declare(replace(table.lookup("cpu"), delegate="another"), name)
    assert "another" not in table.TABLES


def test_several_delegates_are_told_at_once_without_those_that_nothing_is_known_of() -> None:
    model = cases()[0].model
    found = support.several(model, SIGNATURE, ["npu:openvino", "theirs", "cpu"])
    assert found == tuple(support.support(model, SIGNATURE, name) for name in ("cpu", "npu:openvino"))
    assert support.several(model, SIGNATURE, ()) == ()


def test_support_counts_what_the_verdicts_say() -> None:
    for case in cases()[::29]:
        for delegate in DELEGATES:
            found, told = (
                support.verdicts(case.model, SIGNATURE, delegate),
                support.support(case.model, SIGNATURE, delegate),
            )
            assert told.operators == len(found) and told.taken == sum(v.taken for v in found)
            assert told.taken + sum(refusal.count for refusal in told.refusals) == told.operators
            assert (told.partitions >= 1) == (told.taken > 0)
            assert all(v.taken == (not v.reason) and v.source for v in found)


def _chain(*kinds: str) -> bytes:
    """Unary operators one after the other."""
    model: Any = small_model.tree()
    graph = model.subgraphs[0]
    model.operatorCodes = [small_model.code(getattr(schema.BuiltinOperator, kind)) for kind in kinds]
    for code in model.operatorCodes:
        code.version = 1
    graph.tensors = [small_model.tensor(f"t{n}", (1, 4)) for n in range(len(kinds) + 1)]
    graph.operators = [small_model.operator(n, [n], [n + 1]) for n in range(len(kinds))]
    graph.inputs, graph.outputs = [0], [len(kinds)]
    model.signatureDefs = [small_model.signature("main", {"x": 0}, {"y": len(kinds)})]
    return small_model.pack(model)


def test_gaps_cut_a_branch_into_pieces() -> None:
    found = support.support(_chain("RELU", "RELU_0_TO_1", "TANH", "TANH", "ZEROS_LIKE", "RELU"), "main", "gpu")
    assert (found.operators, found.taken, found.partitions) == (6, 4, 3)
    assert [(r.kind, r.reason) for r in found.refusals] == [
        ("RELU_0_TO_1", table.NO_KERNEL),
        ("ZEROS_LIKE", table.NO_KERNEL),
    ]


def test_a_delegate_of_one_piece_takes_the_largest() -> None:
    model = _chain("RELU", "RELU_0_TO_1", "TANH", "TANH", "ZEROS_LIKE", "RELU")
    found = support.support(model, "main", "gpu:classic")
    assert (found.taken, found.partitions) == (2, 1)
    assert [v.taken for v in support.verdicts(model, "main", "gpu:classic")] == [False, False, True, True, False, False]
    assert {r.reason for r in found.refusals} == {table.NO_KERNEL, "a smaller piece than what is taken"}


def test_unpacking_of_weights_is_no_operator() -> None:
    weights = drawn((16, 3, 3, 8), unpacked="float16")
    model = build("CONV_2D", [T(IMAGE), weights, drawn((16,))], [T((1, 6, 6, 16))], "Conv2DOptions", 2,
                  strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)  # fmt: skip
    (found,) = read(model, SIGNATURE).operators
    assert (found.kind, found.index, found.input(1).stored, found.input(1).dtype) == (
        "CONV_2D",
        1,
        "float16",
        "float32",
    )
    assert all(
        support.support(model, SIGNATURE, delegate).words == "all 1" for delegate in ("cpu", "gpu", "gpu:classic")
    )


def test_a_view_has_what_the_file_says() -> None:
    model = build("PAD", [T(IMAGE, "int8", scale=0.5, zero=3), numbers(*range(8))], [T(IMAGE, "int8")], "PadOptions", 2)
    (found,) = read(model, SIGNATURE).operators
    assert (found.version, found.source.shape, found.source.dtype) == (2, IMAGE, "int8")
    assert (found.source.quantization, found.source.scale, found.source.zero_point) == ("tensor", (0.5,), (3,))
    assert found.input(1).numbers() == tuple(range(8)) and found.variables == (found.source,)


@pytest.mark.parametrize(("noted", "told"), [("2.14.0", "2.14.0"), ("2.3.0\0\0\0", "2.3.0"), ("soon", ""), ("", "")])
def test_the_version_that_a_converter_noted(noted: str, told: str) -> None:
    model: Any = small_model.tree()
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, buffer.data = "min_runtime_version", len(model.buffers), list(noted.encode())
    model.metadata = [entry]
    model.buffers.append(buffer)
    assert support.min_runtime(small_model.pack(model)) == told


def test_a_file_that_notes_no_version_has_none() -> None:
    assert support.min_runtime(small_model.pack(small_model.tree())) == ""


def _look(model: bytes) -> None:
    """All that is known from a file is known, or the file is refused with one sentence."""
    for delegate in DELEGATES:
        try:
            found = support.support(model, SIGNATURE, delegate)
        except BadInput as error:
            assert "\n" not in str(error) and str(error).endswith(".")
            continue
        assert found.taken + sum(r.count for r in found.refusals) == found.operators
        assert (found.partitions >= 1) == (found.taken > 0)
    with suppress(BadInput):
        assert isinstance(support.min_runtime(model), str)


@settings(max_examples=200)
@given(data=st.data())
def test_flipped_bytes_are_read_or_refused(data: st.DataObject) -> None:
    model = bytearray(files()[data.draw(st.integers(0, len(files()) - 1))])
    for _ in range(data.draw(st.integers(1, 6))):
        model[data.draw(st.integers(8, len(model) - 1))] = data.draw(st.integers(0, 255))
    _look(bytes(model[: data.draw(st.integers(len(model) // 2, len(model)))]))


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_strange_trees_are_read_or_refused(seed: int) -> None:
    """Fields of the object tree are exchanged for others: absent, negative, huge."""
    rng = random.Random(seed)
    model = schema.ModelT.InitFromPackedBuf(bytearray(rng.choice(files())), 0)
    graph = model.subgraphs[0]
    parts = [*graph.tensors, *graph.operators, *model.operatorCodes, *model.signatureDefs, graph]
    parts += [t.quantization for t in graph.tensors if t.quantization is not None]
    parts += [o.builtinOptions for o in graph.operators if o.builtinOptions is not None]
    parts = [part for part in parts if vars(part)]
    for _ in range(rng.randint(1, 4)):
        part = rng.choice(parts)
        name = rng.choice(sorted(vars(part)))
        old = getattr(part, name)
        if isinstance(old, int) and not isinstance(old, bool):
            setattr(part, name, rng.choice([0, 1, 2, 7, 100]))
        elif isinstance(old, (list, np.ndarray)) and len(old) and isinstance(old[0], (int, np.integer)):
            numbers = [int(n) for n in old]
            setattr(part, name, rng.choice([[], numbers[:-1], [-1] * len(old), [2**31 - 1] * len(old), numbers * 2]))
    try:
        packed = small_model.pack(model)
    except (struct.error, TypeError, ValueError):  # a tree that is no flatbuffer
        return
    _look(packed)
