"""A stock ARM64 phone behind AOSP's adbd for ARM64: no Python, no C library, no option is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from android_harness import store
from tests.fixtures import arm64_phone, arm64_tree, namespaces, portable, real_adbd
from tests.fixtures.namespaces import Room
from tests.fixtures.native_phone import NativePhone, StockArm64Phone, native

PROJECT = Path(__file__).parents[3]
pytestmark = [pytest.mark.adbd, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the portable Python is installed; all else that must be fetched is there, too."""
    if os.environ.get("CI"):
        arm64_tree.install()
    real_adbd.get(StockArm64Phone.ABI)
    tried = tmp_path_factory.mktemp("tried")
    try:
        arm64_phone.lay_programs(tried)
    except AdaScaleError as error:
        pytest.skip(f"no busybox can be fetched here: {error}")
    if not arm64_tree.starts(tried, "/bin/true"):
        pytest.skip("the kernel does not start ARM64 programs here (Debian packages qemu-user-static, binfmt-support)")
    return portable.unpacked(portable.real("arm64-v8a"), tmp_path_factory.mktemp("site"))


@pytest.fixture()
def stock(site: Path, lab: Room, tmp_path: Path) -> Iterator[NativePhone]:
    with native(tmp_path / "phone", "10.76.0.2", StockArm64Phone) as made:
        namespaces.cable(lab, made.room, ("10.76.0.1/24", "10.76.0.2/24"), ("arm", "good"))
        yield made


def test_a_stock_phone_is_measured(site: Path, stock: NativePhone, built: Bundle, key: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    command = [
        sys.executable, "-m", "adascale_tf", "profile", str(built.root), "--device", "{}:{}".format(*stock.address),
        "--branches", "full,int8", "--energy", "--runs", "4", "--precise", "0", "--key", str(key), "--out", str(out),
        "--quiet",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, env=environment, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    measured = {m.branch: m for m in records.read([out])}
    assert set(measured) == {"full", "int8"}
    for m in measured.values():
        assert m.device["abi"] == "arm64-v8a" and m.versions["python"].endswith(" portable")
        assert m.outputs is not None and m.outputs.agreement == 1.0
        assert m.delegation is not None and 0 < m.delegation.delegated == m.delegation.nodes
        assert m.energy.how == "measured:battery", m.energy
    assert not stock.local(store.FOLDER).exists() and not stock.left()
