"""The command line as a user meets it: output, exit codes, one sentence for what is wrong, nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_runtime.seams.bundle import Bundle
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
    assert "'gru' does not take" in refused(capsys, *build, out, "--backbone", "gru")
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
    assert "no delegate 'tpu'" in refused(capsys, "profile", b, "--delegates", "tpu", "--out", tmp_path / "m.jsonl")
    assert "cannot be read" in refused(capsys, "fit", tmp_path / "none", "--out", tmp_path / "p")
    assert "cannot be read" in refused(capsys, "replay", b, "--trace", tmp_path / "none", "--budget", "latency_ms=5")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_bundle_is_refused(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    path = next(copied.glob("*.tflite"))
    path.write_bytes(path.read_bytes()[:-1])
    assert "was cut off or changed" in refused(capsys, "profile", copied)


@pytest.mark.slow
def test_ctrl_c_in_training_leaves_no_bundle(tmp_path: Path) -> None:
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
    assert [p.name for p in tmp_path.iterdir()] == ["b.checkpoint"]  # no half-written bundle, and where to go on


@pytest.mark.slow
@pytest.mark.alone
def test_the_demo_walks_the_whole_road(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adascale_tf", "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert len(facts["branches"]) >= 8
    assert facts["best"]["accuracy"] >= 0.97
    assert facts["cheapest"]["accuracy"] >= 0.90 and facts["cheapest"]["speedup"] >= 3
    idle, loaded, again = facts["loop"]["phases"].values()
    assert idle["kept"] >= 0.9 and loaded["kept"] >= 0.7 and again["kept"] >= 0.9
    for phase in (idle, again):  # accuracy is given up only where deadlines demand it
        hasty = phase["branches"].get(facts["cheapest"]["id"], 0.0) > 0.5
        assert not hasty or phase["kept"] < 0.98
    for name in ("bundle/manifest.json", "report.html", "events.jsonl", "measurements.jsonl", "predictors.json"):
        assert (tmp_path / "demo" / name).stat().st_size > 1000


@pytest.mark.slow
def test_a_users_model_becomes_a_bundle_that_evolves(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The road of an app team: its Keras 3 model in, branches out, new branches without training, the best of them."""
    import keras

    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image))
    for _ in range(3):
        y = layers.Conv2D(8, 3, padding="same", use_bias=False)(layers.ReLU()(x))
        x = layers.Add()([x, layers.BatchNormalization()(y)])
    model = keras.Model(image, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    model.save(tmp_path / "mine.keras")
    out, kept = tmp_path / "bundle", tmp_path / "bundle.checkpoint"
    arguments = ("build", "--model", tmp_path / "mine.keras", "--data", "digits", "--epochs", 1, "--out", out, "--json")
    code, text, _ = run(capsys, *arguments)
    manifest = json.loads(text)
    assert code == 0 and len(manifest["branches"]) >= 8
    assert manifest["preprocessing"]["channels"] == 3
    first = next(b for b in manifest["branches"] if b["recipe"] == "full")
    assert first["verification"]["max_abs_difference"] <= 1e-3 * first["verification"]["output_range"]
    written = (kept / "checkpoint.json").stat().st_mtime_ns
    code, again, _ = run(capsys, *arguments, "-q")  # the training is finished: taken from the checkpoint
    assert code == 0 and (kept / "checkpoint.json").stat().st_mtime_ns == written
    assert [b["accuracy"] for b in json.loads(again)["branches"]] == [b["accuracy"] for b in manifest["branches"]]

    more = tmp_path / "more"
    code, text, _ = run(
        capsys, "evolve", kept, "--data", "digits", "--recipes", "width(0.75),ghost(0.5)+int8", "--out", more, "--json"
    )
    assert code == 0 and [b["recipe"] for b in json.loads(text)["branches"]] == ["width(0.75)", "ghost(0.5)+int8"]
    m, p = tmp_path / "m.jsonl", tmp_path / "p.json"
    assert run(capsys, "profile", out, "--runs", 5, "--out", m, "-q")[0] == 0
    assert run(capsys, "fit", m, "--out", p, "-q")[0] == 0
    code, text, _ = run(capsys, "search", out, "--predictors", p, "--branches", 3, "--json")
    assert code == 0 and 1 <= len(json.loads(text)["chosen"]) <= 3
    code, text, _ = run(
        capsys, "search", kept, "--data", "digits", "--predictors", p, "--branches", 2, "--trials", 2, "--json",
        "--out", tmp_path / "best",
    )  # fmt: skip
    assert code == 0 and json.loads(text)["seen"] >= 10
    assert len(json.loads((tmp_path / "best" / "manifest.json").read_text())["branches"]) == len(
        json.loads(text)["chosen"]
    )

    assert "takes inputs" in refused(
        capsys, "build", "--model", _sequence_model(tmp_path), "--data", "digits", "--out", tmp_path / "x"
    )
    assert "give one of them" in refused(
        capsys, "build", "--model", out, "--backbone", "gru", "--data", "digits", "--out", tmp_path / "x"
    )
    assert "is not a checkpoint" in refused(
        capsys, "evolve", out, "--data", "digits", "--recipes", "full", "--out", tmp_path / "x"
    )
    assert "name its data" in refused(capsys, "search", kept, "--predictors", p)
    assert "predicts no latency" in refused(capsys, "search", out, "--predictors", p, "--threads", 7)
    assert not (tmp_path / "x").exists()


def _sequence_model(folder: Path) -> Path:
    import keras

    keras.Sequential([keras.Input((9, 4)), keras.layers.GRU(4), keras.layers.Dense(10)]).save(folder / "seq.keras")
    return folder / "seq.keras"
