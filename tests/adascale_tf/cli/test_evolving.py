"""'adascale evolve' and 'adascale specialise' as a user meets them: facts, files, one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tf_keras

import adascale_tf as ada
from adascale_runtime.seams.recipe import parse_list
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule, checkpoint
from adascale_tf.training.checkpoint import Checkpoint
from tests.adascale_tf.cli.test_commands import refused, run

SCHEDULE = Schedule(epochs=2, batch=8)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark, grey and bright images."""
    path, rng = tmp_path_factory.mktemp("data") / "d.npz", np.random.default_rng(0)
    y = np.arange(96) % 3
    x = (rng.integers(0, 60, (96, 8, 8, 1)) + 90 * y[:, None, None, None]).astype(np.uint8)
    np.savez(path, x_train=x[:64], y_train=y[:64], x_test=x[64:], y_test=y[64:])
    return path


@pytest.fixture
def kept(examples: Path, tmp_path: Path) -> Path:
    """The checkpoint of a training that is done, its weights fresh, its structures without weights of their own."""
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="stage1_conv")(image)
    x = layers.BatchNormalization(name="stage1_bn")(layers.Conv2D(8, 3, use_bias=False, name="stage1_last")(x))
    x = layers.Dense(3, name="head_logits")(layers.GlobalAveragePooling2D(name="head_pool")(x))
    net = ElasticNetwork(tf_keras.Model(image, x, name="tiny"), parse_list("full,width(0.25)"))
    place = Checkpoint(tmp_path / "kept", net, ada.load_data(str(examples)), SCHEDULE)
    place.begin()
    place.save(SCHEDULE.total + 1, [])
    return tmp_path / "kept"


def test_what_cannot_be_specialised_is_refused(
    capsys: pytest.CaptureFixture[str], kept: Path, examples: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    call, out = ("specialise", kept, "--data", examples, "--recipes"), tmp_path / "out"
    assert "There is nothing to specialise in full, int8" in refused(capsys, *call, "full,int8", "--out", out)
    assert "no operator 'magic'" in refused(capsys, *call, "magic(2)", "--out", out)
    assert "is not a step" in refused(capsys, *call, "width(", "--out", out)
    assert "has other classes" in refused(capsys, "specialise", kept, "--data", "digits", "--recipes", "width(0.5)")
    assert "is a file" in refused(capsys, *call, "width(0.5)", "--out", examples)
    assert "epochs" in run(capsys, *call, "width(0.5)", "--epochs", 0)[2]
    nowhere = tmp_path / "nowhere"
    assert "is not a checkpoint" in refused(
        capsys, "specialise", nowhere, "--data", examples, "--recipes", "width(0.5)"
    )
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    assert not out.exists() and not nowhere.exists()
    facts = json.loads(before["checkpoint.json"])
    (kept / "checkpoint.json").write_text(json.dumps({**facts, "epochs_done": 1}))
    assert "holds 1 of 4 epochs" in refused(capsys, *call, "width(0.5)", "--out", out)


def test_one_specialisation_at_a_time(capsys: pytest.CaptureFixture[str], kept: Path, examples: Path) -> None:
    with checkpoint.held(kept):
        sentence = refused(capsys, "specialise", kept, "--data", examples, "--recipes", "width(0.5)")
    assert "is being written by process" in sentence


@pytest.mark.slow
def test_chosen_branches_are_specialised_and_evolved(
    capsys: pytest.CaptureFixture[str], kept: Path, examples: Path, tmp_path: Path
) -> None:
    call = ("specialise", kept, "--data", examples, "--epochs", 2, "--recipes")
    code, text, err = run(capsys, *call, "full,width(0.5)+int8", "--json")
    assert code == 0 and "train: " in err
    assert json.loads(text) == {"checkpoint": str(kept), "recipes": ["full", "width(0.5)+int8"]}
    best = tmp_path / "best"
    code, text, err = run(capsys, *call, "full,width(0.5)+int8", "--out", best, "--max-loss", 90)
    assert code == 0 and "nothing is trained" in err and "width(0.5)+int8" in text and "estimate" not in text
    assert [branch.recipe for branch in ada.load(best).manifest.branches] == ["full", "width(0.5)+int8"]
    assert run(capsys, *call, "width(0.75)", "-q")[:2] == (0, "")
    assert checkpoint.read_state(kept).added == tuple(parse_list("width(0.5)+int8,width(0.75)"))

    evolve = ("evolve", kept, "--data", examples, "--max-loss", 90, "--out", tmp_path / "more", "--recipes")
    code, text, err = run(capsys, *evolve, "width(0.5),width(0.625)")
    assert code == 0 and "loss against trained (estimate)" in " ".join(text.split())
    first, second = ada.load(tmp_path / "more").manifest.branches
    assert "estimate" not in first.training and second.training["estimate"]["branches"] >= 3
    code, text, _ = run(capsys, *evolve, "width(0.625)", "--steps", 0, "--json", "-q")
    assert code == 0 and json.loads(text)["branches"][0]["training"]["estimate"]["loss_points"] >= 0
    assert run(capsys, *evolve, "width(0.625)", "--steps", -1)[0] == 2
