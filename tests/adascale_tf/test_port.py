"""Real Keras 3 and Keras 2 models, carried over and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

import adascale_tf
from adascale_tf import port
from adascale_tf.errors import BadInput
from adascale_tf.functional import read_graph

LIBRARIES = pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])


def images(library: Any) -> Any:
    """A model with most image layers, one ReLU used twice, and a nested model."""
    layers = library.layers
    library.utils.set_random_seed(0)
    inner_in = layers.Input((8, 8, 12))
    inner = library.Model(inner_in, layers.SeparableConv2D(12, 3, padding="same")(inner_in), name="inner")
    relu = layers.ReLU(name="shared")
    image = layers.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = relu(layers.BatchNormalization()(layers.Conv2D(12, 3, 2, use_bias=False)(x)))
    x = layers.SpatialDropout2D(0.1)(x)
    y = layers.LeakyReLU()(layers.DepthwiseConv2D(3, padding="same")(inner(x)))
    x = layers.Add()([x, relu(y)])
    gate = layers.Conv2D(12, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, gate])
    x = layers.Concatenate()([layers.AveragePooling2D(2)(x), layers.MaxPooling2D(2)(layers.ELU()(x))])
    x = layers.UpSampling2D()(layers.Cropping2D(1)(x))
    x = layers.Activation("hard_sigmoid")(layers.Conv2D(8, 1, activation="gelu")(x))
    x = layers.LayerNormalization()(layers.Flatten()(x))
    x = layers.Dropout(0.2)(layers.Dense(16, activation="silu")(x))
    return library.Model(image, layers.Dense(5, activation="softmax")(x), name="images")


def sequences(library: Any, kind: str) -> Any:
    layers = library.layers
    library.utils.set_random_seed(0)
    return library.Sequential(
        [
            layers.Input((20, 6)),
            layers.Conv1D(8, 3, padding="same", activation="relu"),
            getattr(layers, kind)(7, return_sequences=True),
            getattr(layers, kind)(6),
            layers.Dense(4),
        ]
    )


def words(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [layers.Input((12,)), layers.Embedding(20, 8), layers.GlobalMaxPooling1D(), layers.Dense(3)]
    )


def same(original: Any, ported: tf_keras.Model, softmax: bool) -> None:
    shape = [n or 1 for n in ported.input_shape[1:]]
    x = np.random.default_rng(3).integers(0, 20, (3, *shape)).astype(np.float32)
    want, got = np.asarray(original(x, training=False)), np.asarray(ported(x, training=False))
    if softmax:
        got = _softmax(got)
    np.testing.assert_allclose(got, want, atol=1e-4 * max(1.0, float(np.ptp(want))))


def _softmax(x: np.ndarray) -> np.ndarray:
    found = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(found / found.sum(-1, keepdims=True))


@LIBRARIES
def test_images_come_over_flat_with_each_layer_called_once(library: Any) -> None:
    original = images(library)
    ported = port.port(original)
    same(original, ported, softmax=True)
    graph = read_graph(ported)  # refuses layers that are called twice
    assert sum(node.kind == "ReLU" and "shared" in node.name for node in graph.nodes) == 2
    assert any(node.kind == "SeparableConv2D" for node in graph.nodes)


@LIBRARIES
@pytest.mark.parametrize("kind", ["GRU", "LSTM", "SimpleRNN"])
def test_recurrent_networks_come_over(library: Any, kind: str) -> None:
    original = sequences(library, kind)
    same(original, port.port(original), softmax=False)


@LIBRARIES
def test_embeddings_come_over(library: Any) -> None:
    original = words(library)
    same(original, port.port(original), softmax=False)


@LIBRARIES
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_come_over(library: Any, suffix: str, tmp_path: Path) -> None:
    original = images(library)
    path = tmp_path / f"model{suffix}"
    original.save(path)
    same(original, port.load(path), softmax=True)


def test_a_saved_model_of_keras_2_comes_over(tmp_path: Path) -> None:
    original = images(tf_keras)
    original.save(tmp_path / "saved", save_format="tf")
    same(original, port.load(tmp_path / "saved"), softmax=True)


def test_keras_2_arithmetic_becomes_layers() -> None:
    image = tf_keras.Input((4, 4, 2))
    x = tf_keras.layers.Conv2D(3, 1)(image)
    x = (x + 3.0) * 0.5 - 1.0
    model = tf_keras.Model(image, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(x)))
    ported = port.port(model)
    same(model, ported, softmax=False)
    assert sum(type(layer).__name__ == "Rescaling" for layer in ported.layers) == 3


def test_keras_3_arithmetic_and_normalization_become_layers() -> None:
    image = keras.Input((4, 4, 3))
    x = keras.layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(image)
    x = keras.layers.Conv2D(3, 1, activation="hard_silu")(x)
    x = keras.ops.relu6(x / 2.0 + 1.0) * x
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    same(model, port.port(model), softmax=False)


@LIBRARIES
def test_mixed_precision_becomes_float32(library: Any) -> None:
    image = library.layers.Input((8, 8, 3))
    x = library.layers.Conv2D(6, 3, activation="relu", dtype="mixed_float16")(image)
    model = library.Model(image, library.layers.Dense(3)(library.layers.GlobalAveragePooling2D()(x)))
    ported = port.port(model)
    assert {layer.compute_dtype for layer in ported.layers} == {"float32"}


@LIBRARIES
def test_what_stands_in_the_way_is_named(library: Any, tmp_path: Path) -> None:
    layers = library.layers
    image = layers.Input((4,))
    odd = library.Model(image, layers.Dense(2)(layers.Lambda(lambda x: x * 2, name="odd")(image)))
    with pytest.raises(BadInput, match="'odd' is a Lambda"):
        port.port(odd)
    with pytest.raises(BadInput, match="ends the model in a sigmoid"):
        port.port(library.Model(image, layers.Dense(2, activation="sigmoid", name="end")(image)))
    shared = layers.Dense(4, name="twice")
    with pytest.raises(BadInput, match="'twice' with weights is called more than once"):
        port.port(library.Model(image, layers.Dense(2)(shared(shared(image)))))
    with pytest.raises(BadInput, match="a classifier gives one value a class"):
        port.port(library.Model(image, layers.Dense(1)(image)))


def test_code_inside_a_file_is_never_run(tmp_path: Path) -> None:
    image = tf_keras.Input((4,))
    x = tf_keras.layers.Lambda(lambda x: x * 2)(image)
    tf_keras.Model(image, tf_keras.layers.Dense(2)(x)).save(tmp_path / "odd.h5")
    with pytest.raises(BadInput, match="cannot be opened"):
        port.load(tmp_path / "odd.h5")


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.keras").write_bytes(b"PK")
    (tmp_path / "model.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, sentence in (
        ("torn.keras", "not a whole Keras file"),
        ("model.txt", "not a .keras or .h5 file"),
        ("folder", "no keras_metadata.pb"),
        ("missing.keras", "There is no model"),
    ):
        with pytest.raises(BadInput, match=sentence):
            port.load(tmp_path / name)


APPLICATIONS = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ResNet50", "DenseNet121", "VGG16"]


@LIBRARIES
@pytest.mark.parametrize(
    "name", [n if n == "MobileNetV2" else pytest.param(n, marks=pytest.mark.slow) for n in APPLICATIONS]
)
def test_applications_become_elastic(library: Any, name: str) -> None:
    library.utils.set_random_seed(0)
    original = getattr(library.applications, name)(weights=None, input_shape=(96, 96, 3), classes=10)
    network = adascale_tf.elastic(original, ["full", "width(0.5)", "exit(1)"])
    x = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    logits = network.trunks[0].call(x, training=False)
    np.testing.assert_allclose(_softmax(np.asarray(logits[-1])), np.asarray(original(x, training=False)), atol=1e-4)
    assert len(logits) == 3
    for out in network.trunks[1].call(x, training=False):
        assert out.shape == (2, 10) and np.isfinite(out).all()
    assert network.trunks[1].macs < 0.45 * network.trunks[0].macs
