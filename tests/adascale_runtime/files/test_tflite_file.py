from __future__ import annotations

import dataclasses
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import example, given
from hypothesis import strategies as st

from adascale_runtime.errors import BadBundle
from adascale_runtime.files import tflite_file
from adascale_runtime.files.tflite_bytes import Damaged
from adascale_runtime.seams import bundle
from adascale_runtime.seams.manifest import FileEntry, TensorSpec
from tests.fixtures import small_model

GOOD = small_model.pack(small_model.tree())


def refusal(data: bytes) -> str:
    """Why a file is refused; empty if it is not."""
    try:
        tflite_file.read(data)
    except Damaged as error:
        return str(error)
    return ""


def test_a_good_file_says_what_can_be_run() -> None:
    found = tflite_file.read(GOOD)
    assert set(found) == {"main"}
    assert found["main"].inputs == (tflite_file.Border("x", (1, 4), "float32", None, None),)
    assert found["main"].outputs == (tflite_file.Border("y", (1, 4), "float32", None, None),)
    assert (found["main"].operators, found["main"].macs) == (3, 32)


def _graph(model: Any) -> Any:
    return model.subgraphs[0]


def _add_graph(model: Any, calls: int, kind: int = schema.BuiltinOperator.IF) -> None:
    """Another subgraph, and an operator in the first that runs the subgraph ``calls``."""
    model.operatorCodes.append(small_model.code(kind))
    model.subgraphs.append(small_model.tree().subgraphs[0])
    options = schema.IfOptionsT()
    options.thenSubgraphIndex = options.elseSubgraphIndex = calls
    _graph(model).tensors.append(small_model.tensor("z", (1, 4)))
    _graph(model).operators.append(small_model.operator(2, [0], [6], schema.BuiltinOptions.IfOptions, options))


def _double(model: Any) -> None:
    """Subgraphs that each run the next one twice: 2 ** 30 runs of the last."""
    model.operatorCodes.append(small_model.code(schema.BuiltinOperator.IF))
    model.subgraphs = []
    for number in range(30):
        graph = small_model.tree().subgraphs[0]
        for offset in range(2) if number < 29 else ():
            options = schema.IfOptionsT()
            options.thenSubgraphIndex, options.elseSubgraphIndex = number + 1, number + 1
            graph.tensors.append(small_model.tensor("z", (1, 4)))
            graph.operators.append(small_model.operator(2, [0], [6 + offset], schema.BuiltinOptions.IfOptions, options))
        model.subgraphs.append(graph)


def _quantize(model: Any, scale: float) -> None:
    _graph(model).tensors[3].quantization = schema.QuantizationParametersT()
    _graph(model).tensors[3].quantization.scale = [scale]
    _graph(model).tensors[3].quantization.zeroPoint = [0]


def _copies(model: Any, count: int) -> None:
    """The last operator, over and over."""
    graph = _graph(model)
    first = len(graph.tensors)
    graph.tensors += [small_model.tensor("c", (1, 4)) for _ in range(count)]
    graph.operators += [small_model.operator(1, [3, 4], [first + n]) for n in range(count)]


SPOILED: dict[str, tuple[small_model.Spoil, str]] = {
    "own output": (lambda m: setattr(_graph(m).operators[2], "inputs", [3, 5]), "reads tensor 5 before"),
    "cycle": (lambda m: setattr(_graph(m).operators[0], "inputs", [4, 1, 2]), "reads tensor 4 before"),
    "order": (lambda m: _graph(m).operators.reverse(), "reads tensor 3 before"),
    "never written": (lambda m: _graph(m).operators.pop(), "has an output, tensor 5, that nothing writes"),
    "written twice": (lambda m: setattr(_graph(m).operators[1], "outputs", [3]), "already has values"),
    "twice at once": (lambda m: setattr(_graph(m).operators[0], "outputs", [3, 3]), "already has values"),
    "constant written": (lambda m: setattr(_graph(m).operators[1], "outputs", [1]), "already has values"),
    "input written": (lambda m: setattr(_graph(m).operators[2], "outputs", [0]), "already has values"),
    "no such input": (lambda m: setattr(_graph(m).operators[0], "inputs", [0, 1, 99]), "tensor 99, which does not"),
    "left out": (lambda m: setattr(_graph(m).operators[2], "inputs", [3, -1]), "lacks an input that it needs"),
    "first left out": (lambda m: setattr(_graph(m).operators[0], "inputs", [-1, 1, 2]), "lacks an input that it needs"),
    "weights left out": (lambda m: setattr(_graph(m).operators[0], "inputs", [0, -1, 2]), "lacks an input that it"),
    "zero scale": (lambda m: _quantize(m, 0.0), "an invalid scale"),
    "scale": (lambda m: _quantize(m, 1e-45), "an invalid scale"),
    "no scale": (lambda m: _quantize(m, float("nan")), "an invalid scale"),
    "far below": (lambda m: setattr(_graph(m).operators[0], "inputs", [-5, 1, 2]), "tensor -5, which does not"),
    "no such output": (lambda m: setattr(_graph(m).operators[0], "outputs", [1 << 30]), "which does not exist"),
    "intermediate": (lambda m: setattr(_graph(m).operators[0], "intermediates", [77]), "which does not exist"),
    "kind": (lambda m: setattr(_graph(m).operators[0], "opcodeIndex", 9), "a kind that the file does not list"),
    "graph input": (lambda m: setattr(_graph(m), "inputs", [66]), "not one of its tensors"),
    "graph output": (lambda m: setattr(_graph(m), "outputs", [-1]), "not one of its tensors"),
    "buffer": (lambda m: setattr(_graph(m).tensors[1], "buffer", 7), "a buffer that does not exist"),
    "too few values": (lambda m: setattr(m.buffers[1], "data", np.zeros(60, np.uint8)), "takes 64 bytes, but"),
    "too many values": (lambda m: setattr(_graph(m).tensors[2], "shape", [3]), "takes 12 bytes, but"),
    "negative": (lambda m: setattr(_graph(m).tensors[3], "shape", [1, -4]), "impossible shape [1, -4]"),
    "huge": (lambda m: setattr(_graph(m).tensors[3], "shape", [1 << 30, 1 << 30]), "elements"),
    "rank": (lambda m: setattr(_graph(m).tensors[3], "shape", [1] * 9), "impossible shape"),
    "type": (lambda m: setattr(_graph(m).tensors[3], "type", 99), "unknown type 99"),
    "custom": (lambda m: m.operatorCodes.__setitem__(0, small_model.custom("Evil")), "custom operator ('Evil')"),
    "flex": (lambda m: m.operatorCodes.__setitem__(0, small_model.custom("FlexAdd")), "('FlexAdd')"),
    "no graphs": (lambda m: m.subgraphs.clear(), "no operators"),
    "outside": (lambda m: (setattr(m.buffers[1], "offset", 10**9), setattr(m.buffers[1], "size", 64),
                           setattr(m.buffers[1], "data", None)), "is outside of the file"),
    "signature's graph": (lambda m: setattr(m.signatureDefs[0], "subgraphIndex", 3), "part of the file that does not"),
    "signature's end": (lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 3), "not an input or output"),
    "two signatures": (lambda m: m.signatureDefs.append(m.signatureDefs[0]), "two signatures 'main'"),
    "calls itself": (lambda m: _add_graph(m, 0), "subgraph 0 calls itself"),
    "calls nothing": (lambda m: _add_graph(m, 5), "part of the file that does not exist"),
    "calls unsaid": (lambda m: _add_graph(m, 1, schema.BuiltinOperator.WHILE), "does not say which part"),
    "runs for ever": (_double, "operators"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_what_does_not_hold_together_is_refused(name: str) -> None:
    spoil, sentence = SPOILED[name]
    assert sentence in refusal(small_model.spoiled(spoil))


def test_so_many_operators_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adascale_runtime.files.tflite_graph.MOST_OPERATORS", 1000)
    assert "it has 1001 operators; at most 1000 are allowed" in refusal(small_model.spoiled(lambda m: _copies(m, 998)))


def test_what_is_unusual_and_valid_is_read() -> None:
    for spoil in (
        lambda m: _add_graph(m, 1),
        lambda m: _graph(m).tensors.append(small_model.tensor("unused", (0,))),
        lambda m: _graph(m).tensors.append(small_model.tensor("scalar", ())),
        lambda m: m.operatorCodes.append(small_model.custom("DISPATCH_OP")),
        lambda m: m.buffers.append(schema.BufferT()),
    ):
        assert set(tflite_file.read(small_model.spoiled(spoil))) == {"main"}


def test_values_behind_the_flatbuffer_are_found() -> None:
    model = small_model.tree()
    weights = bytes(model.buffers[1].data)
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 1 << 12, len(weights)
    data = small_model.pack(model).ljust(1 << 12, b"\0") + weights
    assert set(tflite_file.read(data)) == {"main"}
    assert "outside of the file" in refusal(data[:-1])


# --- any bytes


@given(st.binary(max_size=200))
def test_any_bytes_are_a_sentence(data: bytes) -> None:
    assert refusal(data) or data[4:8] == b"TFL3"
    assert isinstance(refusal(b"\x1c\0\0\0TFL3" + data), str)


def test_every_beginning_of_a_file_is_refused() -> None:
    for length in range(len(GOOD) - 1):
        assert refusal(GOOD[:length])


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 4), st.integers(0, (1 << 32) - 1)), min_size=1, max_size=4))
@example([(4, 0)])
def test_changed_words_are_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, word in changes:
        data[place : place + 4] = word.to_bytes(4, "little")
    assert isinstance(refusal(bytes(data)), str)


def test_thousands_of_flipped_bytes_are_read_or_refused() -> None:
    chosen = random.Random(0)
    refused = 0
    for _ in range(4000):
        data = bytearray(GOOD)
        for _ in range(chosen.choice((1, 1, 2, 8))):
            data[chosen.randrange(len(data))] = chosen.choice((0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)))
        refused += bool(refusal(bytes(data)))
    assert 500 < refused < 4000


def test_a_vector_that_is_named_a_million_times_takes_no_time() -> None:
    """Operators that share one long list of inputs: their number times its length would be hours."""
    model = small_model.tree()
    _graph(model).operators[2].inputs = [3] * 20_000
    _copies(model, 5000)
    data = bytearray(small_model.pack(model))
    begun = time.perf_counter()
    refusal(bytes(data))
    assert time.perf_counter() - begun < 5.0


# --- against the manifest


def write(root: Path, data: bytes, **changes: Any) -> Path:
    """A bundle of one branch on a file of those bytes."""
    return small_model.write(root, {"only": data}, **changes)


def test_a_good_bundle_opens(tmp_path: Path) -> None:
    opened = bundle.load(write(tmp_path / "b", GOOD))
    assert isinstance(opened.manifest.files[0], FileEntry)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"signature": "absent"}, "no signature 'absent'"),
        ({"input": TensorSpec("other", (1, 4), "float32")}, "input has the name x there, and other in"),
        ({"input": TensorSpec("x", (1, 2, 2), "float32")}, r"input has the shape \[1, 4\] there"),
        ({"output": TensorSpec("y", (1, 4), "int8", 0.5, 0)}, "output has the dtype float32 there, and int8"),
        ({"output": TensorSpec("y", (1, 4), "float32", 0.5, 0)}, "output has the zero point None there"),
    ],
)
def test_a_manifest_of_another_file_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadBundle, match=sentence) as caught:
        bundle.load(write(tmp_path / "b", GOOD, **changes))
    assert "'only'" in str(caught.value) and str(caught.value).endswith("again.")


def test_branches_of_a_network_take_the_same_input(tmp_path: Path) -> None:
    """Those of a bundle of micro-kernels do not, so it opens; a session or a profile refuses it."""
    small_model.write(tmp_path / "b", {"one": GOOD, "two": GOOD})
    opened = bundle.load(tmp_path / "b")
    one, two = opened.manifest.branches
    other = dataclasses.replace(two, input=TensorSpec("x", (1, 1, 4), "float32"))
    tflite_file.check_inputs((one, two))
    with pytest.raises(BadBundle, match="'one' and 'two' take inputs of different shapes"):
        tflite_file.check_inputs((one, other))


def test_copies_that_the_manifest_does_not_know_are_refused(tmp_path: Path) -> None:
    data = small_model.spoiled(lambda m: _copies(m, 8000))
    with pytest.raises(BadBundle, match="runs 8003 operators, and the manifest says 3"):
        bundle.load(write(tmp_path / "b", data))


def test_a_damaged_file_with_right_checksums_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=r"only\.tflite is not a usable \.tflite file: operator 2 of subgraph 0 reads"):
        bundle.load(write(tmp_path / "b", small_model.spoiled(SPOILED["own output"][0])))
    with pytest.raises(BadBundle, match="it is empty"):
        bundle.load(write(tmp_path / "e", b""))


def test_opening_takes_little(tmp_path: Path) -> None:
    data = small_model.spoiled(lambda m: _copies(m, 400))
    begun = time.perf_counter()
    tflite_file.read(data)
    assert time.perf_counter() - begun < 0.5  # some 10 ms on an idle machine
