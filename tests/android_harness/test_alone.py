"""One agent at a time: real processes on a lock, as two connections to one phone start them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from android_harness.agent import alone as alone_module
from android_harness.agent.alone import Owner, Taken, alone
from tests.fixtures.agents import gone
from tests.fixtures.shelf import wait_for

ROOT = Path(__file__).parents[2]
MINE, OTHERS = Owner("aa", "process 7 on lab"), Owner("bb", "process 8 on desk")
#: Holds the lock, alone or with a child that outlives it.
HOLDER = """
import os, sys, time
from android_harness.agent.alone import Owner, alone
with alone(Owner(sys.argv[1], sys.argv[2])):
    child = os.fork() if "child" in sys.argv else 0
    if child or "child" not in sys.argv:
        print("holds", child, flush=True)
    time.sleep(0.0 if "short" in sys.argv else 60.0)
"""
Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture()
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Start a process that holds the lock below ``tmp_path``, in a session of its own as adbd starts it."""
    started: list[subprocess.Popen[str]] = []

    def start(owner: Owner, *more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, owner.token, owner.who, *more], cwd=tmp_path, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_the_lock_is_free_after_its_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for owner in (MINE, OTHERS):
        with alone(owner, path):
            assert json.loads(path.read_text()) == {
                "pid": os.getpid(), "group": os.getpgrp(), "owner": owner.token, "who": owner.who
            }  # fmt: skip
        assert path.read_text() == ""


@pytest.mark.parametrize("child", [[], ["child"]])
def test_an_agent_ends_the_one_before_with_its_children(hold: Hold, tmp_path: Path, child: list[str]) -> None:
    first = hold(MINE, *child)
    pids = [first.pid, *(int(word) for word in said(first)[1:] if int(word))]
    assert len(pids) == 1 + len(child)
    begun = time.monotonic()
    with alone(MINE, tmp_path / "lock"):
        wait_for(lambda: all(map(gone, pids)), 1)
    assert time.monotonic() - begun < 5 and first.wait(10) == -signal.SIGKILL


def test_a_child_whose_parent_was_killed_still_measures(hold: Hold, tmp_path: Path) -> None:
    first = hold(MINE, "child")
    _, child = said(first)
    first.kill()
    first.wait(10)
    assert not gone(int(child))
    with alone(MINE, tmp_path / "lock"):
        wait_for(lambda: gone(int(child)), 1)


def test_an_agent_of_another_command_stays_and_is_named(hold: Hold, tmp_path: Path) -> None:
    first = hold(OTHERS)
    said(first)
    with (
        pytest.raises(Taken, match=rf"measured by process 8 on desk \(its agent is process {first.pid} on the phone\)"),
        alone(MINE, tmp_path / "lock"),
    ):
        pass
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    with alone(MINE, tmp_path / "lock"):
        pass


def test_a_short_look_at_the_lock_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants to know whether somebody measures holds the lock for a moment, and what it says is old."""
    monkeypatch.setattr(alone_module, "GRACE_S", 5.0)
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": os.getpid(), "group": 1, "owner": "bb", "who": "somebody else"}))
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        child = os.fork()
        if child == 0:  # it holds the lock for a moment longer than this block
            time.sleep(0.1)
            os._exit(0)
    with alone(MINE, path):
        pass
    os.waitpid(child, 0)


@pytest.mark.parametrize("text", ["", "[]", '{"pid": "x", "group": 1}', "[" * 4000])
def test_a_holder_that_says_nothing_is_waited_for(hold: Hold, tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    first = hold(MINE)
    said(first)
    path.write_text(text, encoding="latin-1")
    second = hold(MINE)
    time.sleep(0.6)
    assert first.poll() is None and second.poll() is None
    first.terminate()
    assert said(second) == ["holds", "0"]


def test_a_lock_that_was_removed_is_made_anew(hold: Hold, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = hold(OTHERS)
    said(first)
    path.unlink()
    with alone(MINE, path):
        assert json.loads(path.read_text())["owner"] == MINE.token
    assert first.poll() is None
