"""Every command that writes, on a disk without space: one sentence, and nothing half-written that looks whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.files import codec
from adascale_runtime.seams import bundle
from adascale_tf.cli import main
from tests.fixtures import small_disk
from tests.fixtures.plain_bundle import CLASSES, SIZE, write_bundle
from tests.fixtures.small_disk import fill

ROOT = Path(bundle.__file__).parent.parent
BUDGET = ("--budget", "latency_ms=50")


@pytest.fixture()
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    with small_disk.mounted(tmp_path / "disk", 64) as mounted:
        if not mounted:
            pytest.skip("this user may not mount a file system")
        yield tmp_path / "disk"


@pytest.fixture()
def opened(tmp_path: Path) -> bundle.Bundle:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture()
def arrays(tmp_path: Path) -> Path:
    x, y = np.zeros((4, SIZE), np.float32), np.arange(4) % CLASSES
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return tmp_path / "data.npz"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    _, err = capsys.readouterr()
    assert stop.value.code in (1, 2) and "Traceback" not in err, err
    sentences = [line for line in err.splitlines() if line.startswith("adascale: ")]
    assert len(sentences) == 1, err
    assert "(No space left on device)" in sentences[0] or "disk is full" in sentences[0], err
    return sentences[0]


@pytest.mark.parametrize("left", [0, 8192])
def test_events(capsys: pytest.CaptureFixture[str], disk: Path, opened: bundle.Bundle, arrays: Path, left: int) -> None:
    """What was written before the disk was full is a trace."""
    fill(disk, left)
    out = disk / "e.jsonl"
    refused(capsys, "run", opened.root, "--data", arrays, *BUDGET, "--seconds", 2, "--trace-out", out, "-q")
    lines = list(codec.read_lines(out))
    assert bool(lines) == bool(left)


@pytest.mark.parametrize("left", [0, 4096])
def test_profile(capsys: pytest.CaptureFixture[str], disk: Path, opened: bundle.Bundle, left: int) -> None:
    fill(disk, left)
    refused(capsys, "profile", opened.root, "--runs", 400, "--out", disk / "m.jsonl", "-q")
    assert not (disk / "m.jsonl").exists() or list(codec.read_lines(disk / "m.jsonl")) == []


def test_fit_and_report(capsys: pytest.CaptureFixture[str], disk: Path, opened: bundle.Bundle, tmp_path: Path) -> None:
    measured = tmp_path / "m.jsonl"
    with pytest.raises(SystemExit):
        main(["profile", str(opened.root), "--runs", "10", "--out", str(measured), "-q"])
    line = json.loads(measured.read_text())
    with measured.open("a") as file:
        for number in range(1, 5):
            cost = {**line["cost"], "macs": 1000 * number, "weight_bytes": 4000 * number}
            file.write(
                json.dumps({**line, "branch": f"b{number}", "recipe": f"width(0.{number})", "cost": cost}) + "\n"
            )
    for name in ("p.json", "r.html"):
        (disk / name).write_text("{}")
    fill(disk)
    refused(capsys, "fit", measured, "--out", disk / "p.json", "-q")
    refused(capsys, "report", measured, "--out", disk / "r.html", "-q")
    assert (disk / "p.json").read_text() == (disk / "r.html").read_text() == "{}"
    assert sorted(path.name for path in disk.iterdir()) == ["filling", "p.json", "r.html"]


def test_a_bundle_as_a_zip(capsys: pytest.CaptureFixture[str], disk: Path, opened: bundle.Bundle) -> None:
    made = shutil.make_archive(str(disk / "b"), "zip", opened.root)
    fill(disk)
    for command in (["inspect", made], ["report", made, "--out", disk / "r.html"]):
        refused(capsys, *command)
    assert sorted(path.name for path in disk.iterdir()) == ["b.zip", "filling"]
    (disk / "filling").unlink()
    assert bundle.load(made).manifest == opened.manifest


def test_the_agent(capsys: pytest.CaptureFixture[str], disk: Path) -> None:
    fill(disk)
    refused(capsys, "agent", "--out", disk / "agent.pyz")
    assert [path.name for path in disk.iterdir()] == ["filling"]


def test_the_key_for_phones(capsys: pytest.CaptureFixture[str], disk: Path) -> None:
    fill(disk)
    refused(capsys, "devices", "127.0.0.1:1", "--key", disk / "key")
    assert not (disk / "key").exists()


def test_pull(capsys: pytest.CaptureFixture[str], disk: Path, opened: bundle.Bundle, tmp_path: Path) -> None:
    from android_harness import termux
    from android_harness.runner import Options
    from profiling import cells
    from tests.fixtures.emulated_phone import emulated

    files = termux.files(opened, cells.choose(opened, ["cpu"], [1], 4), Options(runs=4), None)
    with emulated(tmp_path / "phone") as (phone, adbd):
        shared = phone.local(termux.SHARED)
        shared.mkdir(parents=True)
        (shared / "plan.json").write_bytes(files["plan.json"])
        said = subprocess.run(
            [sys.executable, "-m", "android_harness.agent.main", "bench", str(shared / "plan.json")], cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        )  # fmt: skip
        (shared / termux.RESULTS).write_text(said.stdout)
        fill(disk)
        address = f"127.0.0.1:{adbd.address[1]}"
        refused(capsys, "pull", opened.root, "--device", address, "--out", disk / "m.jsonl", "--key", tmp_path / "key")
