"""The command line as a user meets it: output, exit codes, one sentence for what is wrong, nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_tf.bundle import Bundle
from adascale_tf.cli import cli, main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence on standard error of a call that is refused with exit code 2."""
    code, out, err = run(capsys, *arguments)
    lines = [line for line in err.splitlines() if line.startswith("adascale: ")]
    assert code == 2 and out == "" and len(lines) == 1 and "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_helps_with_an_example(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = run(capsys, name, "--help")
    assert code == 0 and f"Example: adascale {name}" in " ".join(out.split())


def test_inspect_and_evaluate_agree_with_the_manifest(capsys: pytest.CaptureFixture[str], built: Bundle) -> None:
    code, out, _ = run(capsys, "inspect", built.root, "--json")
    assert code == 0 and len(json.loads(out)["branches"]) == 8
    code, out, _ = run(capsys, "inspect", built.root)
    assert code == 0 and "width(0.25)+exit(1)+int8" in out
    code, out, _ = run(capsys, "evaluate", built.root, "--data", "digits", "--json", "-q")
    assert code == 0
    for row in json.loads(out):
        assert abs(row["accuracy"]["value"] - row["manifest"]["value"]) <= 0.001


def test_the_road_from_measurements_to_the_report(
    capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path
) -> None:
    m, p, e, r = (tmp_path / name for name in ("m.jsonl", "p.json", "e.jsonl", "r.html"))
    assert run(capsys, "profile", built.root, "--runs", 10, "--out", m)[0] == 0
    code, out, _ = run(capsys, "fit", m, "--out", p)
    assert code == 0 and "latency_ms" in out
    arguments = ("run", built.root, "--data", "digits", "--budget", "latency_ms=50,energy_mj=100", "--predictors", p)
    code, out, _ = run(capsys, *arguments, "--seconds", 1, "--out", e, "--json", "-q")
    facts = json.loads(out)
    assert code == 0 and facts["count"] > 50 and facts["kept"] > 0.9
    code, out, _ = run(capsys, "replay", built.root, "--trace", e, "--budget", "latency_ms=50,energy_mj=100", "--json")
    assert code == 0 and json.loads(out) == facts
    assert run(capsys, "report", built.root, m, p, e, "--out", r)[0] == 0
    assert "<svg" in r.read_text()


def test_building_from_a_folder_is_refused_before_training(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "b"
    (tmp_path / "one" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    build = ("build", "--data", "digits", "--out")
    assert "no operator 'magic'" in refused(capsys, *build, out, "--recipes", "full,magic(2)")
    assert "is not a step" in refused(capsys, *build, out, "--recipes", "width(")
    assert "no backbone 'vgg'" in refused(capsys, *build, out, "--backbone", "vgg")
    assert "needs sequences" in refused(capsys, *build, out, "--backbone", "gru")
    assert "is a file" in refused(capsys, *build, tmp_path / "file")
    assert "holds other files" in refused(capsys, *build, tmp_path)
    assert "cannot be written" in refused(capsys, *build, "/proc/adascale/b")
    assert "no data at" in refused(capsys, "build", "--data", tmp_path / "none", "--out", out)
    assert "has no train/" in refused(capsys, "build", "--data", tmp_path / "one", "--out", out)
    assert not out.exists() and sorted(p.name for p in tmp_path.iterdir()) == ["file", "one"]


def test_bad_input_of_other_commands(capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path) -> None:
    b = built.root
    loop = ("run", b, "--data", "digits", "--budget")
    assert "is not a bundle" in refused(capsys, "inspect", tmp_path)
    assert "No branch keeps the budget" in refused(capsys, *loop, "latency_ms=0.000001")
    assert "'speed=3' is not a budget" in refused(capsys, *loop, "speed=3")
    assert "needs an energy predictor" in refused(capsys, *loop, "energy_mj=3")
    assert "no branch 'x'" in refused(capsys, "evaluate", b, "--data", "digits", "--branch", "x")
    assert "no delegate 'gpu'" in refused(capsys, "profile", b, "--delegates", "gpu", "--out", tmp_path / "m.jsonl")
    assert "cannot be read" in refused(capsys, "fit", tmp_path / "none", "--out", tmp_path / "p")
    assert "cannot be read" in refused(capsys, "replay", b, "--trace", tmp_path / "none", "--budget", "latency_ms=5")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_bundle_is_refused(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    path = next(copied.glob("*.tflite"))
    path.write_bytes(path.read_bytes()[:-1])
    assert "was cut off or changed" in refused(capsys, "profile", copied)


def test_ctrl_c_in_training_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "b"
    command = [sys.executable, "-m", "adascale_tf", "build", "--data", "digits", "--epochs", "50", "--out", str(out)]

    def listen() -> None:  # a shell's background jobs, as in CI, ignore Ctrl-C and hand that down
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("train:"):
            break
    child.send_signal(signal.SIGINT)
    rest = child.stderr.read()
    assert child.wait(60) == 130 and "interrupted" in rest and "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_walks_the_whole_road(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adascale_tf", "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert len(facts["branches"]) >= 8
    assert facts["best"]["accuracy"] >= 0.97
    assert facts["cheapest"]["accuracy"] >= 0.90 and facts["cheapest"]["speedup"] >= 3
    loaded, idle = facts["loop"]["phases"]["loaded"], facts["loop"]["phases"]["idle"]
    favourite = max(idle["branches"], key=idle["branches"].get)
    assert loaded["branches"].get(favourite, 0.0) < 0.5 < idle["branches"][favourite]
    again = facts["loop"]["phases"]["idle again"]["branches"]
    assert again.get(favourite, 0.0) > loaded["branches"].get(favourite, 0.0)
    for name in ("bundle/manifest.json", "report.html", "events.jsonl", "measurements.jsonl", "predictors.json"):
        assert (tmp_path / "demo" / name).stat().st_size > 1000
