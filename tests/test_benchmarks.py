"""The benchmarks run and write what they promise; their figures are for the README, not for tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_tf.bundle import Bundle

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, BENCHMARKS / name, *map(str, arguments)], check=True, capture_output=True)


def test_switching_is_compared_with_opening_anew(built: Bundle, tmp_path: Path) -> None:
    run("switching.py", built.root, "--rounds", 5, "--out", tmp_path / "s.json")
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert len(rows) == 3 and all(len(row["samples_ms"]) == 5 and row["p50_ms"] > 0 for row in rows)


@pytest.mark.slow
def test_operators_are_measured_on_both_backbones(tmp_path: Path) -> None:
    run("operators.py", "--epochs", 1, "--rounds", 3, "--out", tmp_path / "o.json")
    rows = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert {row["backbone"] for row in rows} == {"resnet", "gru"}
    assert all(row["latency_ms"] > 0 and row["zipped_bytes"] > 0 for row in rows)


@pytest.mark.slow
def test_the_headline_compares_every_hand_made_network(tmp_path: Path) -> None:
    run("headline.py", "--short", "--epochs", 2, "--data", "digits", "--out", tmp_path / "h.json")
    facts = json.loads((tmp_path / "h.json").read_text())
    assert len(facts["rows"]) == 8
    pairs = facts["runs"][0]["pairs"]
    assert len(pairs) == 5 and all(p["branch_macs"] <= p["macs"] for p in pairs)


def test_startup_is_compared_with_python_itself(tmp_path: Path) -> None:
    run("startup.py", "--rounds", 1, "--out", tmp_path / "s.json")
    assert len(json.loads((tmp_path / "s.json").read_text())["seconds"]) == 3


@pytest.mark.slow
def test_adaptation_is_judged_against_all_contenders(built: Bundle, tmp_path: Path) -> None:
    run("adapt.py", "--bundle", built.root, "--seconds", 6, "--out", tmp_path / "a.json")
    facts = json.loads((tmp_path / "a.json").read_text())
    assert set(facts["judged"]) == {"ours", "static full", "static smallest", "threshold", "oracle"}
    assert facts["judged"]["oracle"]["all"][0] <= min(missed["all"][0] for missed in facts["judged"].values())
    assert facts["ticks"] > 10 and len(facts["rows"]) == 7


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("adb") is None, reason="the peer is missing: the adb client is not installed")
def test_the_harness_stands_beside_adb(built: Bundle, tmp_path: Path) -> None:
    run("harness.py", built.root, "--out", tmp_path / "h.json")
    facts = json.loads((tmp_path / "h.json").read_text())
    assert {len(values) for values in facts["transfers_s"].values()} == {11} and len(facts["rows"]) == 4
