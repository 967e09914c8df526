from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adascale_tf import records
from adascale_tf.bundle import Bundle
from adascale_tf.errors import BadInput, UnknownDelegate
from profiling import measure

CELLS = 8


def profile(bundle: Bundle, out: Path, **changes: Any) -> list[records.Measurement]:
    wanted = {"delegates": ["cpu"], "threads": 1, "runs": 20, **changes}
    return measure.profile(bundle, wanted["delegates"], wanted["threads"], wanted["runs"], out)


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
    add = measure.Journal.add

    def spy(self: Any, kind: str, key: str, value: Any) -> None:
        order.append(key) if kind == "block" else None
        add(self, kind, key, value)

    monkeypatch.setattr(measure.Journal, "add", spy)
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


@pytest.mark.parametrize("moment", [3, 25, 60])
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
    assert not journal.exists() and [len(m.latency_ms) for m in found] == [20] * CELLS
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


def test_unknown_delegates_are_refused_at_once(built: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UnknownDelegate, match="no delegate 'gpu' on this machine; choose among cpu, reference"):
        profile(built, tmp_path / "m.jsonl", delegates=["cpu", "gpu"])
    with pytest.raises(BadInput, match="No delegate is named"):
        profile(built, tmp_path / "m.jsonl", delegates=[])
    assert list(tmp_path.iterdir()) == []
