"""Options and their help: what is offered exists, and what was asked for is what happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_runtime.engines import registry
from adascale_runtime.policies.policy import POLICIES
from adascale_runtime.policies.rivals import REPLAY_ONLY
from adascale_runtime.seams.bundle import Bundle
from adascale_tf.cli import main
from android_harness.benchmark_log import SWITCHES


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    told = capfd.readouterr()
    return int(stop.value.code or 0), told.out, told.err


def test_the_help_offers_the_delegates_that_there_are(capfd: pytest.CaptureFixture[str]) -> None:
    help_ = " ".join(run(capfd, "profile", "--help")[1].split())
    here, agent, tool = (", ".join(registry.names(runner)) for runner in ("host", "agent", "benchmark_model"))
    offered = f"This machine: {here}. Phones: {agent}; with --runner benchmark_model: {tool}."
    assert f"Comma-separated. {offered}" in help_ and "nnapi" in tool and "nnapi" not in here + agent
    assert "comma-separated: " + here in " ".join(run(capfd, "run", "--help")[1].split()).replace("- ", "-")
    assert f"Comma-separated: {agent}." in " ".join(run(capfd, "agent", "--help")[1].split())


def test_a_switch_of_benchmark_model_is_a_delegate_that_it_is_said_to_have() -> None:
    assert set(registry.names("benchmark_model")) == set(SWITCHES)


def test_the_help_offers_the_policies_that_serve(capfd: pytest.CaptureFixture[str]) -> None:
    help_ = " ".join(run(capfd, "run", "--help")[1].split())
    live = sorted(set(POLICIES) - set(REPLAY_ONLY))
    # A line may end at the hyphen of a name.
    assert f"One of {', '.join(live)}. [default: adaptive]" in help_.replace("- ", "-")


@pytest.mark.parametrize("name", ["x.csv", "x", "x.json"])
def test_a_report_is_a_page(capfd: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path, name: str) -> None:
    code, out, err = run(capfd, "report", built.root, "--out", tmp_path / name)
    assert code == 2 and out == "" and "is an HTML page" in err and "must end in .html" in err
    assert not list(tmp_path.iterdir())
    assert run(capfd, "report", built.root, "--out", tmp_path / "x.HTM")[0] == 0


def test_a_phone_that_is_not_there_is_shown_and_fails_the_command(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capfd, "devices", "127.0.0.1:1", "--json")
    assert code == 1 and json.loads(out)[0]["state"] == "absent"
    assert "1 of 1 phones cannot be used: 127.0.0.1:1 is absent." in err and "Traceback" not in err
    code, out, _ = run(capfd, "devices", "127.0.0.1:1")
    assert code == 1 and "absent" in out


def test_an_accelerator_without_a_driver_is_one_sentence(built: Bundle, tmp_path: Path) -> None:
    """Where there is a driver, the command works."""
    command = [
        sys.executable, "-m", "adascale_tf", "profile", str(built.root), "--branches", "full", "--runs", "2", "-q",
        "--delegates", "gpu", "--out", str(tmp_path / "m.jsonl"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ADASCALE_DEBUG": ""})
    if done.returncode:
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stderr.startswith("adascale: ")
        assert "gpu runs no operator of full.tflite here" in done.stderr


def test_workers_are_told_who_can_reach_them(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    build = ("build", "--data", "digits", "--strategy", "multi-worker", "--out", tmp_path / "b")
    code, _, err = run(capfd, *build)
    assert code == 2 and "note: TensorFlow will listen on all network interfaces" in err
    assert "note: TensorFlow" not in run(capfd, *build, "--quiet")[2]
    section = (Path(__file__).parents[3] / "docs" / "scale.md").read_text().partition("## Who can reach a worker\n")[2]
    assert "firewall" in section.partition("\n###")[0]
