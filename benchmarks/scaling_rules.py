"""Rules that say what becomes of a learning rate when a step averages S batches, and one training by each.

A rate is tuned for one batch a step; it falls tenfold after a half of the training and again after three quarters. With
T steps of one batch each,

    identity             the same rates for T steps: S times the images
    adascale             AdaScaleSGD, until its progress reaches T
    linear               S times the rate for T / S steps
    linear with warm-up  the same, but over the first 5.5 % the rate grows from the tuned one (Goyal et al., 2017)

The network is small and has batch normalization, with statistics of each batch's own, as on replicas, under every rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from adascale_tf.training.adascale_sgd import AdaScaleSGD

IDENTITY, ADASCALE, LINEAR, WARM = "identity", "adascale", "linear", "linear with warm-up"
MOMENTUM = 0.9
BATCH = 16
WARM_UP = 0.055
#: Gains that are kept of each run, evenly spaced.
KEPT = 40


@dataclass(frozen=True)
class Task:
    """Images, float32 (N, H, W, C), and labels, int64 (N,), to train and to judge on."""

    classes: int
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Trial:
    """One training: a rule, S batches a step, the rate that suits one batch a step, T, and the seed of all chance."""

    rule: str
    scale: int
    rate: float
    iterations: int
    seed: int

    @property
    def multiplier(self) -> int:
        """What the rule makes of the rate; AdaScale's own gain comes on top of its 1."""
        return self.scale if self.rule in (LINEAR, WARM) else 1

    @property
    def steps(self) -> int:
        """Updates of the weights; AdaScale's are at most so many, as no gain is below 1."""
        return max(1, self.iterations // self.multiplier)


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    ``accuracy``: of the test split, in [0, 1]. ``loss``: mean cross-entropy of the training images in nats, null in the
    file if not finite. ``images``: seen, repeats included. ``seconds``: wall time without tracing. ``gain``: mean,
    least and greatest of all steps, and ``trace`` the gains of evenly spaced ones, both empty for other rules.
    """

    trial: Trial
    accuracy: float
    loss: float
    steps: int
    images: int
    seconds: float
    gain: tuple[float, ...] = ()
    trace: tuple[float, ...] = ()


class StepDecay(tf_keras.optimizers.schedules.LearningRateSchedule):
    """``rate``, a tenth after a half of ``steps``, a hundredth after three quarters; first ``warm`` steps of growth."""

    def __init__(self, rate: float, steps: int, start: float, warm: float) -> None:
        self.rate, self.steps, self.start, self.warm = rate, steps, start, warm

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        at = tf.cast(step, tf.float32)
        falls = tf.cast(at >= self.steps / 2, tf.float32) + tf.cast(at >= 3 * self.steps / 4, tf.float32)
        grown = tf.minimum(1.0, tf.math.divide_no_nan(at, self.warm) if self.warm else 1.0)
        return (self.start + grown * (self.rate - self.start)) * 0.1**falls


def batches(count: int, trial: Trial) -> np.ndarray:
    """Positions of examples, int32 (steps, S, BATCH): epoch after epoch, each in an order of its own."""
    wanted = trial.steps * trial.scale * BATCH
    rng = np.random.default_rng(trial.seed)
    order = np.concatenate([rng.permutation(count) for _ in range(-(-wanted // count))])
    return order[:wanted].reshape(trial.steps, trial.scale, BATCH).astype(np.int32)


def network(shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Three convolutions with batch normalization, 15 thousand weights."""
    layers = [tf_keras.layers.Input(shape)]
    for filters, strides in ((16, 1), (32, 2), (32, 2)):
        layers.append(tf_keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False))
        layers += [tf_keras.layers.BatchNormalization(momentum=0.9), tf_keras.layers.ReLU()]
    layers += [tf_keras.layers.GlobalAveragePooling2D(), tf_keras.layers.Dense(classes)]
    return tf_keras.Sequential(layers)


def optimizer_of(trial: Trial) -> tf_keras.optimizers.Optimizer:
    """AdaScaleSGD with the schedule of scale-invariant iterations, or SGD with that of the rule's steps."""
    rate = trial.multiplier * trial.rate
    warm = trial.rule == WARM
    start, length = (trial.rate, WARM_UP * trial.steps) if warm else (rate, 0.0)
    schedule = StepDecay(rate, trial.steps, start, length)
    if trial.rule == ADASCALE:
        return AdaScaleSGD(schedule, momentum=MOMENTUM, accumulation=trial.scale)
    return tf_keras.optimizers.SGD(schedule, momentum=MOMENTUM)


def train(task: Task, trial: Trial) -> Outcome:
    """One training from fresh weights, all of it in one traced function."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(trial.seed)
    model = network(task.x_train.shape[1:], task.classes)
    optimizer = optimizer_of(trial)
    optimizer.build(model.trainable_variables)
    loop = tf.function(_loop(task, trial, model, optimizer)).get_concrete_function()
    begun = time.perf_counter()
    steps, gains = loop()
    steps = int(steps)
    seconds = time.perf_counter() - begun
    gains = np.asarray(gains)[:steps].astype(float)
    evenly = np.unique(np.linspace(0, steps - 1, KEPT).astype(int))
    known = trial.rule == ADASCALE
    right = _logits(model, task.x_test).argmax(-1) == task.y_test
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(task.y_train, _logits(model, task.x_train))
    return Outcome(
        trial, float(right.mean()), float(np.mean(losses)), steps, steps * trial.scale * BATCH, seconds,
        (gains.mean(), gains.min(), gains.max()) if known else (), tuple(gains[evenly].round(3)) if known else (),
    )  # fmt: skip


def _logits(model: tf_keras.Model, x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.asarray(model(x[i : i + 500], training=False)) for i in range(0, len(x), 500)])


def _loop(
    task: Task, trial: Trial, model: tf_keras.Model, optimizer: tf_keras.optimizers.Optimizer
) -> Callable[[], tuple[tf.Tensor, tf.Tensor]]:
    """The training as a function to trace, which gives the number of steps and the gain of each."""
    variables = model.trainable_variables
    x, y = tf.constant(task.x_train), tf.constant(task.y_train)
    order = tf.constant(batches(len(task.x_train), trial))

    def gradients(positions: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = model(tf.gather(x, positions), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(y, positions), logits)
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, variables)

    def adascale() -> tuple[tf.Tensor, tf.Tensor]:
        gains = tf.TensorArray(tf.float32, trial.steps, element_shape=())
        step = 0
        while optimizer.progress < float(trial.iterations):
            if trial.scale > 1:
                for batch in tf.range(trial.scale - 1):
                    optimizer.accumulate(zip(gradients(order[step, batch]), variables, strict=True))
            optimizer.step(zip(gradients(order[step, trial.scale - 1]), variables, strict=True))
            gains = gains.write(step, optimizer.gain)
            step += 1
        return step, gains.stack()

    def plain() -> tuple[tf.Tensor, tf.Tensor]:
        for step in tf.range(trial.steps):
            total = gradients(order[step, 0])
            for batch in tf.range(1, trial.scale):
                total = [a + b for a, b in zip(total, gradients(order[step, batch]), strict=True)]
            optimizer.apply_gradients(zip([g / trial.scale for g in total], variables, strict=True))
        return tf.constant(trial.steps), tf.ones(trial.steps)

    return adascale if trial.rule == ADASCALE else plain
