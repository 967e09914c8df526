"""Every benchmark runs as its user starts it, with all its parts, and its result is complete.

The sizes are those of ``--smoke``: figures of such a run are void.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.seams.bundle import Bundle

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import headline_rows
from sections import WRITERS

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
BUNDLE = "BUNDLE"
#: How a user starts each; BUNDLE stands for a bundle.
COMMANDS = {
    "startup": [], "switching": [BUNDLE], "harness": [BUNDLE], "adapt": ["--bundle", BUNDLE, "--bundle", BUNDLE],
    "again": ["--bundle", BUNDLE], "fleet": [BUNDLE], "predict": [], "operators": [], "headline": [],
    "adascale_sgd": [], "targets": [],
}  # fmt: skip


def run(name: str, *arguments: object) -> None:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def smoke(built: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that gives the result of a benchmark's smoke run."""
    folder = tmp_path_factory.mktemp("smoke")

    def take(name: str) -> dict[str, Any]:
        if name == "harness" and shutil.which("adb") is None:
            pytest.skip("the peer is missing: the adb client is not installed")
        out = folder / f"{name}.json"
        if not out.exists():
            run(
                f"{name}.py",
                *[built.root if word == BUNDLE else word for word in COMMANDS[name]],
                "--smoke",
                "--out",
                out,
            )
        found: dict[str, Any] = json.loads(out.read_text())
        return found

    return take


def test_every_benchmark_is_tried() -> None:
    assert set(COMMANDS) == {path.stem for path in BENCHMARKS.glob("*.py") if "MEASURES = " in path.read_text()} - {
        "evidence"
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_smoke_run_gives_a_complete_result(smoke: Any, name: str) -> None:
    found, kept = smoke(name), json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())
    assert found["smoke"] and set(found) == set(kept)
    known = found["evidence"]
    assert known["benchmark"] == name and len(known["digest"]) == 16 and known["machine"]["memory_bytes"] > 0
    assert {"ai-edge-litert", "numpy", "tensorflow"} <= set(known["versions"])
    # Every figure of the documentation can be made from it.
    ours, theirs = WRITERS[name](found), WRITERS[name](kept)
    assert [one.quantity for one in ours.figures] == [one.quantity for one in theirs.figures]
    assert all(one.middle and "nan" not in one.middle for one in ours.figures)
    assert len(ours.tables) == len(theirs.tables)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_a_target_was_promised_is_looked_at_on_the_real_one(smoke: Any) -> None:
    found = smoke("targets")
    assert set(found["absent"]) | {row["target"] for row in found["rows"]} == {"gpu", "npu"}
    if not found["rows"]:
        pytest.skip(f"there is neither processor: {found['absent']}")
    for row in found["rows"]:
        assert row["refused"] == "" and row["promised"] >= row["count"] / 2
        assert row["taken"] == row["promised"] == row["right"], row["contrary"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_target_without_a_processor_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", str(tmp_path / "nothing.json"))
    monkeypatch.setenv("VK_ICD_FILENAMES", "")
    run("targets.py", "--targets", "gpu", "--smoke", "--out", tmp_path / "t.json")
    found = json.loads((tmp_path / "t.json").read_text())
    assert set(found["absent"]) == {"gpu"} and found["absent"]["gpu"] and found["rows"] == []
    told = {one.quantity: one.middle for one in WRITERS["targets"](found).figures}
    assert all(middle == "not measured" for middle in told.values()) and len(told) == 4


def test_switching_is_compared_with_opening_anew(built: Bundle, tmp_path: Path) -> None:
    run("switching.py", built.root, "--rounds", 5, "--repeats", 2, "--out", tmp_path / "s.json")
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert len(rows) == 3 and all(len(samples) == 5 for row in rows for samples in row["samples_ms"])
    assert all(0 < row["p50_ms"] <= row["worst_p50_ms"] for row in rows)


def test_a_smoke_run_leaves_the_figures_alone(built: Bundle) -> None:
    before = (BENCHMARKS / "results" / "switching.json").read_bytes()
    run("switching.py", built.root, "--smoke")
    assert (BENCHMARKS / "results" / "switching.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_operators_are_measured_on_both_backbones(smoke: Any) -> None:
    rows = smoke("operators")["rows"]
    assert {row["backbone"] for row in rows} == {"resnet", "gru"}
    assert all(row["latency_ms"] > 0 and row["zipped_bytes"] > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_headline_compares_every_hand_made_network(smoke: Any) -> None:
    one = smoke("headline")["runs"][0]
    pairs = headline_rows.pairs(one, one["variants"][0])
    assert len(pairs) == 5 and all(pair["branch_macs"] <= pair["macs"] for pair in pairs)


@pytest.mark.slow
def test_adaptation_is_judged_against_all_contenders(smoke: Any) -> None:
    runs = smoke("adapt")["runs"]
    assert len(runs) == 4  # two repeats of two bundles
    for one in runs:
        judged = one["judged"]
        assert set(judged) == {"ours", "static full", "static smallest", "threshold", "oracle"} and one["ticks"] > 10
        assert judged["oracle"]["all"][0] <= min(missed["all"][0] for missed in judged.values())


@pytest.mark.slow
def test_a_bundle_is_measured_twice(smoke: Any) -> None:
    found = smoke("again")
    assert len(found["pairs"]) == 2
    for one in found["pairs"]:
        assert set(one["seen"]) == set(one["at_usual"]) and len(one["seen"]) == found["cells"]
        assert all(value > -1 for value in one["at_usual"].values()) and 0 <= one["overlap"] <= 1


@pytest.mark.slow
def test_the_harness_stands_beside_adb(smoke: Any) -> None:
    runs = smoke("harness")["runs"]
    assert len(runs) == 2 and {len(v) for one in runs for v in one["transfers_s"].values()} == {3}


@pytest.mark.slow
@pytest.mark.alone  # an energy that other load disturbs is no measurement, and would be missing
@pytest.mark.timeout(900)
def test_predictions_are_judged_on_a_host_and_on_a_phone(smoke: Any) -> None:
    rows = {row["what"]: row for row in smoke("predict")["rows"]}
    assert len(rows) == 10 and all(row["count"] > 0 for row in rows.values())
    assert {count for what, row in rows.items() if "phone" in what for count in [row["count"]]} == {6}


def test_the_simulated_fleet_loses_nothing_and_repeats_itself(tmp_path: Path) -> None:
    stored, found = BENCHMARKS / "results" / "fleet.json", []
    for name in ("a", "b"):
        run("fleet.py", "--measured", stored, "--phones", 40, "--out", tmp_path / name)
        facts = json.loads((tmp_path / name).read_text())
        assert facts["evidence"] == json.loads(stored.read_text())["evidence"]  # the measurements are as old as before
        found.append(facts["simulated"])
        for outcome in found[-1]:
            outcome.pop("dispatcher_s_per_1000")  # the one figure that is measured there
    assert found[0] == found[1]
    assert all(o["done"] + o["given_up"] == o["cells"] and 0 < o["utilisation"] <= 1 for o in found[0])
    assert all(o["lost"] == 0 for o in found[0] if "deaths 0%" in o["name"])
    sizes = {o["name"]: o["leases"] for o in found[0]}
    assert sizes["none, leases of 24"] < sizes["none, leases of 12"] < sizes["none, leases of 1"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fleet_is_measured_and_simulated(built: Bundle, smoke: Any) -> None:
    facts = smoke("fleet")
    measured = facts["measured"]
    assert len(measured["leases"]["cells"]) == 2 * len(built.manifest.branches)
    assert all(seconds > 0 for name in ("energy", "first", "next") for seconds in measured["leases"][name])
    assert measured["deaths"]["cut"] and measured["deaths"]["silent"] and measured["dask"]["answers_per_s"] > 0
    assert all(o["done"] + o["given_up"] == o["cells"] for o in facts["simulated"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rules_of_scaling_are_compared_with_gains_in_their_range(smoke: Any) -> None:
    facts = smoke("adascale_sgd")
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
