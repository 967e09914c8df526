"""Accelerators of this machine beside its CPU: a software GPU, and OpenVINO in the place of an NPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.engines import vendors
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from profiling import comparison
from tests.fixtures import on_gpu
from tests.fixtures.plain_bundle import write_bundle

DELEGATES = ("cpu", "gpu", "npu")


@pytest.fixture(scope="module")
def around() -> dict[str, str]:
    """The environment of commands that find the GPU."""
    found = on_gpu.environment()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def adascale(environment: dict[str, str], *arguments: object) -> Any:
    """What a command with ``--json`` prints."""
    done = command(environment, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def command(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "adascale_tf", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=400, check=False)


@pytest.mark.npu
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_three_delegates_stand_in_one_table(
    built: Bundle, npu: vendors.Vendor, around: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "m.jsonl"
    branches = [b.id for b in built.manifest.branches if all(s.sound for s in _of(b, "gpu", "npu"))]
    assert len(branches) >= 4
    adascale(
        around, "profile", built.root, "--delegates", ",".join(DELEGATES), "--branches", ",".join(branches),
        "--runs", 10, "--precise", 0, "--out", out, "--json",
    )  # fmt: skip
    assert not Path(f"{out}.journal").exists()
    measured = records.read([out])
    assert {(m.branch, m.delegate) for m in measured} == {(b, d) for b in branches for d in DELEGATES}
    for m in measured:
        branch = built.manifest.branch(m.branch)
        assert m.delegation is not None, (m.branch, m.delegate)
        assert m.delegate == "cpu" or m.delegation.verdict == "fully", (m.branch, m.delegate)  # XNNPACK leaves some
        assert len(m.latency_ms) >= 10 and m.load_ms and m.memory_mb is not None, (m.branch, m.delegate)
        assert comparison.judged(m, branch)[0], (m.branch, m.delegate, m.outputs)
    table = adascale(around, "compare-delegates", out, "--bundle", built.root, "--json")
    assert len(table["branches"]) == len(branches) and not table["contradictions"]
    for row in table["branches"]:
        entries = {entry["delegate"]: entry for entry in row["entries"]}
        assert set(entries) == set(DELEGATES) and entries["cpu"]["verdict"] == "baseline"
        assert all(entries[name]["verdict"] in ("faster", "slower", "same") for name in ("gpu", "npu")), entries
        assert all(entries[name]["speedup"]["paired"] for name in ("gpu", "npu"))
        assert all(entry["promise"]["kept"] for entry in row["entries"])


def _of(branch: Any, *names: str) -> list[Any]:
    return [one for one in branch.support if one.delegate in names]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_failed_without_a_driver_is_measured_once_it_is_there(around: dict[str, str], tmp_path: Path) -> None:
    bundle, out = write_bundle(tmp_path / "bundle"), tmp_path / "m.jsonl"
    words = ["profile", bundle.root, "--delegates", "cpu,gpu", "--runs", 5, "--precise", 0, "--out", out, "--json"]
    bare = {**os.environ, "VK_DRIVER_FILES": str(tmp_path / "nothing.json"), "VK_ICD_FILENAMES": ""}
    refused = command(bare, *words)
    assert refused.returncode and "gpu" in refused.stderr and not out.exists()
    adascale(around, *words)
    for m in records.read([out]):
        assert m.memory_mb is not None and m.memory_reason is None and m.load_ms, (m.delegate, m.memory_reason)
