"""Rivals with a teacher: they begin where they say, and learn side by side as they would alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from adascale_tf.bridge import backbones
from adascale_tf.data import Dataset

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import baselines
import rivals


@pytest.fixture(scope="module")
def training(digits: Dataset) -> Any:
    return baselines.Training(digits.x_train[:128, ::2, ::2], digits.y_train[:128], 10, epochs=1, batch=64)


@pytest.fixture(scope="module")
def teacher(training: Any) -> Any:
    tf_keras.utils.set_random_seed(1)
    whole = backbones.build("resnet", training.x_train.shape[1:], 10)
    return tf_keras.Model(whole.input, whole.outputs[-1])


def small(seed: int) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(seed)
    x = tf_keras.layers.Conv2D(4, 3)(image := tf_keras.Input((16, 16, 1)))
    x = tf_keras.layers.BatchNormalization()(x)
    return tf_keras.Model(image, tf_keras.layers.Dense(10)(tf_keras.layers.Flatten()(x)))


def test_side_by_side_is_as_alone(training: Any, teacher: Any) -> None:
    together, effort = rivals.distil({"a": small(1), "b": small(2)}, teacher, training, 1.5)
    alone, less = rivals.distil({"b": small(2)}, teacher, training, 1.5)
    for ours, theirs in zip(together["b"].model.get_weights(), alone["b"].model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    shown = 3 * 64
    assert effort.macs - less.macs == together["a"].train_macs == 3.0 * together["a"].macs * shown
    assert less.macs == alone["b"].train_macs + baselines.count_macs(teacher) * shown


@pytest.mark.slow
def test_svd_and_pruning_begin_with_the_teacher(training: Any, teacher: Any) -> None:
    x = training.x_train[:8].astype(np.float32) / 255
    before = teacher.get_weights()
    start = rivals.hand_made(training, teacher, 2)
    np.testing.assert_allclose(start[rivals.PRUNED](x, training=False), teacher(x, training=False), atol=1e-5)
    whole = baselines.residual(training)
    whole.set_weights(before)
    np.testing.assert_allclose(whole(x, training=False), teacher(x, training=False), atol=1e-5)
    trained, _ = rivals.distil(start, teacher, training, 2)
    assert trained[rivals.PRUNED].effective_macs < 0.35 * trained[rivals.PRUNED].macs
    assert list(trained) == [name for name in baselines.BASELINES if name != "full, alone"]
    for ours, theirs in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_afresh_keeps_layers_and_no_weights(teacher: Any) -> None:
    fresh = rivals.afresh({"one": teacher}, 5)["one"]
    kernel = next(i for i, w in enumerate(teacher.get_weights()) if w.ndim == 4)
    assert baselines.count_macs(fresh) == baselines.count_macs(teacher)
    assert not np.allclose(fresh.get_weights()[kernel], teacher.get_weights()[kernel])
