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


@pytest.mark.slow
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


def test_the_simulated_fleet_loses_nothing_and_repeats_itself(tmp_path: Path) -> None:
    stored, found = BENCHMARKS / "results" / "fleet.json", []
    for name in ("a", "b"):
        run("fleet.py", "--measured", stored, "--phones", 40, "--out", tmp_path / name)
        found.append(json.loads((tmp_path / name).read_text())["simulated"])
        for outcome in found[-1]:
            outcome.pop("dispatcher_s_per_1000")  # the one figure that is measured there
    assert found[0] == found[1]
    assert all(o["done"] + o["given_up"] == o["cells"] and 0 < o["utilisation"] <= 1 for o in found[0])
    assert all(o["lost"] == 0 for o in found[0] if "deaths 0%" in o["name"])
    sizes = {o["name"]: o["leases"] for o in found[0]}
    assert sizes["none, leases of 24"] < sizes["none, leases of 12"] < sizes["none, leases of 1"]


@pytest.mark.slow
def test_a_fleet_is_measured_and_simulated(built: Bundle, tmp_path: Path) -> None:
    run("fleet.py", built.root, "--phones", 200, "--repeats", 1, "--tasks", 50, "--out", tmp_path / "f.json")
    facts = json.loads((tmp_path / "f.json").read_text())
    measured = facts["measured"]
    assert len(measured["leases"]["cells"]) == 2 * len(built.manifest.branches)
    assert all(seconds > 0 for name in ("energy", "first", "next") for seconds in measured["leases"][name])
    assert measured["deaths"]["cut"] and measured["deaths"]["silent"] and measured["dask"]["answers_per_s"] > 0
    assert all(o["done"] + o["given_up"] == o["cells"] for o in facts["simulated"])


@pytest.mark.slow
def test_rules_of_scaling_are_compared_with_gains_in_their_range(tmp_path: Path) -> None:
    run("adascale_sgd.py", "--iterations", 48, "--images", 200, "--seeds", "0", "--out", tmp_path / "a.json")
    facts = json.loads((tmp_path / "a.json").read_text())
    runs = {(one["trial"]["rule"], one["trial"]["scale"]): one for one in facts["runs"]}
    assert len(runs) == len(facts["lines"]) == 10 and len(facts["rows"]) == 8
    assert facts["rate"] in {tried["rate"] for tried in facts["tuning"]}
    assert {one["trial"]["rate"] for one in facts["swept"]} == {tried["rate"] for tried in facts["tuning"]}
    for (rule, scale), one in runs.items():
        gains = [*one["gain"], *one["trace"]]
        assert (len(gains) > 3) == (rule == "adascale") and all(1 <= gain <= scale for gain in gains)
        assert 0 <= one["accuracy"] <= 1 and one["images"] == one["steps"] * scale * facts["batch"]
        # AdaScale stops with the step that reaches T; its progress is the sum of its gains.
        if rule == "adascale":
            assert 48 - 1e-3 <= one["gain"][0] * one["steps"] < 48 + scale
        else:
            assert one["steps"] == (48 // scale if rule.startswith("linear") else 48)
    assert runs["adascale", 1]["loss"] == pytest.approx(runs["identity", 1]["loss"], rel=1e-3)
