"""The hand-made compressions of the headline benchmark are what they say."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from adascale_tf.bridge import backbones
from adascale_tf.bridge.functional import read_graph
from adascale_tf.data import Dataset
from adascale_tf.graph import shapes
from converters import convert, flatbuffer

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import baselines


@pytest.fixture(scope="module")
def training(digits: Dataset) -> Any:
    return baselines.Training(digits.x_train[:256, ::2, ::2], digits.y_train[:256], 10, epochs=2, batch=64)


@pytest.fixture(scope="module")
def full(training: Any) -> Any:
    return baselines.BASELINES["full, alone"](replace(training, epochs=1))


@pytest.fixture(scope="module")
def residual(training: Any) -> Any:
    return baselines.residual(training)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in baselines.BASELINES if n != "full, alone"])
def test_a_baseline_is_smaller_and_learns(training: Any, full: Any, name: str) -> None:
    found = baselines.BASELINES[name](training)
    if name == "TF-MOT pruning":
        assert found.macs == full.macs and found.effective_macs < 0.35 * found.macs
    else:
        assert found.effective_macs == found.macs < full.macs
    assert found.seconds > 0 and found.train_macs > 0
    logits = found.model(training.x_train[:8].astype(np.float32), training=False)
    assert logits.shape == (8, 10) and np.isfinite(logits).all()


def test_macs_are_those_of_the_operators(full: Any) -> None:
    assert full.macs == shapes.macs(read_graph(full.model))


def test_macs_are_those_of_the_converted_file(training: Any, full: Any) -> None:
    one = convert.convert({"full": full.model}, "float32", training.x_train[:4].astype(np.float32))["full"]
    assert flatbuffer.cost(one.model, "full").macs == pytest.approx(full.macs, rel=0.01)


def test_macs_of_every_kind_of_layer_are_counted() -> None:
    image = tf_keras.Input((8, 8, 3))
    x = tf_keras.layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2)(image)
    x = tf_keras.layers.DepthwiseConv2D(3, 2, padding="same")(x)
    model = tf_keras.Model(image, tf_keras.layers.Dense(4)(tf_keras.layers.Flatten()(x)))
    assert baselines.count_macs(model) == 64 * 6 * (9 + 5) + 16 * 5 * 9 + 80 * 4


def test_training_macs_are_of_the_images_seen(full: Any, training: Any) -> None:
    assert full.train_macs == 3.0 * full.macs * len(training.x_train)
    odd = baselines.BASELINES["full, alone"](replace(training, epochs=1, x_train=training.x_train[:100]))
    assert odd.train_macs == 3.0 * odd.macs * 64


@pytest.mark.parametrize("shape", [(32, 32, 3), (64, 64, 3), (96, 80, 1)])
def test_the_builder_follows_the_backbone_on_larger_images(shape: tuple[int, ...]) -> None:
    training = baselines.Training(np.zeros((1, *shape), np.uint8), np.zeros(1, np.int64), 7, epochs=1)
    whole = backbones.build("resnet", shape, 7)
    last = tf_keras.Model(whole.input, whole.outputs[-1])
    assert baselines.count_macs(baselines.residual(training)) == baselines.count_macs(last)


def test_the_builder_gives_the_backbone(residual: Any, full: Any) -> None:
    assert baselines.count_macs(residual) == full.macs
    assert residual.count_params() == full.model.count_params()


def test_a_factorisation_of_full_rank_changes_nothing(training: Any, residual: Any) -> None:
    x = training.x_train[:4].astype(np.float32) / 255
    np.testing.assert_allclose(
        baselines.factorised(residual, training, 1.0)(x, training=False), residual(x, training=False), atol=1e-4
    )
