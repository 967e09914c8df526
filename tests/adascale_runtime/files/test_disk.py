import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_runtime.files.disk import Busy, Unwritable, locked, writing


def test_an_error_of_the_disk_is_a_sentence(tmp_path: Path) -> None:
    sentence = r"x\.jsonl cannot be written \(No space left on device\)"
    with pytest.raises(Unwritable, match=sentence), writing(tmp_path / "x.jsonl"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_one_holder_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    sentence = rf"m\.jsonl is being written by process {os.getpid()}"
    with locked(path, "written"), pytest.raises(Busy, match=sentence), locked(path, "written"):
        pass
    assert not list(tmp_path.iterdir())
    with locked(path, "written"):
        pass


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    code = (
        "import sys, time, pathlib\nfrom adascale_runtime.files.disk import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'written'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=f"process {child.pid}"), locked(path, "written"):
        pass
    child.kill()
    child.wait()
    with locked(path, "written"):
        pass
