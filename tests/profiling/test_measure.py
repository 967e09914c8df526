from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.engines.delegates import LoadedBranch, open_branch
from adascale_runtime.errors import BadInput, UnknownDelegate
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.jobs import Job
from adascale_runtime.seams.records import Delegation
from profiling import cells, device, host, measure
from profiling.journal import Journal

CELLS = 8


def profile(bundle: Bundle, out: Path, **changes: Any) -> list[records.Measurement]:
    wanted = {"delegates": ["cpu"], "threads": [1], "runs": 20, **changes}
    return measure.profile(bundle, wanted["delegates"], wanted["threads"], runs=wanted["runs"], out=out)


def test_every_branch_is_measured_and_says_how(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    found = profile(built, out, delegates=["cpu", "reference"], runs=10)
    assert len(found) == 2 * CELLS and records.read([out]) == found
    assert not Path(f"{out}.journal").exists()
    for m in found:
        assert m.rounds == 10 and 10 <= len(m.latency_ms) <= 30 and min(m.latency_ms) > 0 and len(m.warmup_ms) == 3
        # In integers two classes may tie, and other kernels round the other way.
        assert (m.outputs is not None and m.outputs.agreement == 1.0) or m.precision == "int8"
        assert m.outputs.max_abs_difference < 0.3
        assert m.memory_mb is not None and 0 < m.memory_mb < 100 and m.load_ms is not None and m.load_ms > 0
        assert m.delegation is not None and (m.delegation.verdict == "not") == (m.delegate == "reference")
        assert m.energy.how == "measured:rapl" or (
            m.energy.how == "estimated:model" and "no energy meter" in str(m.energy.reason)
        )
        assert m.context_before.cores == os.cpu_count() and m.device["kind"] == "host"
    by_cell = {(m.branch, m.delegate): m.latency_quantile_ms(0.5) for m in found}
    assert by_cell["width0.25-exit1-int8", "cpu"] < by_cell["full", "cpu"] < by_cell["full", "reference"]


def test_rounds_are_interleaved(built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    add = Journal.add

    def spy(self: Any, kind: str, key: str, value: Any) -> None:
        order.append(key) if kind == "block" else None
        add(self, kind, key, value)

    monkeypatch.setattr(Journal, "add", spy)
    profile(built, tmp_path / "m.jsonl")
    rounds = [[k.split("#")[0] for k in order if k.endswith(f"#{n}")] for n in range(10)]
    assert order == [key for n in range(10) for key in order if key.endswith(f"#{n}")]
    assert all(len(set(r)) == CELLS for r in rounds) and len({tuple(r) for r in rounds}) > 5


def test_finished_work_is_not_repeated(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    first = profile(built, out)
    before = out.read_text()
    assert profile(built, out) == first and out.read_text() == before
    more = profile(built, out, runs=4)
    assert more != first and len(records.read([out])) == CELLS


@pytest.mark.parametrize("moment", [25, *(pytest.param(m, marks=pytest.mark.slow) for m in (3, 60))])
def test_a_kill_loses_no_block_and_repeats_none(built: Bundle, tmp_path: Path, moment: int) -> None:
    out, journal = tmp_path / "m.jsonl", tmp_path / "m.jsonl.journal"
    command = [sys.executable, "-m", "adascale_tf", "profile", str(built.root), "--runs", "20", "--out", str(out), "-q"]
    child = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if journal.exists() and journal.read_text().count("\n") >= moment:
            break
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    if out.exists():
        pytest.skip("the run ended before the kill")
    kept = [json.loads(line) for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert len(kept) >= moment
    with journal.open("a") as file:
        file.write('{"kind":"block","key":"cut off')
    found = profile(built, out)
    assert not journal.exists() and all(len(m.latency_ms) >= 20 for m in found) and len(found) == CELLS
    blocks = {line["key"]: line["value"]["latency_ms"] for line in kept[1:] if line["kind"] == "block"}
    everything = {m.branch: m.latency_ms for m in found}
    for key, latencies in blocks.items():
        branch = key.split("/")[0]
        assert set(latencies) <= set(everything[branch])


def test_unfinished_work_of_other_settings_is_refused(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    Path(f"{out}.journal").write_text('{"settings":{"bundle":"other"}}\n')
    with pytest.raises(BadInput, match="unfinished work of another profile"):
        profile(built, out)
    assert not out.exists()


@pytest.mark.parametrize("text", ["[]\n", "3\n", '{"other": 1}\n'])
def test_a_foreign_journal_is_refused_and_kept(built: Bundle, tmp_path: Path, text: str) -> None:
    journal = tmp_path / "m.jsonl.journal"
    journal.write_text(text)
    with pytest.raises(BadInput, match="delete it or choose another --out"):
        profile(built, tmp_path / "m.jsonl")
    assert journal.read_text() == text


def test_a_kill_after_the_last_write_leaves_nothing_in_the_way(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, journal = tmp_path / "m.jsonl", tmp_path / "m.jsonl.journal"

    def killed(self: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Journal, "remove", killed)
        profile(built, out, runs=4)
    written = out.read_text()
    assert journal.exists()
    profile(built, out, runs=4)
    assert not journal.exists() and out.read_text() == written


def test_a_kill_while_measurements_are_written_loses_none_and_repeats_none(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, journal = tmp_path / "m.jsonl", tmp_path / "m.jsonl.journal"
    branches = ["full", "int8", "width0.25-int8"]
    append = cells.append

    def torn(out: Path, measurements: Any) -> None:
        append(out, measurements)
        lines = out.read_bytes().splitlines(keepends=True)
        out.write_bytes(lines[0] + lines[1][:100])  # as a kill between two pages leaves it
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cells, "append", torn)
        measure.profile(built, ["cpu"], [1], runs=4, out=out, branches=branches)
    first = records.read([out])
    blocks = [line for line in journal.read_text().splitlines() if '"kind":"block"' in line]
    assert [m.branch for m in first] == ["full"] and len(blocks) == 3 * 4
    found = measure.profile(built, ["cpu"], [1], runs=4, out=out, branches=branches)
    assert not journal.exists() and [m.branch for m in found] == branches and found[0] == first[0]
    assert [m.branch for m in records.read([out])] == branches
    assert all(list(m.latency_ms) == _journaled(blocks, m.branch) for m in found)  # none was timed anew


def _journaled(blocks: list[str], branch: str) -> list[float]:
    facts = [json.loads(line) for line in blocks]
    return [ms for fact in facts if fact["key"].startswith(f"{branch}/") for ms in fact["value"]["latency_ms"]]


def test_unfinished_work_of_others_stays_when_there_is_nothing_to_do(built: Bundle, tmp_path: Path) -> None:
    out, journal = tmp_path / "m.jsonl", tmp_path / "m.jsonl.journal"
    profile(built, out, runs=4)
    same = {"bundle": built.digest, "threads": [1], "runs": 4, "device": device.facts()["name"]}
    text = json.dumps({"settings": {**same, "cells": ["full/reference"]}}) + "\n"
    journal.write_text(text)
    profile(built, out, runs=4)
    assert journal.read_text() == text


def test_chosen_branches_only(built: Bundle, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"runs": 4, "out": tmp_path / "m.jsonl"}
    assert [m.branch for m in measure.profile(built, ["cpu"], [1], branches=["full"], **wanted)] == ["full"]
    with pytest.raises(BadInput, match="The bundle has no branch 'x'"):
        measure.profile(built, ["cpu"], [1], branches=["x"], **wanted)
    with pytest.raises(BadInput, match="No branch is named"):
        measure.profile(built, ["cpu"], [1], branches=[], **wanted)


def test_outputs_that_are_no_numbers_do_not_spoil_the_file(built: Bundle, copied: Path, tmp_path: Path) -> None:
    branch = built.manifest.branches[0]
    expected = np.fromfile(copied / branch.expected, "<f4")
    expected[0] = np.nan
    expected.tofile(copied / branch.expected)
    found = measure.profile(
        Bundle(copied, built.manifest), ["cpu"], [1], runs=4, out=tmp_path / "m.jsonl", branches=[branch.id]
    )
    assert records.read([tmp_path / "m.jsonl"]) == found and found[0].outputs is None


def test_warm_up_comes_before_all_other_runs(built: Bundle) -> None:
    """Of the samples that are run, the first ones are those that are kept as the warm-up."""
    calls: list[str] = []

    class Spy(LoadedBranch):
        def invoke(self, stored: np.ndarray) -> np.ndarray:
            calls.append("timed")
            return super().invoke(stored)

        def __call__(self, x: np.ndarray) -> np.ndarray:
            calls.append("compared")
            return self.dequantize(super().invoke(self.quantize(x)))

    branch = built.manifest.branches[0]
    real = open_branch(built, branch)
    spy = Spy(branch, real._call)
    runner = host.HostRunner(host.HostOptions(), built)
    runner._opened["full/cpux1"] = spy
    runner.start(Job("start", "full/cpux1", "full/cpux1", branch.id, "cpu", 1))
    assert calls[:4] == ["timed"] * 3 + ["compared"]


def test_energy_names_the_meter_and_is_never_zero(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.perf_counter()

    def ten_watts() -> float:
        return int((time.perf_counter() - begun) * 1e3) / 1e3 * 10

    monkeypatch.setattr(host.meters, "find", lambda: ("bench", ten_watts))
    wanted: dict[str, Any] = {"runs": 4, "branches": ["full"]}
    moving = measure.profile(built, ["cpu"], [1], out=tmp_path / "moving.jsonl", **wanted)[0]
    assert moving.energy.how == "measured:bench" and moving.energy.value_mj is not None and moving.energy.value_mj > 0
    monkeypatch.setattr(host.meters, "find", lambda: ("bench", lambda: 5.0))
    stuck = measure.profile(built, ["cpu"], [1], out=tmp_path / "stuck.jsonl", **wanted)[0]
    assert stuck.energy.how == "estimated:model" and "meter bench did not move" in str(stuck.energy.reason)


def test_a_delegate_that_takes_nothing_says_so() -> None:
    assert "cpu took none of the 7 operators" in str(cells.delegation_reason("cpu", Delegation(7, 0, 0)))
    assert cells.delegation_reason("cpu", Delegation(7, 7, 1)) is None
    assert cells.delegation_reason("reference", Delegation(7, 0, 0)) is None


def test_nothing_to_run_is_refused(built: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="0 runs on 1 threads"):
        profile(built, tmp_path / "m.jsonl", runs=0)


def test_unknown_delegates_are_refused_at_once(built: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UnknownDelegate, match="no delegate 'tpu'; choose among builtin, cpu, gpu"):
        profile(built, tmp_path / "m.jsonl", delegates=["cpu", "tpu"])
    with pytest.raises(BadInput, match="No delegate is named"):
        profile(built, tmp_path / "m.jsonl", delegates=[])
    assert list(tmp_path.iterdir()) == []
