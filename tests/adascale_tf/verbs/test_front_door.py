"""The front door in Python: from a model to predictions in a few lines, with the bundle that the commands give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import adascale_tf as ada
from adascale_runtime.seams.bundle import Bundle
from adascale_tf.data import Dataset

ROOT = Path(ada.__file__).parent.parent
EPOCHS = 10
#: What a person writes, but for where the bundle and the measurements go.
BLOCK = """
import adascale_tf as ada

network = ada.elastic(model)
network.fit(data, epochs=10)
bundle = network.export("bundle")
measured = ada.profile(bundle, delegates=["cpu"])
predictors = ada.fit(measured)
with ada.Session(bundle, ada.Budget(latency_ms=5)) as session:
    session.predict(x)
"""


def small_model() -> Any:
    """A convolutional network over digits, with a dropout: chance is in it while it trains."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 1))
    x = layers.Rescaling(1 / 255)(image)
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x), name="small")


def facts(bundle: Bundle) -> dict[str, Any]:
    """What two builds of the same model, data and seed have in common."""
    manifest = bundle.manifest
    return {
        "branches": [(b.recipe, b.accuracy, b.verification) for b in manifest.branches],
        "files": {entry.path: entry.sha256 for entry in manifest.files},
        "left out": manifest.left_out,
        "given": manifest.given,
        "labels": manifest.labels,
        "preprocessing": manifest.preprocessing,
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_block_runs_as_written_and_gives_the_bundle_of_the_commands(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model()
    model.save(tmp_path / "small.keras")
    words = ("build", "--model", tmp_path / "small.keras", "--data", "digits", "--epochs", EPOCHS, "--out", "b", "-q")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "adascale_tf", *map(str, words)], cwd=tmp_path, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"model": model, "data": "digits", "x": digits.inputs(digits.x_test[:1])}
    exec(BLOCK, names)
    assert facts(names["bundle"]) == facts(ada.load("b"))
    assert len(names["measured"].measurements) == len(names["bundle"].manifest.branches)
    assert names["predictors"].find("latency_ms", "cpu", 1) is not None


def test_what_was_not_trained_is_not_exported(tmp_path: Path) -> None:
    network = ada.elastic(small_model(), ["full"])
    with pytest.raises(ada.BadInput, match=r"call fit\(\) first"):
        network.export(tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_arrays_datasets_and_paths_train_alike(digits: Dataset, tmp_path: Path) -> None:
    """The same examples, however they are given, make the same weights."""
    import tensorflow as tf

    few = slice(0, 128)
    train, test = (digits.x_train[few], digits.y_train[few]), (digits.x_test[few], digits.y_test[few])
    np.savez(tmp_path / "few.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    streams = tuple(tf.data.Dataset.from_tensor_slices(split).batch(50) for split in (train, test))
    forms = [tmp_path / "few.npz", (train, test), streams, ada.load_data((train, test))]
    model, weights = small_model(), []
    for form in forms:
        network = ada.elastic(model, "full,width(0.5)")
        assert network.fit(form, epochs=1) is network
        weights.append(network.network.values)
    for other in weights[1:]:
        for name, value in weights[0].items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)
