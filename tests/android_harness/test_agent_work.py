from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import AdaScaleError, BadInput
from android_harness.agent import work
from tests.fixtures.agents import Agent, command, gone, messages

# --- pieces of work that end badly


def test_a_child_that_dies_is_a_result_with_its_reason(agent: Agent) -> None:
    kinds = ("segv", "abort", "leave", "wrong", "odd", "interrupted", "large")
    done = subprocess.run(timeout=60, **command(agent, f"run(60.0, *{kinds!r})"))
    assert done.returncode == 0, done.stderr
    said = messages(done.stdout)
    assert [m["say"] for m in said] == ["begin", "failed"] * 6 + ["begin", "fact", "done"]
    reasons = {m["kind"]: m["reason"] for m in said if m["say"] == "failed"}
    assert reasons == {
        "segv": "its process was killed by SIGSEGV",
        "abort": "its process was killed by SIGABRT",
        "leave": "its process ended with code 3",
        "wrong": "ZeroDivisionError: integer division or modulo by zero",
        "odd": "its process ended with code 0",
        "interrupted": "its process ended with code 0",
    }
    assert len(said[-2]["value"]["text"]) == 1_000_000


def test_a_child_that_hangs_is_killed(agent: Agent, tmp_path: Path) -> None:
    done = subprocess.run(timeout=60, **command(agent, "run(2.0, 'hang', 'large')", tmp_path / "pid"))
    said = messages(done.stdout)
    assert [m["say"] for m in said] == ["begin", "failed", "begin", "fact", "done"]
    assert said[1]["reason"] == "it did not end within 2 s"
    assert gone(int((tmp_path / "pid").read_text()))


def test_work_keeps_to_the_cores_of_the_plan(agent: Agent) -> None:
    for core in sorted(os.sched_getaffinity(0))[:2]:
        done = subprocess.run(timeout=60, **command(agent, f"run(60.0, 'where', affinity='{1 << core:x}')"))
        assert [m["value"]["cores"] for m in messages(done.stdout) if m["say"] == "fact"] == [[core]]
    done = subprocess.run(timeout=60, **command(agent, "run(60.0, 'where')"))
    assert messages(done.stdout)[1]["value"]["cores"] == sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_no_child_outlives_the_agent(agent: Agent, tmp_path: Path, signal_name: str) -> None:
    path = tmp_path / "pid"
    process = subprocess.Popen(**command(agent, "run(300.0, 'hang')", path))
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    child = int(path.read_text())
    assert not gone(child)
    process.send_signal(getattr(signal, signal_name))
    process.communicate(timeout=20)
    while not gone(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.returncode != 0 and gone(child)


# --- cores


def tree(root: Path, *khz: int) -> str:
    for core, value in enumerate(khz):
        path = root / f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq"
        path.parent.mkdir(parents=True)
        path.write_text(f"{value}\n")
    return str(root)


def test_big_and_little_cores(tmp_path: Path) -> None:
    root = tree(tmp_path / "three", 1_800_000, 1_800_000, 2_400_000, 2_900_000)
    assert work.cores_of("big", root, 4) == (3,) and work.cores_of("little", root, 4) == (0, 1)
    same = tree(tmp_path / "same", 2_000_000, 2_000_000)
    assert work.cores_of("big", same, 2) == work.cores_of("little", same, 2) == (0, 1)
    with pytest.raises(AdaScaleError, match=r"does not report its cores' frequencies; give a mask"):
        work.cores_of("big", str(tmp_path), 4)


@given(st.sets(st.integers(0, 63), min_size=1), st.booleans(), st.integers(1, 64))
def test_masks_name_cores(cores: set[int], prefixed: bool, count: int) -> None:
    mask = format(sum(1 << core for core in cores), "#x" if prefixed else "x")
    assert work.cores_of(mask, "/", None) == tuple(sorted(cores))
    if max(cores) < count:
        assert work.cores_of(mask, "/", count) == tuple(sorted(cores))
    else:
        with pytest.raises(AdaScaleError, match=f"names cores that this device lacks; it has {count}"):
            work.cores_of(mask, "/", count)


@given(st.text().filter(lambda text: text not in ("big", "little")))
def test_other_text_is_refused_or_a_mask(text: str) -> None:
    try:
        assert work.cores_of(text, "/", None) and int(text, 16) > 0
    except AdaScaleError as error:
        assert "not a set of cores" in str(error) or int(text, 16) == 0


@pytest.mark.parametrize("text", ["", "-1", "f 0", "0xg", "BIG", "1_0", "+1", "٣"])
def test_what_is_no_mask(text: str) -> None:
    with pytest.raises(BadInput, match="is not a set of cores"):
        work.cores_of(text, "/", 8)
    assert work.cores_of(None, "/", 8) == ()


def test_a_signal_without_a_name_has_a_number() -> None:
    assert work.signal_name(signal.SIGSEGV) == "SIGSEGV"
    assert [work.signal_name(number) for number in (40, 99)] == ["signal 40", "signal 99"]
