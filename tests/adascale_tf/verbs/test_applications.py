"""Models that people have, from a file to a verified bundle: one epoch on a few examples, random weights."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.seams import bundle
from adascale_tf.verbs.build import build
from adascale_tf.verbs.training import Training

RECIPES = ("full", "int8", "width(0.5)+int8")
#: With the narrowest form that its library offers.
APPLICATIONS = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"alpha": 0.5},
    "EfficientNetB0": {},
    "ResNet50": {},
    "DenseNet121": {},
    "VGG16": {},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "few.npz"
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (24, 32, 32, 3), np.uint8)
    y = np.arange(24) % 3
    np.savez(path, x_train=x[:16], y_train=y[:16], x_test=x[16:], y_test=y[16:])
    return path


#: Each takes half a minute or more, so Keras 2 builds the quick ones; test_port.py carries all of them over.
CASES = [*(("keras", name) for name in APPLICATIONS), ("tf_keras", "MobileNet"), ("tf_keras", "MobileNetV2")]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("library", "name"), CASES)
def test_an_application_becomes_a_verified_bundle(library: str, name: str, data: Path, tmp_path: Path) -> None:
    keras = importlib.import_module(library)
    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(32, 32, 3), classes=3, **APPLICATIONS[name])
    model.save(tmp_path / "model.keras")
    # Random weights hardly tell the classes apart, so eight bits may change any answer.
    # A join would trace each large network once more; the small ones of Keras 2 have one.
    one = Training(epochs=1, join=0 if library == "keras" else None)
    build(data, tmp_path / "b", model=tmp_path / "model.keras", recipes=RECIPES, training=one, max_loss=100.0)
    manifest = bundle.load(tmp_path / "b").manifest
    assert tuple(b.recipe for b in manifest.branches) == RECIPES and not manifest.left_out
    assert manifest.given is not None and manifest.given.samples == 8
    full, whole, half = manifest.branches
    facts = full.verification
    assert facts.samples == 8 and facts.max_abs_difference <= 1e-3 * facts.output_range
    assert whole.input.dtype == half.output.dtype == "int8"
    assert half.cost.macs < 0.5 * whole.cost.macs == pytest.approx(0.5 * full.cost.macs, rel=0.01)
    assert half.size_bytes < whole.size_bytes < full.size_bytes
