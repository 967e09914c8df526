"""Folders that appear whole or not at all: on full disks, after kills, in the place of older ones."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adascale_runtime.files import disk
from adascale_runtime.seams import bundle
from tests.fixtures.small_disk import mounted

_WRITER = (
    "import sys, time, pathlib\nfrom adascale_runtime.seams import bundle\n"
    "with bundle.whole_folder(pathlib.Path(sys.argv[1])) as folder:\n"
    "    (folder / 'half').write_text('x')\n    print(folder, flush=True)\n    time.sleep(60)"
)


def writer(target: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that is in the middle of writing ``target``, and the folder that it writes."""
    child = subprocess.Popen([sys.executable, "-c", _WRITER, str(target)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def write(target: Path, text: str) -> None:
    with bundle.whole_folder(target) as folder:
        (folder / "manifest.json").write_text(text)


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    target = tmp_path / "b"
    dead, left = writer(target)
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    living, kept = writer(target)
    try:
        assert not left.exists()
        (tmp_path / ".b.settings").mkdir()  # somebody else's
        write(target, "{}")
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([".b.settings", "b", kept.name])
        assert (kept / "half").is_file()
    finally:
        living.kill()
        living.wait()
    write(target, "{}")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.settings", "b"]


def test_an_older_bundle_is_replaced_whole_also_behind_a_link(tmp_path: Path) -> None:
    write(tmp_path / "b", "1")
    (tmp_path / "b" / "extra").write_text("x")
    (tmp_path / "link").symlink_to("b")
    write(tmp_path / "link", "2")
    assert (tmp_path / "link").is_symlink()
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["manifest.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "link"]


@pytest.fixture()
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB where this user may mount one; otherwise files of 100 kB at most."""
    with mounted(tmp_path / "small", 100) as there:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if not there:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        yield tmp_path / "small"
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_a_sentence_and_the_old_bundle_stays(small_disk: Path) -> None:
    target = small_disk / "b"
    write(target, "old")
    with pytest.raises(disk.Unwritable, match=r"b cannot be written \((No space|File too large)"):
        write(target, "x" * 200_000)
    assert (target / "manifest.json").read_text() == "old" and [p.name for p in small_disk.iterdir()] == ["b"]
