"""The full pipeline on ARM64: adb, the agent under the device's own Python, LiteRT's aarch64 library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from tests.fixtures import arm64_phone, arm64_tree

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def phone() -> Iterator[Any]:
    if os.environ.get("CI"):
        arm64_tree.install()
    reason = arm64_tree.missing()
    if reason is None and not arm64_tree.runs_natively(arm64_tree.build()):
        reason = "the kernel does not start ARM64 programs here (no binfmt_misc)"
    if reason is not None:
        pytest.skip(reason)
    with arm64_phone.emulated() as found:
        yield found


def test_every_branch_answers_as_the_bundle_expects(phone: Any, built: Bundle, tmp_path: Path) -> None:
    device, adbd = phone
    out = tmp_path / "m.jsonl"
    library = Path(f"{device.root}{arm64_tree.LIBRARY}")
    command = [
        sys.executable, "-m", "adascale_tf", "profile", str(built.root), "--device", f"127.0.0.1:{adbd.address[1]}",
        "--runs", "2", "--litert", str(library), "--key", str(tmp_path / "adbkey"), "--quiet", "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    measured = records.read([out])
    assert {m.branch for m in measured} == {branch.id for branch in built.manifest.branches}
    for m in measured:
        assert m.device["abi"] == "arm64-v8a" and m.device["cores"] == 8
        assert m.outputs is not None and m.outputs.agreement == 1.0, m.branch
        assert m.delegation is not None and m.delegation.delegated > 0 and len(m.latency_ms) >= 2
        assert m.memory_mb is None and "does not report" in str(m.memory_reason)  # the tree has no /proc/self
    assert not (device.root / "data/local/tmp/adascale").exists()
