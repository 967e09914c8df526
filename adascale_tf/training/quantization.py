"""Quantization-aware training by TF-MOT, for single branches (Jacob et al., CVPR 2018).

Ranges and rounding differ from branch to branch, so this comes after the shared training: a branch's network is taken
out, wrapped by TF-MOT, and trained for a short while, starting from its own weights.
"""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.quantization import keras as tfmot

from adascale_runtime.errors import BadInput
from adascale_tf.data import Dataset
from adascale_tf.training.feed import batches
from adascale_tf.training.schedule import Schedule

#: Optimizer steps: enough for ranges and rounding to settle, a fraction of the training.
STEPS = 300
LEARNING_RATE = 2e-4


def wrap(network: tf_keras.Model) -> tf_keras.Model:
    """The network with fake-quantized weights and activations; :class:`BadInput` if TF-MOT refuses a layer."""
    try:
        return tfmot.quantize_model(network)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise BadInput(f"TF-MOT cannot train this network quantized: {reason}; use int8 instead of qat.") from None


def train_quantized(network: tf_keras.Model, data: Dataset, schedule: Schedule) -> tf_keras.Model:
    """Train a branch with fake-quantized weights and activations, on the labels, for up to 300 steps.

    Args:
        network: one output of logits (N, classes); it stays as it is.
        data: the examples.
        schedule: its augmentation, batch and seed are followed.

    Returns:
        The network wrapped by TF-MOT, for the converter.

    Raises:
        BadInput: names the layers that TF-MOT refuses.
    """
    model = wrap(network)
    optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS))
    for layer in model.layers:  # 300 steps of moving averages would leave BatchNorm half way to new statistics
        inner = getattr(layer, "layer", layer)
        if isinstance(inner, tf_keras.layers.BatchNormalization):
            inner.trainable = False
    classes = int(model.output.shape[-1])

    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            target = tf.one_hot(y, classes)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    variables = model.trainable_variables
    optimizer.build(variables)
    rng = np.random.default_rng((schedule.seed, schedule.epochs))
    epochs = itertools.chain.from_iterable(batches(data, schedule, rng) for _ in range(schedule.epochs))
    traced = tf.function(step, reduce_retracing=True)
    for x, y in itertools.islice(epochs, STEPS):
        traced(tf.constant(x), tf.constant(y))
    return model
