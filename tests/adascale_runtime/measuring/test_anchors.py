"""Anchors: the files are those that micro-kernels give, they run wherever branches run, and blocks hold their times."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.engines import registry
from adascale_runtime.engines.delegates import wheel_library
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.measuring import anchors, work
from adascale_runtime.measuring.anchors import Anchors, open_anchors
from adascale_runtime.seams import pace
from adascale_runtime.seams.pace import KINDS, Pace
from android_harness import package
from converters import flatbuffer
from profiling import anchor_files, micro_kernels


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_those_that_micro_kernels_write(kind: str) -> None:
    written = micro_kernels.write(anchor_files.KERNELS[kind])
    assert anchors.data(kind) == written
    source, target = flatbuffer.borders(written, anchors.SIGNATURE)
    branch = anchors.branch(kind)
    for told, own in ((source, branch.input), (target, branch.output)):
        assert (told.name, tuple(told.shape), told.dtype) == (own.name, own.shape, own.dtype)
        assert told.scale == pytest.approx(own.scale) and told.zero_point == own.zero_point


def test_they_are_small() -> None:
    assert sum(len(anchors.data(kind)) for kind in KINDS) < 40_000


def test_their_times_are_those_of_small_kernels() -> None:
    opened = open_anchors()
    paces = [opened.pace(n) for n in range(20)]
    for kind in KINDS:
        times = sorted(p.of(kind) or 0.0 for p in paces)
        assert 0.002 < times[10] < 5.0, kind
    assert [p.run for p in paces] == list(range(20))
    clock = [p.time_s or 0.0 for p in paces]
    assert clock == sorted(clock) and abs(time.monotonic() - clock[-1]) < 60


def test_what_cannot_run_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.opener

    def but_integers(name: str) -> Any:
        def open_one(path: Path, branch: Any, threads: int, allow_fallback: bool) -> Any:
            if branch.precision == "int8":
                raise AdaScaleError("This processor has no integers.")
            return real(name)(path, branch, threads, allow_fallback)

        return open_one

    monkeypatch.setattr(anchors.delegates, "opener", but_integers)
    told = open_anchors().pace(3)
    assert told.integer_ms is None and told.float_ms and told.memory_ms and told.run == 3


def test_one_that_fails_later_is_left_out_from_then_on() -> None:
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        if len(calls) > once:
            raise AdaScaleError("LiteRT failed to run the branch.")

    once = 1 + anchors.GROUPS * anchors.MOST  # so short a kernel runs as often as it may

    opened = Anchors({"float": fails})
    assert opened.pace(0).float_ms is not None
    assert [opened.pace(n).float_ms for n in (1, 2)] == [None, None] and len(calls) == once + 1


def test_they_run_from_inside_a_zip_file_without_numpy_and_leave_nothing(tmp_path: Path) -> None:
    agent, empty = tmp_path / "agent.pyz", tmp_path / "empty"
    package.write(agent)
    empty.mkdir()
    with zipfile.ZipFile(agent) as archive:
        assert sum(name.endswith(".tflite") for name in archive.namelist()) == len(KINDS)
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from adascale_runtime.measuring import anchors
from android_harness.agent import engines
engines.install(sys.argv[2])
told = anchors.open_anchors().pace(5)
assert anchors.__file__.startswith(sys.argv[1]) and "numpy" not in sys.modules
print(told.run, *(0 < told.of(kind) < 50 for kind in ("float", "integer", "memory")))
"""
    command = [sys.executable, "-I", "-S", "-c", program, str(agent), wheel_library()]
    done = subprocess.run(command, cwd=empty, env={"TMPDIR": str(empty)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["5", "True", "True", "True"] and list(empty.iterdir()) == []


def test_an_interrupted_run_does_not_make_groups_short() -> None:
    runs: list[float] = []

    def kernel() -> None:
        begun = time.perf_counter()
        while time.perf_counter() - begun < (2e-3 if len(runs) == held_up else 2e-5):
            pass
        runs.append(begun)

    held_up = -1
    opened = Anchors({"float": kernel})
    opened.pace(0)
    long = len(runs)
    held_up = long  # the untimed run of the next look
    opened.pace(1)
    assert long > 1 + 2 * anchors.GROUPS and len(runs) - long >= long - anchors.GROUPS


# --- blocks


class Slow:
    """A branch that takes a while, and an anchor: who ran when."""

    branch: Any = None

    def __init__(self, ms: float, anchor_ms: float = 0.1) -> None:
        self.ms, self.anchor_ms, self.log = ms, anchor_ms, ""

    def invoke(self, stored: Any) -> Any:
        self.log += "r"
        end = time.perf_counter() + self.ms / 1e3
        while time.perf_counter() < end:
            pass

    def anchors(self) -> Anchors:
        def kernel() -> None:
            self.log += "a"
            time.sleep(self.anchor_ms / 1e3)

        return Anchors({"float": kernel})

    def run(
        self, runs: int, seconds: float = 10.0, anchored: bool = True, **more: Any
    ) -> tuple[list[float], list[Pace]]:
        opened: Any = self
        return work.paced(opened, [0, 1], runs, seconds, self.anchors() if anchored else None, **more)


def test_a_block_goes_on_until_its_runs_have_lasted() -> None:
    latencies, paces = Slow(0.5).run(3, lasting_ms=8.0)
    assert len(latencies) > 3 and 8.0 <= sum(latencies) < 8.0 + max(latencies) and paces[-1].run == len(latencies)
    assert len(Slow(0.5).run(3, lasting_ms=1.0)[0]) == 3
    assert sum(Slow(2.0).run(2, 0.01, lasting_ms=1e6)[0]) < 50  # its time is over


def test_a_short_block_lies_between_two_looks_at_the_anchors() -> None:
    branch = Slow(0.1)
    latencies, paces = branch.run(5)
    assert branch.log == "aaaa" + "r" + "rrrrr" + "aaaa" and len(latencies) == 5
    assert [p.run for p in paces] == [0, 5]


def test_a_long_block_is_cut_into_chunks_of_some_ten_milliseconds() -> None:
    latencies, paces = Slow(1.0, 0.01).run(60)
    cuts = [b.run - a.run for a, b in itertools.pairwise(paces)]
    assert len(latencies) == sum(cuts) == 60 and paces[0].run == 0 and len(cuts) >= 4
    assert sorted(cuts)[len(cuts) // 2] <= 10  # each takes at least a millisecond
    pace.check(paces, 60, "it")


def test_slow_anchors_run_less_often() -> None:
    branch = Slow(1.0, 5.0)
    latencies, paces = branch.run(200)
    spent = sum((p.float_ms or 0.0) * 4 for p in paces)
    assert len(paces) <= 2 + sum(latencies) / (work.SPARE * 4 * 5.0) and spent < 0.5 * sum(latencies)


def test_a_slow_branch_is_not_run_in_vain_after_the_anchors() -> None:
    branch = Slow(25.0)
    latencies, paces = branch.run(3)
    assert branch.log.count("r") == 1 + len(latencies) == 4 and branch.log.count("a") == 4 * len(paces)


def test_a_block_ends_in_time_but_not_too_early() -> None:
    latencies, paces = Slow(5.0).run(100, 0.02)
    assert 2 <= len(latencies) <= 5 and paces[-1].run == len(latencies)
    assert len(Slow(5.0).run(100, 0.0, least=3)[0]) == 3


def test_without_anchors_there_is_one_untimed_run() -> None:
    branch = Slow(1.0)
    latencies, paces = branch.run(30, anchored=False)
    assert branch.log == "r" * 31 and len(latencies) == 30 and paces == []
