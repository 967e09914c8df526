"""Every command in the guides for testers runs, against emulated phones."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from adascale_tf.bundle import Bundle
from adascale_tf.runtime.delegates import wheel_library
from android_harness import keys
from android_harness.adb import Address, connect
from tests.fixtures.adbd import Access
from tests.fixtures.benchmark_model import write as write_tool
from tests.fixtures.emulated_phone import emulated

DOCS = Path(__file__).parent.parent / "docs"


def commands(guide: str, language: str = "") -> list[str]:
    """The lines of a guide's fenced blocks of a language."""
    found, inside = [], None
    for line in (DOCS / guide).read_text().splitlines():
        if line.startswith("```"):
            inside = None if inside is not None else line[3:]
        elif inside == language and line.strip():
            found.append(line)
    return found


def run(line: str, folder: Path, phones: dict[str, int]) -> None:
    for named, port in phones.items():
        line = line.replace(named, f"127.0.0.1:{port}")
    words = shlex.split(line)
    assert words[0] == "adascale", line
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": str(DOCS.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "adascale_tf", *words[1:]], cwd=folder, env={**os.environ, **home},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_profiling_over_adb(built: Bundle, tmp_path: Path) -> None:
    lines = commands("profiling-over-adb.md")
    assert len(lines) >= 8
    (tmp_path / "bundle").symlink_to(built.root)
    write_tool(tmp_path)
    asking = Access(keys=set(), dialog="allow")
    with (
        emulated(tmp_path / "a", "pixel", access=asking) as (_, first),
        emulated(tmp_path / "b", "xiaomi") as (_, second),
    ):
        phones = {"192.168.1.20:5555": first.address[1], "192.168.1.21:5555": second.address[1]}
        for line in lines:
            run(line, tmp_path, phones)
    assert (tmp_path / "phone.html").stat().st_size > 50_000


def test_termux(built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(built.root)
    with zipfile.ZipFile(tmp_path / "litert.aar", "w") as archive:  # as Google's package is laid out
        archive.write(wheel_library(), "jni/arm64-v8a/libLiteRt.so")
    prepare, pull = commands("termux.md")
    install, *rest = commands("termux.md", "termux")
    assert install.startswith("pkg install -y python")
    with emulated(tmp_path / "phone") as (phone, adbd):
        phones = {"192.168.1.20:5555": adbd.address[1]}
        run(prepare, tmp_path, phones)
        shutil.copy(phone.root / "system/bin/python3", phone.root / "system/bin/python")
        with connect(Address(*adbd.address), keys.load(tmp_path / ".android/adbkey")[0]) as adb:
            home = "export HOME=/data/local/tmp/home; cd ~/adascale 2>/dev/null; "
            adb.check("mkdir -p /data/local/tmp/home")
            outputs = [adb.check(home + line, timeout_s=120) for line in rest]
        run(pull, tmp_path, phones)
    assert '"count"' in outputs[2] and '"engine": "libLiteRt.so"' in outputs[3]
    measured = (tmp_path / "termux.jsonl").read_text().splitlines()
    assert len(measured) == len(built.manifest.branches)
