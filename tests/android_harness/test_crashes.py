"""Delegates, agents and harnesses that crash or are killed: the others go on, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from android_harness.strikes import STRIKES
from tests.fixtures.adbd import Adbd
from tests.fixtures.phones import Phone
from tests.fixtures.profiles import (
    FULL,
    MIDDLE,
    SCRIPT,
    SMALL,
    Profile,
    kill,
    once,
    slow,
)

# --- crashes


@pytest.mark.parametrize("kind", ["block", slow("process"), slow("start"), slow("energy")])
def test_a_delegate_that_crashes_fails_its_cell_alone(profile: Profile, pixel: tuple[Phone, Adbd], kind: str) -> None:
    branches = [MIDDLE, SMALL]
    name = f"{MIDDLE}/cpux1"
    tick = once(f"{kind} {name}", kill(pixel[0], 1, signal.SIGSEGV))
    # The work must last until it is found: a block of many runs takes up to a second.
    runs = 4000 if kind == "block" else 4
    outcome = profile(pixel[1], tick, branches=branches, energy=kind == "energy", runs=runs, rounds=1)
    assert outcome.failed == {name: "its process was killed by SIGSEGV"}
    assert {m.branch for m in outcome.measurements} == set(branches) - {MIDDLE}
    again = profile(pixel[1], branches=[MIDDLE])
    assert not again.failed and again.measurements[0].branch == MIDDLE


@pytest.mark.parametrize("kind", ["block", slow("process"), slow("end")])
def test_an_agent_that_is_killed_goes_on(profile: Profile, pixel: tuple[Phone, Adbd], kind: str) -> None:
    outcome = profile(pixel[1], once(kind, kill(pixel[0], 0, signal.SIGKILL), after=1))
    assert profile.whole(outcome, interrupted=1)


@pytest.mark.slow
def test_an_agent_that_always_dies_of_one_cell(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    strike = kill(pixel[0], 0, signal.SIGKILL)

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        if note.startswith(f"start {MIDDLE}/"):
            strike()

    outcome = profile(pixel[1], tick, branches=[FULL, MIDDLE, SMALL])
    assert outcome.failed == {f"{MIDDLE}/cpux1": f"the runner on the phone died while it did 'start', {STRIKES} times"}
    assert [m.branch for m in outcome.measurements] == [FULL, SMALL] and outcome.given_up == set(outcome.failed)
    assert profile.begun["start", f"{MIDDLE}/cpux1"] == STRIKES


# --- the harness itself is killed


def journal_facts(journal: Path) -> dict[tuple[str, str], Any]:
    """The facts in a journal, which its writer removes at the end; the last line may be cut off."""
    try:
        text = journal.read_text()
    except FileNotFoundError:
        return {}
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return {(line["kind"], line["key"]): line["value"] for line in lines[1:]}


@pytest.mark.parametrize(
    ("seed", "most", "branches"),
    [
        pytest.param(1, 8, [FULL, SMALL], marks=pytest.mark.slow),
        pytest.param(2, 4, [FULL, MIDDLE, SMALL], marks=pytest.mark.slow),
        pytest.param(3, 3, [FULL, MIDDLE, SMALL], marks=pytest.mark.slow),
    ],
)
def test_a_harness_that_is_killed_again_and_again(
    built: Bundle, key: Path, tmp_path: Path, pixel: tuple[Phone, Adbd], seed: int, most: int, branches: list[str]
) -> None:
    phone, adbd = pixel
    out, runs, rounds = tmp_path / "m.jsonl", 10, 5
    journal = Path(f"{out}.{phone.props['ro.serialno']}.journal")
    words = [built.root, f"127.0.0.1:{adbd.address[1]}", key, out, runs, rounds, *branches]
    chance, kills = random.Random(seed), 0
    seen: dict[tuple[str, str], Any] = {}
    while True:
        known = journal_facts(journal)
        assert set(known) >= set(seen)
        seen = known
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, words)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        more, deadline = chance.randint(1, most), time.monotonic() + 60
        while child.poll() is None and len(journal_facts(journal)) < len(known) + more:
            assert time.monotonic() < deadline
            time.sleep(0.001 * chance.random())
        child.kill()
        told, _ = child.communicate()
        begun = [tuple(line.split(" ", 1)) for line in told.splitlines()]
        assert len(begun) == len(set(begun)) and not set(begun) & set(known)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 2 and not journal.exists()
    measured = {m.branch: m for m in records.read([out])}
    assert sorted(measured) == sorted(branches)
    assert all(len(m.latency_ms) == runs and m.rounds == rounds for m in measured.values())
    for (kind, name), value in seen.items():
        if kind == "block":
            branch = measured[name.split("/")[0]]
            assert set(value["latency_ms"]) <= set(branch.latency_ms)
