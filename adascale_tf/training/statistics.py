"""BatchNorm statistics, recomputed for each trunk under the current weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from adascale_runtime.progress import Tick, silent
from adascale_tf.data import Dataset
from adascale_tf.network.trunk import Trunk


def recalibrate(trunks: Sequence[Trunk], data: Dataset, seed: int = 0, tick: Tick = silent, batches: int = 12) -> None:
    """Measure each trunk's BatchNorm statistics under its final weights, as the mean over some training batches.

    Moving averages of a trunk that was sampled now and then lag behind the weights; on batches without
    augmentation their mean is exact.

    Args:
        trunks: whose statistics are set.
        data: its training split is used, without augmentation.
        seed: of the batches.
        tick: called with "BatchNorm" once per trunk.
        batches: how many, of 256 examples each.

    References:
        Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019.
    """
    rng = np.random.default_rng(seed + 1)
    size = min(256, len(data.x_train))
    chosen = [rng.choice(len(data.x_train), size, replace=False) for _ in range(batches)]
    for number, trunk in enumerate(trunks, start=1):
        if trunk.statistics:
            measure_statistics(trunk, [data.inputs(data.x_train[index]) for index in chosen])
        tick("BatchNorm", number, len(trunks), str(trunk.recipe))


def measure_statistics(trunk: Trunk, batches: list[np.ndarray]) -> None:
    """Set the trunk's statistics to their mean over some batches."""
    layers = [layer for layer in trunk.model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # then the moving average is the last batch's value
    run = tf.function(lambda x: trunk.call(x, training=True))
    total = [np.zeros(v.shape, np.float64) for v in trunk.statistics]
    for x in batches:
        run(tf.constant(x))
        total = [t + v.numpy() for t, v in zip(total, trunk.statistics, strict=True)]
    for variable, value in zip(trunk.statistics, total, strict=True):
        variable.assign(value / len(batches))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
