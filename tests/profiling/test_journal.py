"""Unfinished work on the disk: damaged lines, two who measure at once, a disk that is full."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files.disk import Busy, Unwritable
from adascale_runtime.seams import facts, records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Block, End, Process
from adascale_runtime.seams.records import Context
from profiling import cells, measure
from profiling.journal import Journal, adopt, settle
from tests.fixtures import small_disk, told
from tests.fixtures.small_disk import fill
from tests.fixtures.told import HONEST, Told, honest

SETTINGS = {"bundle": "b", "cells": ["x/cpux1", "y/cpux1"]}
BUNDLE = told.paper("first", "second")


def text(*lines: Any) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


GOOD = {"kind": "block", "key": "x/cpux1#0", "value": {"latency_ms": [1.5]}}
DAMAGED = [
    b"\xff\xfe\0", b"{", b"[" * 5000, {}, [], 3, {"kind": "block", "key": "x/cpux1#1"},
    {"kind": "block", "key": 3, "value": {"latency_ms": [1.5]}}, {"kind": "spell", "key": "x", "value": {}},
    {"kind": "block", "key": "x/cpux1#1", "value": {"latency_ms": [-1]}},
    {"kind": "end", "key": "x/cpux1", "value": {"context": {"time_s": "now"}}},
    b'{"kind":"block","key":"x/cpux1#1","value":{"latency_ms":[NaN]}}',
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_a_damaged_line_is_dropped_and_said_once(tmp_path: Path, number: int) -> None:
    path, said = tmp_path / "m.journal", []
    path.write_bytes(text({"settings": SETTINGS}, DAMAGED[number], GOOD))
    with Journal(path, SETTINGS, lambda *words: said.append(words)) as journal:
        assert journal.get("block", "x/cpux1#0") == Block((1.5,)) and len(journal._facts) == 1
        journal.add("process", "x/cpux1", Process(1.0, 2.0))
    assert said == [("m.journal", 1, 2, "1 damaged line is measured again")]
    with Journal(path, SETTINGS, lambda *words: said.append(words)) as journal:
        assert journal.has("process", "x/cpux1") and len(said) == 1


def test_damaged_lines_are_no_hindrance_to_those_who_tidy_up(tmp_path: Path) -> None:
    path = tmp_path / "m.journal"
    other = {"kind": "block", "key": "y/cpux1#0", "value": {"latency_ms": [2.5]}}
    path.write_bytes(text({"settings": SETTINGS}, *DAMAGED, GOOD, other))
    settle(path, {"bundle": "b"}, ["x/cpux1"])
    adopt(path, {"bundle": "b"}, ["y/cpux1"])
    with Journal(path, {"bundle": "b", "cells": ["y/cpux1"]}) as journal:
        assert [key for _, key in journal._facts] == ["y/cpux1#0"]


@pytest.mark.parametrize("first", [b"{", b"3", {"settings": 3}, b"\xff", b'{"settings":NaN}'])
def test_a_journal_without_settings_is_refused_and_kept(tmp_path: Path, first: Any) -> None:
    path = tmp_path / "m.journal"
    path.write_bytes(text(first, GOOD))
    settle(path, {"bundle": "b"}, [])
    with pytest.raises(BadInput, match="unfinished work"):
        Journal(path, SETTINGS)
    assert path.read_bytes() == text(first, GOOD)


def test_journals_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They hold what agents and this machine told, as it came."""
    path = tmp_path / "m.journal"
    kinds = [{"kind": kind, "key": "x/cpux1", "value": value} for kind, value in HONEST.items()]
    host = {"kind": "block", "key": "x/cpux1#0", "value": {"latency_ms": [1.0], "energy_mj": None, "meter": None}}
    estimate = {"kind": "energy", "key": "y/cpux1", "value": {"value_mj": None, "reason": "not asked for"}}
    path.write_bytes(text({"settings": SETTINGS}, *kinds, host, estimate))
    with Journal(path, SETTINGS, lambda *_: pytest.fail("nothing is damaged")) as journal:
        assert len(journal._facts) == len(kinds) + 2


def test_a_phone_s_damaged_journal_costs_only_what_was_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    journal = Path(f"{out}.A1.journal")
    said: list[tuple[Any, ...]] = []

    class Killed(Told):
        def run(self, adb: Any, jobs: Any) -> Iterator[Any]:
            yield from list(super().run(adb, jobs))[:-3]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        told.profile(monkeypatch, BUNDLE, Killed(honest), out)
    lines = journal.read_bytes().splitlines()
    index = next(i for i, line in enumerate(lines) if b'"start"' in line and b"first" in line)
    lines[index] = lines[index].replace(b'"cpu_load":0.1', b'"cpu_load":-5')
    journal.write_bytes(b"\n".join(lines) + b"\n")
    well = Told(honest)
    outcome = told.profile(monkeypatch, BUNDLE, well, out, lambda *words: said.append(words))
    assert ("start", "first/cpux1") in well.begun and len(well.begun) == 2
    assert not outcome.failed and len(records.read([out])) == 2 and not journal.exists()
    assert len([words for words in said if "measured again" in words[3]]) == 1


# --- two at once


def test_a_phone_is_measured_into_a_file_by_one_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The other command names the process, and disturbs nothing."""
    out, refused = tmp_path / "m.jsonl", []

    class Visited(Told):
        def run(self, adb: Any, jobs: Any) -> Iterator[Any]:
            if not refused:
                with pytest.raises(
                    Busy, match=f"is being written by process {os.getpid()}; wait for it to end"
                ) as caught:
                    told.profile(monkeypatch, BUNDLE, Told(honest), out)
                refused.append(caught.value)
            yield from super().run(adb, jobs)

    outcome = told.profile(monkeypatch, BUNDLE, Visited(honest), out)
    assert refused[0].exit_code == 2 and not outcome.failed and len(records.runs([out])) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_two_commands_on_this_machine(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    words = [sys.executable, "-m", "adascale_tf", "profile", str(built.root), "--branches", "full", "-q"]
    first = subprocess.Popen([*words, "--runs", "30", "--out", str(out)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "m.jsonl.journal").exists():
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.002)
    with pytest.raises(Busy, match=f"m.jsonl.journal is being written by process {first.pid}; wait"):
        measure.profile(built, ["cpu"], [1], runs=30, out=out, branches=["full"])
    assert first.wait(60) == 0 and len(records.runs([out])) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


# --- disks


@pytest.fixture()
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    with small_disk.mounted(tmp_path / "disk", 64) as mounted:
        if not mounted:
            pytest.skip("this user may not mount a file system")
        yield tmp_path / "disk"


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(small: Path) -> None:
    path, added = small / "m.journal", 0
    with Journal(path, SETTINGS) as journal:
        fill(small, 8192)
        with pytest.raises(
            Unwritable, match=r"m.journal cannot be written \(No space left on device\); free some space"
        ):
            for added in range(1000):
                journal.add("block", f"x/cpux1#{added}", Block((1.5,) * 20))
        assert not journal.has("block", f"x/cpux1#{added}")
    (small / "filling").unlink()
    with Journal(path, SETTINGS, lambda *_: pytest.fail("no line is damaged")) as journal:
        assert len(journal._facts) == added > 10
        journal.add("end", "x/cpux1", End(Context(1.0)))


def test_measurements_on_a_full_disk_are_all_written_or_none(
    monkeypatch: pytest.MonkeyPatch, small: Path, tmp_path: Path
) -> None:
    measured = told.profile(monkeypatch, BUNDLE, Told(honest), tmp_path / "m.jsonl").measurements
    out = small / "m.jsonl"
    cells.append(out, measured[:1])
    before = out.read_bytes()
    fill(small)
    with pytest.raises(Unwritable, match=r"free some space or choose another --out"):
        cells.append(out, measured * 20)
    assert out.read_bytes() == before
    (small / "filling").unlink()
    cells.append(out, measured[1:])
    assert records.read([out]) == measured


@pytest.mark.parametrize("space", [0, 4096, 12288])
def test_a_profile_on_a_full_disk_goes_on_when_there_is_space(
    monkeypatch: pytest.MonkeyPatch, small: Path, space: int
) -> None:
    out = small / "m.jsonl"
    fill(small, space)
    many = told.paper(*(f"branch{n}" for n in range(12)))
    with pytest.raises(Unwritable, match="No space left on device"):
        told.profile(monkeypatch, many, Told(honest), out)
    assert not out.exists() or not out.read_bytes()
    kept = sum(path.read_bytes().count(b'"kind"') for path in small.glob("*.journal"))
    (small / "filling").unlink()
    well = Told(honest)
    outcome = told.profile(monkeypatch, many, well, out)
    assert not outcome.failed and len(records.read([out])) == 12
    assert len(well.begun) == 12 * 5 - kept and [path.name for path in small.iterdir()] == ["m.jsonl"]


def test_a_profile_of_this_machine_on_a_full_disk_is_one_sentence(built: Bundle, small: Path) -> None:
    fill(small)
    done = subprocess.run(
        [sys.executable, "-m", "adascale_tf", "profile", str(built.root), "--branches", "full", "--runs", "2", "-q",
         "--out", str(small / "m.jsonl")], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr and "No space left on device" in done.stderr
    assert [path.name for path in small.iterdir()] == ["filling"]


# --- what is checked before it is written


def test_a_measurement_that_could_not_be_read_again_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "m.jsonl"
    good = told.profile(monkeypatch, BUNDLE, Told(honest), out).measurements
    before = out.read_bytes()
    for changes in ({"latency_ms": (1.0, float("nan"))}, {"threads": None}, {"device": {"name": "\ud800"}}):
        with pytest.raises(BadInput, match=r"^The measurement of second"):
            cells.append(out, [good[0], dataclasses.replace(good[1], **changes)])
    assert out.read_bytes() == before


def test_a_fact_has_no_more_latencies_than_were_asked_for() -> None:
    facts.check("block", {"latency_ms": [1.0]}, "block", 2)
    with pytest.raises(BadInput, match="has 3 latencies, but 2 runs were asked for"):
        facts.check("block", {"latency_ms": [1.0] * 3}, "block", 2)
    block = facts.Block((1.0, 1.5, 1.0))
    facts.verify(block, "block", 2, 2.6)  # two runs had not taken that long yet
    with pytest.raises(BadInput, match="2 runs were asked for"):
        facts.verify(block, "block", 2, 2.5)
