"""Commands for phones as a user gives them: one phone under two addresses, measuring again, fetching twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from android_harness import discovery, harness, keys, termux
from android_harness.adb import Address
from android_harness.runner import Options
from profiling import cells
from profiling.jobs import jobs_of
from tests.adascale_tf.cli.test_commands import run
from tests.fixtures import told
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import Phone
from tests.fixtures.told import HONEST, fact, line


@pytest.fixture()
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    keys.load(tmp_path / "adbkey")
    return tmp_path / "adbkey"


@pytest.fixture()
def pixel(tmp_path: Path) -> Iterator[tuple[Phone, int]]:
    with emulated(tmp_path / "phone", update_s=0.15) as (phone, adbd):
        yield phone, adbd.address[1]


# --- one phone, two ways to it


def profile_words(built: Bundle, out: Path, key: Path, *more: Any) -> tuple[Any, ...]:
    return ("profile", built.root, "--branches", "full", "--runs", 2, "--out", out, "--key", key, *more)


def test_a_phone_under_two_addresses_is_measured_once(
    capsys: pytest.CaptureFixture[str], built: Bundle, pixel: tuple[Phone, int], key: Path, tmp_path: Path
) -> None:
    out, here, there = tmp_path / "m.jsonl", f"127.0.0.1:{pixel[1]}", f"localhost:{pixel[1]}"
    code, _, err = run(capsys, *profile_words(built, out, key, "--device", here, "--device", there))
    assert code == 0 and len(records.runs([out])) == 1
    assert f"{there} is the same phone as " in err and pixel[0].props["ro.serialno"] in err
    assert f"it is measured at {here}." in err


def test_all_phones_are_told_by_their_serial_numbers(
    capsys: pytest.CaptureFixture[str], built: Bundle, pixel: tuple[Phone, int], key: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "m.jsonl"
    with emulated(tmp_path / "other", serial="B2") as (_, adbd):
        ways = [Address("localhost", pixel[1]), Address("127.0.0.1", pixel[1]), Address(*adbd.address)]
        monkeypatch.setattr(discovery, "candidates", lambda named=(): [*ways, Address("127.0.0.1", 1)])
        code, _, err = run(capsys, *profile_words(built, out, key, "--all", "--device", f"127.0.0.1:{pixel[1]}"))
    assert code == 0 and err.count("is the same phone as") == 1
    assert sorted(m.device["serial"] for m in records.runs([out])) == sorted([pixel[0].props["ro.serialno"], "B2"])


# --- again


def test_a_profile_that_finds_everything_measured_says_so(
    capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "m.jsonl"
    words = ("profile", built.root, "--branches", "full,int8", "--runs", 2, "--precise", 0, "--out", out)
    code, _, err = run(capsys, *words)
    assert code == 0 and "already" not in err
    first = records.read([out])
    code, _, err = run(capsys, *words)
    times = sorted(m.started for m in first)
    when = times[0] if times[0] == times[1] else f"from {times[0]} to {times[1]}"
    assert f"All 2 cells are already in {out} (measured {when}); give --again to measure them again." in err
    assert code == 0 and records.runs([out]) == first
    assert "already" not in run(capsys, *words, "-q")[2]
    code, shown, err = run(capsys, *words, "--again", "--json")
    assert code == 0 and "already" not in err and len(json.loads(shown)) == 2
    every = records.runs([out])
    assert every[:2] == first and len(every) == 4 and records.read([out]) == every[2:]
    assert run(capsys, "report", out, "--out", tmp_path / "r.html")[0] == 0
    page = (tmp_path / "r.html").read_text()
    assert page.count("2&nbsp;rounds") == 4 and "the table has each run with its time" in page


def test_one_more_run_of_a_phone_continues_after_a_kill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cells that the killed run had written are not measured a third time, those of the first run do not count."""
    opened, out = told.paper("first", "second"), tmp_path / "m.jsonl"
    first = told.profile(monkeypatch, opened, told.Told(told.honest), out).measurements

    class Killed(told.Told):
        def run(self, adb: Any, jobs: Any) -> Iterator[Any]:
            yield from list(super().run(adb, jobs))[:-3]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        told.profile(monkeypatch, opened, Killed(told.honest), out, again=True)
    plain = told.profile(monkeypatch, opened, told.Told(told.honest), out)
    assert plain.measurements == first, "without --again there is nothing to do, and the other run stays"
    well = told.Told(told.honest)
    again = told.profile(monkeypatch, opened, well, out, again=True)
    assert well.begun == [("end", "second/cpux1")] and not again.failed
    assert len(records.runs([out])) == 4 and [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(harness.Journal, "remove", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        told.profile(monkeypatch, opened, told.Told(told.honest), out, again=True)
    finished = told.Told(told.honest)
    told.profile(monkeypatch, opened, finished, out, again=True)
    assert finished.begun == [] and len(records.runs([out])) == 6


def test_a_fleet_has_no_again(capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path) -> None:
    code, _, err = run(capsys, "profile", built.root, "--fleet", tmp_path / "f.yaml", "--again")
    assert code == 2 and "leave --again out" in err


# --- Termux


@pytest.fixture()
def termux_phone(built: Bundle, pixel: tuple[Phone, int]) -> tuple[Phone, int]:
    """A phone on which the agent has done its work in Termux."""
    chosen = cells.choose(built, ["cpu"], [1], 4, ["full", "int8"])
    options = Options(runs=4, rounds=2)
    shared = pixel[0].local(termux.SHARED)
    shared.mkdir(parents=True)
    for name, data in termux.files(built, chosen, options, None).items():
        (shared / name).write_bytes(data)
    said = [text for job in jobs_of(chosen, options.schedule) for text in fact(job, HONEST[job.kind])]
    (shared / termux.RESULTS).write_text("\n".join([*said, line({"say": "done"}), ""]))
    return pixel


def pull_words(built: Bundle, port: int, out: Path, key: Path, *more: Any) -> tuple[Any, ...]:
    return ("pull", built.root, "--device", f"127.0.0.1:{port}", "--out", out, "--key", key, *more)


def test_what_was_fetched_already_is_not_added_again(
    capsys: pytest.CaptureFixture[str], built: Bundle, termux_phone: tuple[Phone, int], key: Path, tmp_path: Path
) -> None:
    (phone, port), out = termux_phone, tmp_path / "m.jsonl"
    words = pull_words(built, port, out, key)
    code, _, err = run(capsys, *words)
    assert code == 0 and "already" not in err and len(records.runs([out])) == 2
    code, shown, err = run(capsys, *words, "--clean", "--json")
    assert code == 0 and f"All 2 measurements are already in {out}." in err
    assert len(json.loads(shown)) == len(records.runs([out])) == 2
    assert not phone.local(termux.SHARED).exists() and phone.local("/sdcard/Download").exists()


def test_results_of_another_run_are_added(
    capsys: pytest.CaptureFixture[str], built: Bundle, termux_phone: tuple[Phone, int], key: Path, tmp_path: Path
) -> None:
    (phone, port), out = termux_phone, tmp_path / "m.jsonl"
    run(capsys, *pull_words(built, port, out, key))
    results = phone.local(f"{termux.SHARED}/{termux.RESULTS}")
    results.write_text(results.read_text().replace("[1.25, 1.5]", "[1.75, 1.5]"))
    mine = phone.local(f"{termux.SHARED}/mine")
    mine.touch()
    assert run(capsys, *pull_words(built, port, out, key, "--clean"))[0] == 0
    assert len(records.runs([out])) == 4 and [path.name for path in mine.parent.iterdir()] == ["mine"]


def test_unfinished_work_stays_on_the_phone(
    capsys: pytest.CaptureFixture[str], built: Bundle, termux_phone: tuple[Phone, int], key: Path, tmp_path: Path
) -> None:
    (phone, port), out = termux_phone, tmp_path / "m.jsonl"
    results = phone.local(f"{termux.SHARED}/{termux.RESULTS}")
    results.write_text("\n".join(results.read_text().splitlines()[:-3]))
    code, _, err = run(capsys, *pull_words(built, port, out, key, "--clean"))
    assert code == 1 and "int8/cpux1: not finished" in err and "its files stay; pull again" in err
    assert results.exists() and [m.branch for m in records.runs([out])] == ["full"]


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("results.log", '"load_ms": 1.5', '"load_ms": -1', "cannot be used: process.load_ms is -1"),
        ("results.log", "[1.25, 1.5]", '"fast"', "cannot be used: block.latency_ms should be a list"),
        ("results.log", "[1.25, 1.5]", "[NaN]", "is not a finite number"),
        ("plan.json", '"jobs"', '"job"', "has no 'jobs'"),
        ("plan.json", '"full/cpux1"', '"other/cpux1"', "is of no cell of the bundle"),
        ("plan.json", '"threads": 1', '"threads": "x"', "should be a whole number"),
        ("plan.json", "{", "[", "is not JSON"),
    ],
)
def test_odd_files_from_termux_are_sentences(
    capsys: pytest.CaptureFixture[str], built: Bundle, termux_phone: tuple[Phone, int], key: Path, tmp_path: Path,
    name: str, old: str, new: str, sentence: str,
) -> None:  # fmt: skip
    (phone, port), out = termux_phone, tmp_path / "m.jsonl"
    path = phone.local(f"{termux.SHARED}/{name}")
    path.write_text(path.read_text().replace(old, new, 1 if name == termux.RESULTS else -1))
    code, _, err = run(capsys, *pull_words(built, port, out, key))
    assert code in (1, 2) and sentence in " ".join(err.split()) and "Traceback" not in err
    assert name == "plan.json" or [m.branch for m in records.read([out])] == ["int8"]


def test_results_that_are_too_large_are_not_fetched(
    capsys: pytest.CaptureFixture[str], built: Bundle, termux_phone: tuple[Phone, int], key: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    phone, port = termux_phone
    monkeypatch.setattr(termux, "MOST", 1 << 20)
    with phone.local(f"{termux.SHARED}/{termux.RESULTS}").open("a") as file:
        file.truncate(64 << 20)
    code, _, err = run(capsys, *pull_words(built, port, tmp_path / "m.jsonl", key))
    assert code == 2 and "results.log on 127.0.0.1" in err and "has more than 1 MB; run the plan there again." in err


def test_the_command_is_one_process_with_one_sentence(built: Bundle, tmp_path: Path) -> None:
    """Exit codes as a shell sees them."""
    done = subprocess.run(
        [sys.executable, "-m", "adascale_tf", "pull", str(built.root), "--device", "127.0.0.1:1", "--out",
         str(tmp_path / "m.jsonl")], capture_output=True, text=True,
    )  # fmt: skip
    assert (
        done.returncode == 1 and done.stderr.startswith("adascale: No phone answers") and "Traceback" not in done.stderr
    )
