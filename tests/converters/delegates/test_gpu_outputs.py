"""Operators of several outputs on LiteRT's GPU accelerator: where it crashes or is wrong, the table says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters import graphs
from converters.delegates import support
from tests.fixtures import on_gpu, small_model
from tests.fixtures.operator_matrix import SIGNATURE, T, build, numbers

#: How often each file runs.
RUNS = 10
CRASH = "crashes on"


def scalar(value: int) -> T:
    """A constant axis."""
    return T((), "int32", np.array(value))


def reading(model: bytes, kept: list[int]) -> bytes:
    """A file of one operator with only some of its outputs as the graph's."""
    tree: Any = graphs.parse(model)
    for holder in (tree.subgraphs[0], tree.signatureDefs[0]):
        holder.outputs = [holder.outputs[position] for position in kept]
    return small_model.pack(tree)


def files() -> dict[str, tuple[bytes, bool]]:
    """Files by names, and whether one of the outputs is read by nobody."""
    made: dict[str, tuple[bytes, bool]] = {}
    for dtype in ("float32", "int8", "uint8"):
        version = 1 if dtype == "float32" else 2
        outs = {n: [T((1, n), dtype)] for n in (12, 32, 40, 56)}
        unpack = build("UNPACK", [T((16, 1, 12), dtype)], outs[12] * 16, "UnpackOptions", version, num=16, axis=0)
        split = build("SPLIT", [scalar(1), T((1, 96), dtype)], outs[32] * 3, "SplitOptions", version, numSplits=3)
        image = [T((1, 8, 8, 8), dtype)] * 2
        sizes = build(
            "SPLIT_V", [T((1, 96), dtype), numbers(40, 56), scalar(1)], outs[40] + outs[56], "SplitVOptions", version,
            numSplits=2,
        )  # fmt: skip
        planes = build("SPLIT", [scalar(3), T((1, 8, 8, 16), dtype)], image, "SplitOptions", version, numSplits=2)
        for name, model, count in (
            ("unpack", unpack, 16),
            ("split", split, 3),
            ("sizes", sizes, 2),
            ("planes", planes, 2),
        ):
            made[f"{dtype}-{name}-all"] = (model, False)
            for left in {0, count // 2, count - 1}:
                kept = [n for n in range(count) if n != left]
                made[f"{dtype}-{name}-without-{left}"] = (reading(model, kept), True)
    return made


def test_8_bit_outputs_that_nothing_reads_are_warned_of() -> None:
    for name, (model, unread) in files().items():
        found = support.support(model, SIGNATURE, "gpu")
        assert any(CRASH in words for words in found.warnings) == (unread and "float" not in name), name
        assert found.whole and found.sound != any(CRASH in words for words in found.warnings), name


@pytest.mark.gpu
def test_the_gpu_crashes_where_the_table_says_so_and_nowhere_else() -> None:
    around = on_gpu.environment()
    if isinstance(around, str):
        pytest.skip(around)
    jobs = [(f"{name}#{run}", model) for name, (model, _) in files().items() for run in range(RUNS)]
    found = on_gpu.outcomes(jobs)
    crashed = {name: sum(found[f"{name}#{run}"].reason == on_gpu.CRASHES for run in range(RUNS)) for name in files()}
    wanted = {name: RUNS * (unread and "float" not in name) for name, (_, unread) in files().items()}
    assert crashed == wanted


def halves(kind: str, *, dtype: str = "float32", backwards: bool = False, activated: str = "") -> bytes:
    """SPLIT, then an operator that joins both of its outputs; ``activated``: what the first goes through before."""
    axis, source, half = scalar(1), T((1, 16), dtype), T((1, 8), dtype)
    tree: Any = graphs.parse(build("SPLIT", [axis, source], [half] * 2, "SplitOptions", 2, numSplits=2))
    graph, last = tree.subgraphs[0], tree.subgraphs[0].outputs[1]
    joined = [graph.outputs[0], last]
    for name, count in ((activated, 1), (kind, 2)):
        if not name:
            continue
        code = small_model.code(getattr(schema.BuiltinOperator, name))
        code.version = 1
        tree.operatorCodes.append(code)
        made = small_model.tensor(name, (1, 8))
        made.type, made.quantization = graph.tensors[last].type, graph.tensors[last].quantization
        graph.tensors.append(made)
        options = getattr(schema, f"{name.title()}OptionsT", None) if count == 2 else None
        sources = (joined[::-1] if backwards else joined) if count == 2 else joined[:1]
        kinds = getattr(schema.BuiltinOptions, f"{name.title()}Options", 0) if options else 0
        number = len(tree.operatorCodes) - 1
        graph.operators.append(
            small_model.operator(number, sources, [len(graph.tensors) - 1], kinds, options and options())
        )
        joined = [len(graph.tensors) - 1, last]
    graph.outputs = [len(graph.tensors) - 1]
    (own,) = tree.signatureDefs
    own.outputs = own.outputs[:1]
    own.outputs[0].tensorIndex = graph.outputs[0]
    return small_model.pack(tree)


def joins() -> dict[str, bytes]:
    """Files that join two outputs of one operator."""
    made = {kind.lower(): halves(kind) for kind in ("ADD", "SUB", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")}
    made["mul-backwards"] = halves("MUL", backwards=True)
    made["add-after-relu"] = halves("ADD", activated="RELU")
    return made


def test_joins_of_two_outputs_of_one_operator_are_warned_of() -> None:
    for name, model in joins().items():
        found = support.support(model, SIGNATURE, "gpu")
        assert found.whole and any("of two outputs" in words for words in found.warnings), name


@pytest.mark.gpu
def test_the_gpu_joins_two_outputs_of_one_operator_wrongly() -> None:
    around = on_gpu.environment()
    if isinstance(around, str):
        pytest.skip(around)
    found = on_gpu.outcomes(list(joins().items()))
    assert {name: one.gap is not None and one.gap > 0.05 for name, one in found.items()} == dict.fromkeys(joins(), True)
