from __future__ import annotations

import array
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adascale_runtime.engines import tensor
from adascale_runtime.engines.delegates import LoadedBranch
from adascale_runtime.engines.tensor import Tensor
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch, TensorSpec

LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def numpys(source: TensorSpec, target: TensorSpec) -> LoadedBranch:
    """A runner of which only the two borders are used, so it needs no other facts of a branch."""
    facts = {field.name: None for field in dataclasses.fields(Branch)}
    return LoadedBranch(Branch(**{**facts, "input": source, "output": target}), lambda stored: stored)


@st.composite
def specs(draw: st.DrawFn, size: int) -> TensorSpec:
    dtype = draw(st.sampled_from(sorted(LIMITS)))
    scale = draw(st.floats(1e-8, 1e4))
    return TensorSpec("x", (1, size), dtype, scale, draw(st.integers(*LIMITS[dtype])))


@st.composite
def quantizations(draw: st.DrawFn) -> tuple[np.ndarray, TensorSpec]:
    """Values of any size, many of them at or near the middle between two steps, where rounding is decided."""
    size = draw(st.integers(1, 12))
    spec = draw(specs(size))
    near = st.integers(-600, 600).map(lambda n: float(np.float32(n / 2) * np.float32(spec.scale)))
    values = draw(st.lists(st.one_of(FLOATS, near), min_size=size, max_size=size))
    return np.array([values], np.float32), spec


@given(quantizations())
@example((np.array([[3e38, -3e38, 0.0]], np.float32), TensorSpec("x", (1, 3), "int8", 1e-3, 5)))
@example((np.array([[np.inf, -np.inf]], np.float32), TensorSpec("x", (1, 2), "uint8", 0.1, 128)))
@example((np.array([[0.5, 1.5, 2.5, -0.5, -1.5]], np.float32), TensorSpec("x", (1, 5), "int8", 1.0, 0)))
def test_quantizes_as_numpy_does(case: tuple[np.ndarray, TensorSpec]) -> None:
    x, spec = case
    with np.errstate(over="ignore"):
        wanted = numpys(spec, spec).quantize(x)
    assert Tensor(x[0].tolist(), x.shape).quantize(spec) == wanted.tobytes()


@given(st.data())
def test_dequantizes_as_numpy_does(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    spec = data.draw(specs(size))
    stored = data.draw(hnp.arrays(spec.dtype, (1, size)))
    found = tensor.dequantize(stored.tobytes(), spec)
    assert found.shape == (1, size)
    assert found.values.tobytes() == numpys(spec, spec).dequantize(stored).tobytes()


@given(hnp.arrays(np.float32, st.tuples(st.just(1), st.integers(1, 9)), elements=FLOATS))
def test_real_numbers_pass_unchanged(x: np.ndarray) -> None:
    spec = TensorSpec("x", x.shape, "float32")
    stored = Tensor(x[0].tolist(), x.shape).quantize(spec)
    assert stored == x.tobytes() == tensor.dequantize(stored, spec).values.tobytes()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_plain_integers_are_cut_as_numpy_does(dtype: str) -> None:
    spec = TensorSpec("x", (1, 4), dtype)
    x = np.array([[0.0, 1.9, 7.0, 100.5]], np.float32)
    stored = Tensor(x[0].tolist(), x.shape).quantize(spec)
    assert stored == numpys(spec, spec).quantize(x).tobytes()
    back = tensor.dequantize(stored, spec)
    assert back.values.typecode == "f" and list(back.values) == [0.0, 1.0, 7.0, 100.0]


def test_the_borders_of_real_branches(built: Bundle) -> None:
    data = built.path(built.manifest.samples.file).read_bytes()
    x = np.frombuffer(data, "<f4").reshape(built.manifest.samples.count, *built.manifest.branches[0].input.shape)
    for branch in built.manifest.branches:
        runner = LoadedBranch(branch, lambda stored: stored)
        read = tensor.read(data, branch.input.shape)
        assert [t.quantize(branch.input) for t in read] == [runner.quantize(one).tobytes() for one in x]


@given(st.data())
def test_argmax_and_sum_are_numpys(data: st.DataObject) -> None:
    few = st.sampled_from([-1.0, 0.0, -0.0, 0.5, 2.0])  # few values, so that many are equal
    values = data.draw(st.lists(st.one_of(few, FLOATS), min_size=1, max_size=8))
    found = Tensor(values, (1, len(values)))
    assert found.argmax() == int(np.argmax(np.array(values, np.float32)))
    assert found.sum() == pytest.approx(math.fsum(values), abs=1e-12 * math.fsum(map(abs, values)))


def test_the_first_of_equals_is_the_largest() -> None:
    assert Tensor([0.0, 3.0, 1.0, 3.0, 3.0], (1, 5)).argmax() == 1
    assert Tensor([-0.0, 0.0], (1, 2)).argmax() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_sum_tells_of_what_is_no_number(bad: float) -> None:
    assert not math.isfinite(Tensor([1.0, bad, 2.0], (3,)).sum())


def test_a_sum_of_large_numbers_is_finite() -> None:
    assert math.isfinite(Tensor([3.4e38] * 100, (100,)).sum())


@given(st.lists(FLOATS, max_size=30), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.binary(max_size=3))
def test_read_gives_whole_tensors_in_order(values: list[float], shape: list[int], rest: bytes) -> None:
    size = math.prod(shape)
    found = tensor.read(np.array(values, "<f4").tobytes() + rest, shape)
    assert len(found) == len(values) // size and all(t.shape == tuple(shape) for t in found)
    flat = [value for one in found for value in one.values]
    assert flat == values[: len(found) * size]


@pytest.mark.parametrize(("values", "shape"), [([1.0], (2,)), ([], (1,)), ([1.0] * 6, (1, 2, 2)), ([], ())])
def test_numbers_that_do_not_fill_the_shape_are_refused(values: list[float], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{len(values)} numbers do not fill the shape"):
        Tensor(values, shape)


@pytest.mark.parametrize("length", [0, 3, 5, 8])
def test_bytes_that_do_not_fill_the_output_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"fill the shape|not a multiple"):
        tensor.dequantize(bytes(length), TensorSpec("y", (1, 2), "int16", 0.1, 0))


def test_what_was_quantized_is_kept_per_quantization() -> None:
    x = Tensor([1.0, 2.0], (1, 2))
    coarse, fine = TensorSpec("x", (1, 2), "int8", 1.0, 0), TensorSpec("x", (1, 2), "int8", 0.1, 0)
    assert x.quantize(coarse) is x.quantize(dataclasses.replace(coarse, name="other"))
    assert x.quantize(fine) == array.array("b", [10, 20]).tobytes() != x.quantize(coarse)
