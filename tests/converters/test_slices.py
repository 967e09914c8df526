"""Splits with outputs that nothing reads become slices: the same numbers, on every delegate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import convert, flatbuffer, graphs
from converters.delegates import parts, support
from converters.delegates.operator import subgraph
from converters.slices import slice_splits
from tests.converters.delegates.test_gpu_outputs import CRASH, joins, reading
from tests.fixtures import on_gpu, small_model
from tests.fixtures.operator_matrix import SIGNATURE, T, build, numbers

VERSIONS = {"float32": 2, "int32": 1, "int8": 2, "uint8": 2, "int16": 2}


def split(dtype: str, sizes: tuple[int, ...], axis: int, kind: str = "SPLIT_V") -> bytes:
    """A file of one split of (1, 2, sum of sizes), whose last axis may be named from the back."""
    place, source = T((), "int32", np.array(axis)), T((1, 2, sum(sizes)), dtype)
    given: list[T | None] = [place, source] if kind == "SPLIT" else [source, numbers(*sizes), place]
    outputs = [T((1, 2, size), dtype) for size in sizes]
    options = "SplitOptions" if kind == "SPLIT" else "SplitVOptions"
    return build(kind, given, outputs, options, VERSIONS[dtype], numSplits=len(sizes))


def kinds(model: bytes) -> list[str]:
    """What a file's operators are."""
    tree = graphs.parse(model)
    graph = graphs.subgraph(tree, 0)
    return [graph.kind(one) for one in graph.operators]


def outputs(model: bytes) -> list[np.ndarray]:
    """What LiteRT's own kernels give for a row of numbers."""
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    row = np.arange(np.prod(source["shape"])).reshape(source["shape"])
    interpreter.set_tensor(source["index"], row.astype(source["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


def left_unread(model: bytes) -> list[str]:
    """The kinds of operators with an output that nothing reads."""
    tree = graphs.parse(model)
    return [one.kind for number in range(len(tree.subgraphs)) for one in parts.unread(subgraph(tree, number))]


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(sorted(VERSIONS)), sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    axis=st.sampled_from([2, -1]), data=st.data(),
)  # fmt: skip
def test_the_parts_that_are_read_stay_what_they_are(dtype: str, sizes: list[int], axis: int, data: Any) -> None:
    kept = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=len(sizes) - 1, unique=True))
    before = reading(split(dtype, tuple(sizes), axis), kept)
    after = slice_splits(before)
    assert left_unread(before) == ["SPLIT_V"] and left_unread(after) == []
    assert kinds(after) == ["SLICE"] * len(kept)
    for found, wanted in zip(outputs(after), outputs(before), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert slice_splits(after) == after


@pytest.mark.parametrize("dtype", sorted(VERSIONS))
def test_splits_by_equal_parts_are_sliced_too(dtype: str) -> None:
    before = reading(split(dtype, (3, 3, 3), 2, "SPLIT"), [0, 2])
    after = slice_splits(before)
    assert kinds(before) == ["SPLIT"] and kinds(after) == ["SLICE", "SLICE"]
    for found, wanted in zip(outputs(after), outputs(before), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_splits_that_are_read_whole_stay() -> None:
    model = split("int8", (4, 4), 2, "SPLIT")
    assert slice_splits(model) is model


def test_what_slices_cannot_compute_stays() -> None:
    tree = graphs.parse(reading(split("int8", (3, 3), 2, "SPLIT"), [1]))
    moved = tree.subgraphs[0].tensors[tree.subgraphs[0].operators[0].outputs[1]]
    moved.quantization = schema.QuantizationParametersT()
    moved.quantization.scale, moved.quantization.zeroPoint = np.full(1, 0.5, np.float32), np.zeros(1, np.int64)
    model = small_model.pack(tree)
    assert slice_splits(model) is model


@pytest.mark.parametrize("name", sorted(joins()))
def test_splits_whose_outputs_are_joined_are_sliced(name: str) -> None:
    before = joins()[name]
    after = slice_splits(before)
    assert "SPLIT" not in kinds(after) and support.support(after, SIGNATURE, "gpu").sound
    for found, wanted in zip(outputs(after), outputs(before), strict=True):
        np.testing.assert_array_equal(found, wanted)


def gated(bias: float, *, after: bool) -> Any:
    """A recurrent network; ``after``: whether the reset gate comes after the product."""
    tf_keras.utils.set_random_seed(2)
    sequence = tf_keras.Input((6, 5), name="sequence")
    start = tf_keras.initializers.RandomNormal(0, bias) if bias else "zeros"
    cells = tf_keras.layers.GRU(8, unroll=True, reset_after=after, bias_initializer=start)
    return tf_keras.Model(sequence, tf_keras.layers.Dense(3)(cells(sequence)))


@pytest.mark.parametrize("mode", ["float32", "int8"])
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_recurrent_networks_are_sound_on_every_delegate(mode: str, bias: float, after: bool) -> None:
    x = np.random.default_rng(0).normal(size=(40, 6, 5)).astype(np.float32)
    model = gated(bias, after=after)
    one = convert.convert({"net": model}, mode, x)["net"]
    assert left_unread(one.model) == []
    assert "SLICE" in [operator.kind for operator in flatbuffer.operators(one.model, "net")]
    for delegate in ("gpu", "npu"):
        assert support.support(one.model, "net", delegate).sound, delegate


@pytest.mark.gpu
def test_a_gpu_runs_the_slices_and_is_right() -> None:
    around = on_gpu.environment()
    if isinstance(around, str):
        pytest.skip(around)
    cut = {
        f"{dtype}-{kept}": slice_splits(reading(split(dtype, (4, 8, 4), 2), kept))
        for dtype in ("float32", "int8", "uint8")
        for kept in ([0], [0, 2], [1, 2])
    }
    cut |= {name: slice_splits(model) for name, model in joins().items()}
    assert not any(CRASH in words for m in cut.values() for words in support.support(m, SIGNATURE, "gpu").warnings)
    found = on_gpu.outcomes(list(cut.items()))
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(cut, "taken")
    assert all(one.gap is not None and one.gap < 0.01 for one in found.values()), found
