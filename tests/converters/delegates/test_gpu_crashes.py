"""Outputs that nothing reads: LiteRT's GPU accelerator crashes on those of 8 bits, and the table says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
