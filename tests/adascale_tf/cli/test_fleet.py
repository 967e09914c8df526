"""``--fleet`` as a user meets it: what is said, and what is left when it is killed or interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from adascale_runtime.files import codec
from adascale_runtime.seams.bundle import Bundle
from android_harness import keys
from tests.adascale_tf.cli.test_commands import refused, run
from tests.fixtures.shelf import Unit, alive, fleet_yaml, shelf, wait_for

ROOT = Path(__file__).parents[3]


@pytest.fixture()
def units(tmp_path: Path) -> Iterator[list[Unit]]:
    with shelf(tmp_path, {"P1": "pixel", "P2": "pixel"}) as found:
        yield list(found.values())


@pytest.fixture()
def fleet(units: list[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet of a phone at each of two hosts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    keys.load(tmp_path / "adbkey")
    hosts = {"lab-a": units[:1], "lab-b": units[1:]}
    return fleet_yaml(tmp_path / "fleet.yaml", hosts, tmp_path / "adbkey", "cells_per_lease: 1")


def start(*words: object) -> subprocess.Popen[str]:
    """The command line in a process group of its own, as a terminal starts it."""

    def foreground() -> None:  # a shell's background processes ignore Ctrl-C, and their children inherit that
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-m", "adascale_tf", *map(str, words)], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=foreground,
    )  # fmt: skip


def lines(out: Path) -> int:
    return out.read_text().count("\n") if out.exists() else 0


def test_a_fleet_profiles_a_bundle(
    capfd: pytest.CaptureFixture[str], built: Bundle, fleet: Path, tmp_path: Path
) -> None:
    out, branches = tmp_path / "m.jsonl", [b.id for b in built.manifest.branches[:2]]
    words = ("profile", built.root, "--fleet", fleet, "--runs", 4, "--branches", ",".join(branches), "--out", out)
    code, told, err = run(capfd, *words, "--json")
    assert code == 0 and "Traceback" not in err and "distributed" not in err
    assert {m["branch"] for m in json.loads(told)} == set(branches) and lines(out) == 2
    assert "profile fleet: 2 of 2" in err
    code, told, err = run(capfd, "devices", "--fleet", fleet, "--json")
    assert code == 0 and [(f["host"], f["facts"]["serial"]) for f in json.loads(told)] == [
        ("lab-a", "P1"),
        ("lab-b", "P2"),
    ]
    assert not psutil.Process().children(recursive=True) or all(
        "resource_tracker" in " ".join(p.cmdline()) or "multiprocessing" not in " ".join(p.cmdline())
        for p in psutil.Process().children(recursive=True)
    )


def test_what_is_missing_is_said_and_the_command_fails(
    capfd: pytest.CaptureFixture[str], built: Bundle, fleet: Path, units: list[Unit], tmp_path: Path
) -> None:
    for unit in units:
        unit.die()
    code, told, err = run(
        capfd, "profile", built.root, "--fleet", fleet, "--patience", 1, "--json", "--out", tmp_path / "m.jsonl"
    )
    assert code == 1 and json.loads(told) == []
    assert err.count("No phone answers") == 2 and not (tmp_path / "m.jsonl").exists()
    code, told, _ = run(capfd, "devices", "--fleet", fleet)
    assert code == 1 and told.count("absent") == 2 and "lab-b: No phone answers" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--device", "127.0.0.1:1"), "leave --device out"),
        (("--all",), "leave --all out"),
        (("--calibrate",), "leave --calibrate out"),
        (("--contexts", "idle,load50"), "leave --contexts out"),
        (("--key", "adbkey"), "leave --key out"),
        (("--litert", "no.so"), "no.so cannot be read"),
        (("--branches", "none"), "has no branch 'none'"),
    ],
)
def test_what_does_not_go_with_a_fleet_is_refused(
    capfd: pytest.CaptureFixture[str], built: Bundle, fleet: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    out = tmp_path / "m.jsonl"
    assert sentence in refused(capfd, "profile", built.root, "--fleet", fleet, "--out", out, *words)
    assert not list(tmp_path.glob("m.jsonl*"))


def test_without_the_extra_it_says_what_to_install(
    capfd: pytest.CaptureFixture[str], built: Bundle, fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("distributed", "yaml"):
        monkeypatch.setitem(sys.modules, module, None)
        assert "pip install 'adascale-tf[fleet]'" in refused(capfd, "profile", built.root, "--fleet", fleet)
        assert "pip install 'adascale-tf[fleet]'" in refused(capfd, "devices", "--fleet", fleet)
        monkeypatch.undo()


def once(out: Path, built: Bundle) -> bool:
    """Whether every branch of the bundle is there, once."""
    found = Counter(m["branch"] for m in codec.read_lines(out))
    return found == {branch.id: 1 for branch in built.manifest.branches}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_killed_or_interrupted_continues(
    built: Bundle, fleet: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "m.jsonl"
    words = ("profile", built.root, "--fleet", fleet, "--runs", 4, "--out", out)
    for wanted in (1, 4):
        child = start(*words)
        wait_for(lambda wanted=wanted: lines(out) >= wanted, 60)
        time.sleep(0.3)
        below = [p.pid for p in psutil.Process(child.pid).children(recursive=True)]
        assert len(below) >= 2
        if number == signal.SIGINT:
            os.killpg(child.pid, number)  # as Ctrl-C does: the workers get it too
        else:
            child.kill()
        _, err = child.communicate(timeout=60)
        assert child.returncode == (130 if number == signal.SIGINT else -number)
        wait_for(lambda below=below: not alive(below), 15)
        if number == signal.SIGINT:
            assert "interrupted; finished work is kept" in err and "Traceback" not in err
        before = out.read_text()
    child = start(*words, "-q")
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert out.read_text().startswith(before) and once(out, built)
    assert [p.name for p in tmp_path.glob("m.jsonl*")] == ["m.jsonl"]
