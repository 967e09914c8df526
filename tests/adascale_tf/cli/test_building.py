"""What 'adascale build' says: steps that do nothing, losses, what is not finite, a training that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.seams import bundle
from adascale_tf.cli import main
from adascale_tf.verbs.build import begun


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_a_training_goes_on_only_after_a_whole_epoch(tmp_path: Path) -> None:
    state = tmp_path / "checkpoint.json"
    assert not begun(tmp_path)
    for content, expected in (('{"epochs_done": 0}', False), ("{", False), ("[]", False), ('{"epochs_done": 2}', True)):
        state.write_text(content)
        assert begun(tmp_path) == expected


def _loud_model(path: Path) -> None:
    """Tells dark from bright by one channel; another is a thousand times as large, so eight bits lose the first."""
    import keras

    image = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 1, use_bias=False, name="stem_conv")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax", name="head")(x))
    model.get_layer("stem_conv").set_weights([np.array([1.0, 1000.0], np.float32).reshape(1, 1, 1, 2)])
    kernel = np.array([[-40.0, 40.0], [0.0, 0.0]], np.float32)
    model.get_layer("head").set_weights([kernel, np.array([20.0, -20.0], np.float32)])
    model.save(path)


def _data(path: Path, factor: float = 1.0) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = (rng.random((80, 4, 4, 1)) * 0.4 + 0.1 + 0.4 * y[:, None, None, None]).astype(np.float32) * np.float32(factor)
    np.savez(path, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    return path


@pytest.mark.slow
def test_losses_shout_and_nothing_broken_replaces_a_bundle(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _loud_model(tmp_path / "loud.keras")
    data, out = _data(tmp_path / "d.npz"), tmp_path / "b"
    build = ("build", "--model", tmp_path / "loud.keras", "--epochs", 1, "--out", out, "--data")
    code, _, err = run(capsys, *build, data, "--recipes", "full,int8,width(1)+float16")
    assert code == 0 and "Recipe 'width(1)+float16': 'width(1)' does nothing here." in err
    assert "Note: Branch 'int8' is left out: its file loses" in err and "Resuming" not in err
    manifest = bundle.load(out).manifest
    assert [b.recipe for b in manifest.branches] == ["full", "width(1)+float16"] and list(manifest.left_out) == ["int8"]
    assert manifest.given is not None and manifest.given.value == 1.0
    code, text, _ = run(capsys, "inspect", out)
    assert code == 0 and "The model as it was given: 100.00% of 40." in text and "'int8' is left out" in text

    huge = (*build, _data(tmp_path / "huge.npz", 1e38), "--recipes", "full", "--checkpoint", tmp_path / "c")
    code, _, err = run(capsys, *huge)
    assert code in (1, 2) and "finite" in err and "Traceback" not in err
    assert bundle.load(out).manifest == manifest

    evolve = ("evolve", tmp_path / "b.checkpoint", "--data", data, "--recipes", "int8", "--out", tmp_path / "e")
    code, _, err = run(capsys, *evolve)
    assert code == 1 and "No branch is left to write: int8" in err and not (tmp_path / "e").exists()
    code, text, err = run(capsys, *evolve, "--max-loss", 90, "--json")
    told = json.loads(text)
    assert code == 0 and told["max_loss"] == 90
    assert told["given"] == {
        "metric": "top-1",
        "value": 1.0,
        "samples": 40,
        "split": "test",
    }  # as the checkpoint has it
