"""The full pipeline on ARM64: adb, the agent under the device's own Python, LiteRT's aarch64 library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from tests.fixtures import arm64_phone, arm64_tree, portable

PROJECT = Path(__file__).parents[2]
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


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A phone with a shell only, and the environment in which the portable Python is installed."""
    if os.environ.get("CI"):
        arm64_tree.install()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a chroot needs Linux and root")
    site = portable.unpacked(portable.real("arm64-v8a"), tmp_path_factory.mktemp("site"))
    try:
        with arm64_phone.stock(tmp_path_factory.mktemp("stock")) as (phone, adbd):
            if not arm64_tree.starts(phone.root, "/bin/true"):
                pytest.skip("the kernel does not start ARM64 programs here (no binfmt_misc)")
            yield phone, adbd, {**os.environ, "PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}"}
    except AdaScaleError as error:
        pytest.skip(f"no busybox can be fetched here: {error}")


def test_a_stock_phone_needs_nothing(stock: Any, built: Bundle, tmp_path: Path) -> None:
    device, adbd, environment = stock
    out, address = tmp_path / "m.jsonl", f"127.0.0.1:{adbd.address[1]}"
    adascale, key = [sys.executable, "-m", "adascale_tf"], ["--key", str(tmp_path / "adbkey")]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*adascale, *words, *key]
        return subprocess.run(command, capture_output=True, text=True, timeout=800, env=environment, cwd=PROJECT)

    listed = run("devices", address, "--json")
    assert listed.returncode == 0 and '"portable 3.' in listed.stdout, listed.stdout + listed.stderr
    profile = ["profile", str(built.root), "--device", address, "--branches", "full,int8", "--runs", "4"]
    done = run(*profile, "--energy", "--out", str(out))
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    measured = records.read([out])
    assert {m.branch for m in measured} == {"full", "int8"}
    for m in measured:
        assert m.device["abi"] == "arm64-v8a" and m.versions["python"].endswith(" portable")
        assert m.outputs is not None and m.outputs.agreement == 1.0
        assert m.delegation is not None and 0 < m.delegation.delegated == m.delegation.nodes
        assert m.energy.how == "measured:battery", m.energy
    assert not (device.root / "data/local/tmp/adascale").exists()
    assert not (device.root / "tmp").exists() and not (device.root / "dev/shm").exists()
    refused = run(*profile, "--delegates", "gpu", "--out", str(tmp_path / "g.jsonl"))
    assert refused.returncode == 2 and "'--runner benchmark_model'" in refused.stderr
