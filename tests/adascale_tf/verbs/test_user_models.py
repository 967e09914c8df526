"""Data meets users' own models: the shape of an example decides, sizes that a model leaves open can be fixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_tf import data
from adascale_tf.data import Dataset
from adascale_tf.network import create
from adascale_tf.verbs import inputs
from tests.adascale_tf.data.samples import folder, wav

LIBRARIES = pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])


def classifier(shape: tuple[int | None, ...], classes: int = 2, library: Any = tf_keras, *first: Any) -> Any:
    """A small convolutional network over images or sequences."""
    layers = library.layers
    flat = len(shape) == 2
    x = image = layers.Input(shape)
    for layer in first:
        x = layer(x)
    x = (layers.Conv1D if flat else layers.Conv2D)(4, 3, activation="relu")(x)
    x = (layers.GlobalAveragePooling1D if flat else layers.GlobalAveragePooling2D)()(x)
    return library.Model(image, layers.Dense(classes)(x), name="mine")


def load(model: Any, spec: Path, input_range: str | None = None) -> Dataset:
    network = create.elastic(model, ["full"])
    return inputs.load_for_network(network, "mine.keras", spec, input_range=input_range)


def arrays(path: Path, make: Callable[[int], np.ndarray]) -> Path:
    y = np.arange(6) % 2
    np.savez(path, x_train=make(6), y_train=y, x_test=make(6), y_test=y)
    return path


def floats(*shape: int) -> Callable[[int], np.ndarray]:
    return lambda n: np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)


def pixels(*shape: int) -> Callable[[int], np.ndarray]:
    return lambda n: np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


def test_floats_of_an_images_shape_are_taken_as_they_are(tmp_path: Path) -> None:
    path = arrays(tmp_path / "waves.npz", floats(12, 10, 5))
    found = load(classifier((12, 10, 5)), path)
    assert found.input_shape == (12, 10, 5) and found.preprocessing == {"kind": "array", "scale": 1.0}
    np.testing.assert_array_equal(found.inputs(found.x_train), floats(12, 10, 5)(6))
    with pytest.raises(BadInput, match="--input-range is for images"):
        load(classifier((12, 10, 5)), path, "0,1")
    with pytest.raises(BadInput, match=r"takes inputs \(12, 10, 3\), but the data has \(12, 10, 5\)"):
        load(classifier((12, 10, 3)), path)


def test_floats_without_a_last_axis_get_one_and_evaluate_alike(tmp_path: Path) -> None:
    path = arrays(tmp_path / "waves.npz", floats(12, 10))
    found = load(classifier((12, 10, 1)), path)
    assert found.input_shape == (12, 10, 1)
    again = data.load(str(path), found.preprocessing)
    np.testing.assert_array_equal(again.x_test, found.x_test)


def test_pixels_of_the_models_shape_are_not_resized(tmp_path: Path) -> None:
    found = load(classifier((12, 10, 5)), arrays(tmp_path / "bands.npz", pixels(12, 10, 5)), "-1,1")
    assert found.preprocessing == {"kind": "array", "mean": 127.5, "scale": 1 / 127.5}
    resized = load(classifier((8, 8, 3)), arrays(tmp_path / "photos.npz", pixels(12, 10, 3)))
    assert resized.input_shape == (8, 8, 3) and resized.preprocessing["kind"] == "image"


@pytest.mark.parametrize("shape", [(30, 16, 1), (30, 16), (64, 40, 1)])
def test_sounds_have_the_frames_and_mels_that_a_network_takes(shape: tuple[int, ...], tmp_path: Path) -> None:
    spec = folder(tmp_path / "sounds", wav)
    found = load(classifier(shape), spec)
    assert found.input_shape == shape
    how = found.preprocessing
    assert (how["kind"], how["frames"], how["mels"]) == ("log-mel", *shape[:2])
    values = found.inputs(found.x_train)
    assert abs(float(values.mean())) < 0.01 and abs(float(values.std()) - 1) < 0.01
    again = data.load(str(spec), how)
    np.testing.assert_array_equal(again.x_test, found.x_test)


def test_networks_over_samples_are_not_given_frames(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"takes inputs \(4000, 1\), but the data has \(64, 40\)"):
        load(classifier((4000, 1)), folder(tmp_path / "sounds", wav))


@pytest.mark.parametrize("name", ["gru", "resnet"])
def test_a_model_with_the_name_of_a_built_in_backbone_gets_what_its_own_graph_allows(name: str) -> None:
    inputs = tf_keras.Input((6, 4))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(3)(tf_keras.layers.GRU(8)(inputs)), name=name)
    chosen = [str(recipe) for recipe in create.elastic(model).recipes]
    assert "full" in chosen and "int8" in chosen and not any("prune" in recipe for recipe in chosen)


@LIBRARIES
def test_open_sizes_are_fixed_by_an_option(library: Any) -> None:
    model = classifier((None, None, 3), 2, library)
    with pytest.raises(
        BadInput, match=r"takes inputs \(None, None, 3\), which have variable sizes.*--input-size 224x224"
    ):
        create.elastic(model, ["full"])
    for size, shape in (((20, 24), (20, 24, 3)), ((16,), (16, 16, 3))):
        network = create.elastic(model, ["full", "width(0.5)"], input_size=size)
        assert network.backbone.input_shape == (None, *shape)
        x = np.random.default_rng(0).uniform(0, 1, (2, *shape)).astype(np.float32)
        np.testing.assert_allclose(
            np.asarray(network.trunks[0].call(x, training=False)[-1]), np.asarray(model(x)), atol=1e-5
        )
    assert create.elastic(classifier((None, 6), 2, library), ["full"], input_size=(40,)).backbone.input_shape[1] == 40
    with pytest.raises(BadInput, match="give 1 sizes, or one for all, not 2"):
        create.elastic(classifier((20, None, 3), 2, library), ["full"], input_size=(8, 9))


def test_sizes_that_are_fixed_already_stay(tmp_path: Path) -> None:
    model = classifier((16, 16, 3))
    for size in ((16,), (16, 16)):
        assert create.elastic(model, ["full"], input_size=size).backbone.input_shape == (None, 16, 16, 3)
    with pytest.raises(BadInput, match="which are fixed; remove --input-size"):
        create.elastic(model, ["full"], input_size=(20,))


@pytest.mark.parametrize("text", ["", "x", "0", "12x", "x12", "3x4x5", "-3", "2.5", "1e3", "9" * 9])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a size; write 224"):
        inputs.parse_size(text)


def test_sizes_are_read() -> None:
    assert [inputs.parse_size(text) for text in (None, "224", "224x320", "96X64")] == [(), (224,), (224, 320), (96, 64)]


@LIBRARIES
def test_augmentation_inside_a_model_is_handed_through(library: Any) -> None:
    layers = library.layers
    augmentation = library.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)], name="augmentation"
    )
    first = (augmentation, layers.RandomContrast(0.2), layers.RandomTranslation(0.1, 0.1))
    model = classifier((12, 12, 3), 2, library, *first)
    network = create.elastic(model, ["full"])
    assert not any(type(layer).__name__.startswith("Random") for layer in network.backbone.layers)
    x = np.random.default_rng(0).uniform(0, 1, (2, 12, 12, 3)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(network.trunks[0].call(x, training=False)[-1]), np.asarray(model(x, training=False)), atol=1e-5
    )


@LIBRARIES
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_with_augmentation_open(library: Any, suffix: str, tmp_path: Path) -> None:
    model = classifier((12, 12, 3), 2, library, library.layers.RandomFlip())
    model.save(tmp_path / f"mine{suffix}")
    assert create.elastic(tmp_path / f"mine{suffix}", ["full"]).classes == 2


@LIBRARIES
def test_layers_that_crop_are_no_augmentation(library: Any) -> None:
    with pytest.raises(BadInput, match="is a RandomCrop, which cannot be converted to Keras 2"):
        create.elastic(classifier((12, 12, 3), 2, library, library.layers.RandomCrop(8, 8)), ["full"])
