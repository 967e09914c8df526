"""What GPUs take: LiteRT's accelerator on a Vulkan in software, and the classic delegate as TensorFlow judges it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.seams.bundle import Bundle
from converters import flatbuffer
from converters.delegates import gpu_classic, support
from tests.converters.delegates import analyzer
from tests.fixtures import on_gpu
from tests.fixtures.operator_matrix import SIGNATURE, cases

#: Outputs further apart than this share of their range are wrong.
WRONG = 0.05
#: Files whose outputs differ because LiteRT's own kernels, not the GPU's, are wrong or have no answer.
OWN_KERNELS = {
    "TANH": "fused TANH is ignored by LiteRT's kernels, and no converter writes it",
    "dynamic-tensor": "LiteRT's hybrid depthwise kernel reads scales by channel where there is one",
    "zero-3": "LiteRT's hybrid kernels ignore the zero point of weights",
    "ratio": "scales that no calibration gives: integers overflow in different ways",
    "scale": "scales that no calibration gives: integers overflow in different ways",
    "back": "scales that no calibration gives: integers overflow in different ways",
    "int8-int4": "4-bit weights under integers are rounded differently",
}


def compatible(model: bytes) -> bool:
    """The table's prediction of what the Analyzer says: it does not look at types and axes."""
    return all(
        v.taken or v.source == gpu_classic.MODEL_BUILDER for v in support.verdicts(model, SIGNATURE, "gpu:classic")
    )


def test_the_classic_table_says_what_the_last_analyzer_said_that_judged() -> None:
    recorded, files = json.loads(analyzer.RECORDED.read_text()), cases()
    assert analyzer.digest(files) == recorded["digest"], "the matrix has changed: record again (analyzer.py)"
    refused = {name for names in recorded["refused"].values() for name in names}
    assert recorded["files"] == len(files) and len(refused) > 300
    assert [case.name for case in files if compatible(case.model) == (case.name in refused)] == []


@pytest.mark.slow
def test_the_classic_table_says_what_the_installed_analyzer_says(capsys: pytest.CaptureFixture[str]) -> None:
    import tensorflow as tf

    def judged(model: bytes) -> bool:
        tf.lite.experimental.Analyzer.analyze(model_content=model, gpu_compatibility=True)
        return not analyzer.warnings(capsys.readouterr().out)

    files = cases()
    if judged(next(case.model for case in files if case.name == "CUSTOM/float32")):
        pytest.skip(f"the Analyzer of TensorFlow {tf.__version__} calls every file compatible")
    assert [case.name for case in files if compatible(case.model) != judged(case.model)] == []


@pytest.fixture(scope="module")
def outcomes() -> dict[str, on_gpu.Outcome]:
    """What became of every file of the matrix."""
    around = on_gpu.environment()
    if isinstance(around, str):
        pytest.skip(around)
    return on_gpu.outcomes([(case.name, case.model) for case in cases()])


@pytest.mark.gpu
def test_every_file_goes_where_the_table_says(outcomes: dict[str, on_gpu.Outcome]) -> None:
    models = {case.name: case.model for case in cases()}
    judged = {name: one for name, one in outcomes.items() if one.verdict != "unreadable"}
    assert len(judged) > 3000
    wrong = [
        (name, one.verdict, one.reason)
        for name, one in judged.items()
        if support.support(models[name], SIGNATURE, "gpu").whole != (one.verdict == "taken")
    ]
    assert len(wrong) <= 0.01 * len(judged), wrong
    assert wrong == []


@pytest.mark.gpu
def test_what_is_computed_wrongly_is_warned_of(outcomes: dict[str, on_gpu.Outcome]) -> None:
    models = {case.name: case.model for case in cases()}
    gaps = {name: one.gap for name, one in outcomes.items() if one.gap is not None}
    warned = {name for name in gaps if support.support(models[name], SIGNATURE, "gpu").warnings}
    wrong = {name for name, gap in gaps.items() if gap > WRONG}
    surprises = [name for name in wrong - warned if not any(part in name for part in OWN_KERNELS)]
    assert len(gaps) > 2000 and len(surprises) == 0, surprises
    assert len(warned & wrong) > 0.5 * len(warned)  # warnings that are true of few would be ignored


@pytest.mark.gpu
def test_branches_are_taken_and_those_that_go_wrong_are_warned_of(built: Bundle, tmp_path: Path) -> None:
    around = on_gpu.environment()
    if isinstance(around, str):
        pytest.skip(around)
    files: list[tuple[str, bytes]] = []
    for branch in built.manifest.branches:
        model = built.path(branch.file).read_bytes()
        files.append((branch.id, flatbuffer.extract(model, branch.signature)))
    found = on_gpu.outcomes(files)
    told: dict[str, Any] = {
        b.id: support.support(m, b.signature, "gpu") for b, (_, m) in zip(built.manifest.branches, files, strict=True)
    }
    assert {name: one.whole for name, one in told.items()} == {n: one.verdict == "taken" for n, one in found.items()}
    wrong = {name for name, one in found.items() if one.gap is not None and one.gap > WRONG}
    assert wrong and wrong <= {name for name, one in told.items() if one.warnings}
    floats = {b.id for b in built.manifest.branches if b.precision in ("float32", "float16")}
    assert floats and not wrong & floats and not any(told[name].warnings for name in floats)
