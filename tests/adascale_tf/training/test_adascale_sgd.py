"""AdaScale SGD against closed forms, and where Keras uses it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given
from hypothesis import strategies as st

from adascale_tf.training import AdaScaleSGD
from adascale_tf.training.adascale_sgd import gain_ratio, gradient_moments

#: A quadratic: the loss is half of the sum of curvature * w^2, each batch's gradient has noise of a given variance.
CURVATURE = np.linspace(0.5, 2.0, 10, dtype=np.float32)
START = np.full(10, 2.0, np.float32)
SLOW = partial(pytest.param, marks=pytest.mark.slow)


def quadratic(noise: float, rng: np.random.Generator) -> Callable[[tf.Variable], tf.Tensor]:
    """A batch's gradient at a point: the trace of its covariance is ``noise`` squared."""
    each = noise / np.sqrt(len(CURVATURE))
    return lambda w: tf.constant(CURVATURE * w.numpy() + rng.normal(0, each, len(CURVATURE)).astype(np.float32))


def step(optimizer: AdaScaleSGD, w: tf.Variable, gradient: Callable[[tf.Variable], tf.Tensor]) -> None:
    for _ in range(optimizer.accumulation - 1):
        optimizer.accumulate([(gradient(w), w)])
    optimizer.step([(gradient(w), w)])


@pytest.mark.parametrize(("scale", "noise"), [(2, 3.0), (16, 10.0), SLOW(4, 10.0), SLOW(16, 40.0)])
def test_the_gain_on_a_quadratic_is_the_closed_form(scale: int, noise: float) -> None:
    w = tf.Variable(START)
    optimizer = AdaScaleSGD(0.0, accumulation=scale)
    gradient = quadratic(noise, np.random.default_rng(0))
    for _ in range(250):  # the rate is 0, so all steps see the same point
        step(optimizer, w, gradient)
    squared = float(np.sum((CURVATURE * START) ** 2))
    expected = (noise**2 + squared) / (noise**2 / scale + squared)
    assert float(optimizer.gain) == pytest.approx(expected, rel=0.05)
    assert float(optimizer.variance) == pytest.approx(noise**2, rel=0.1)
    assert 1.0 <= float(optimizer.gain) <= scale and int(optimizer.iterations) == 250


@pytest.mark.parametrize("scale", [4, SLOW(16)])
def test_a_quadratic_is_descended_as_far_at_any_scale(scale: int) -> None:
    """After as many scale-invariant iterations the expected loss is that of one batch a step, or below it.

    One batch a step with rate a has a closed form: E[w^2] <- (1 - a c)^2 E[w^2] + a^2 v in each direction.
    """
    rate, noise, length = 0.02, 6.0, 60
    each = noise**2 / len(CURVATURE)
    expected = START.astype(float) ** 2
    for _ in range(length):
        expected = (1 - rate * CURVATURE) ** 2 * expected + rate**2 * each
    alone = 0.5 * float(np.sum(CURVATURE * expected))
    losses, steps = [], []
    for seed in range(12):
        w = tf.Variable(START)
        optimizer = AdaScaleSGD(rate, accumulation=scale)
        gradient = quadratic(noise, np.random.default_rng(seed))
        while float(optimizer.progress) < length:
            step(optimizer, w, gradient)
        losses.append(0.5 * float(np.sum(CURVATURE * w.numpy() ** 2)))
        steps.append(int(optimizer.iterations))
    begin = 0.5 * float(np.sum(CURVATURE * START**2))
    assert np.mean(losses) < alone + 0.05 * (begin - alone)
    assert length / scale <= np.mean(steps) < 0.9 * length


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 1000))
def test_the_gain_lies_between_one_and_the_scale(variance: float, squared: float, scale: int) -> None:
    gain = float(gain_ratio(tf.constant(variance), tf.constant(squared), tf.constant(float(scale))))
    assert 1.0 <= gain <= scale
    more = float(gain_ratio(tf.constant(variance * 2), tf.constant(squared), tf.constant(float(scale))))
    assert more >= gain * (1 - 1e-5)


def test_noise_alone_gains_all_and_agreement_nothing() -> None:
    assert float(gain_ratio(tf.constant(1.0), tf.constant(-0.1), tf.constant(8.0))) == 8.0
    assert float(gain_ratio(tf.constant(-0.1), tf.constant(1.0), tf.constant(8.0))) == 1.0
    assert float(gain_ratio(tf.constant(0.0), tf.constant(0.0), tf.constant(8.0))) == 1.0


def test_moments_are_unbiased() -> None:
    rng = np.random.default_rng(0)
    true, noise, scale = np.array([1.0, -2.0, 0.5]), 2.0, 4
    found = []
    for _ in range(4000):
        g = true + rng.normal(0, noise / np.sqrt(3), (scale, 3))
        squares, mean_square = (g**2).sum(), (g.mean(0) ** 2).sum()
        found.append([float(m) for m in gradient_moments(squares, mean_square, float(scale))])
    variance, squared = np.mean(found, axis=0)
    assert variance == pytest.approx(noise**2, rel=0.05) and squared == pytest.approx((true**2).sum(), rel=0.05)


def test_one_batch_a_step_is_plain_sgd() -> None:
    ours, plain = AdaScaleSGD(0.1, 0.9, nesterov=True), tf_keras.optimizers.SGD(0.1, 0.9, nesterov=True)
    a, b = tf.Variable(START), tf.Variable(START)
    rng = np.random.default_rng(0)
    for _ in range(10):
        gradient = tf.constant(rng.normal(size=10).astype(np.float32))
        ours.apply_gradients([(gradient, a)])
        plain.apply_gradients([(gradient, b)])
    np.testing.assert_allclose(a, b, rtol=1e-6)
    assert float(ours.gain) == 1.0 and float(ours.progress) == 10.0


def test_a_step_is_the_gain_times_the_mean_gradient_with_decay() -> None:
    gradients = [np.array([1.0, 3.0], np.float32), np.array([3.0, -1.0], np.float32)]
    w = tf.Variable([1.0, 1.0])
    optimizer = AdaScaleSGD(0.5, weight_decay=0.1, accumulation=2)
    optimizer.accumulate([(tf.constant(gradients[0]), w)])
    np.testing.assert_array_equal(w, [1.0, 1.0])
    optimizer.step([(tf.constant(gradients[1]), w)])
    gain = float(optimizer.gain)  # sigma^2 = 20 - 2 * 5 = 10, mu^2 = 5 - 10 / 2 = 0: noise alone
    assert gain == pytest.approx(2.0)
    np.testing.assert_allclose(w, 1.0 - 0.5 * gain * (np.array([2.0, 1.0]) + 0.1), rtol=1e-6)


def test_schedules_are_functions_of_the_scale_invariant_iteration() -> None:
    halves = tf_keras.optimizers.schedules.PiecewiseConstantDecay([3, 7], [1.0, 0.5, 0.25])
    w = tf.Variable([0.0])
    optimizer = AdaScaleSGD(halves, accumulation=4)
    seen = []
    for _ in range(3):  # gradients that cancel: noise alone, a gain of 4
        for sign in (1.0, -1.0, 1.0):
            optimizer.accumulate([(tf.constant([sign]), w)])
        optimizer.step([(tf.constant([-1.0]), w)])
        seen.append((float(optimizer.progress), float(optimizer.learning_rate)))
    assert seen == [(4.0, 1.0), (8.0, 0.5), (12.0, 0.25)]


def model() -> tf_keras.Model:
    tf_keras.utils.set_random_seed(0)
    return tf_keras.Sequential([tf_keras.layers.Dense(8, "relu", input_shape=(4,)), tf_keras.layers.Dense(1)])


def line() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype(np.float32)
    return x, x @ np.array([1, 2, 3, 4], np.float32) + rng.normal(0, 0.5, 256).astype(np.float32)


def test_fit_accumulates_and_the_optimizer_is_saved_with_the_model(tmp_path: Path) -> None:
    x, y = line()
    net = model()
    net.compile(AdaScaleSGD(0.02, 0.9, accumulation=4), "mse")
    before = net.evaluate(x, y, verbose=0)
    net.fit(x, y, batch_size=16, epochs=5, verbose=0)
    optimizer = net.optimizer
    assert net.evaluate(x, y, verbose=0) < 0.3 * before
    assert int(optimizer.iterations) == 5 * 16 // 4
    assert 20 < float(optimizer.progress) < 80 and 1 < float(optimizer.gain) < 4
    net.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras").optimizer
    assert isinstance(loaded, AdaScaleSGD) and loaded.accumulation == 4
    saved = {v.name: v.numpy() for v in optimizer.variables}
    assert {v.name for v in loaded.variables} == set(saved)
    for variable in loaded.variables:
        np.testing.assert_allclose(variable, saved[variable.name], rtol=1e-6)


def test_what_would_falsify_the_moments_is_refused() -> None:
    with pytest.raises(ValueError, match="clip"):
        AdaScaleSGD(0.1, clipnorm=1.0)
    with pytest.raises(ValueError, match="at least one batch"):
        AdaScaleSGD(0.1, accumulation=0)
    w = tf.Variable([1.0])
    with pytest.raises(ValueError, match="each replica's own gradients"):
        AdaScaleSGD(0.1).apply_gradients([(tf.constant([1.0]), w)], skip_gradients_aggregation=True)
    with pytest.raises(ValueError, match="the number of batches"):
        AdaScaleSGD(0.1).accumulate([(tf.constant([1.0]), w)])
