"""Compressions as they are made by hand, each trained alone and well, by plain ``tf_keras`` ``compile`` and ``fit``.

What the elastic network's branches are compared with. Nothing here is shared with its operators or its training but
the full backbone itself. All get the same optimizer, schedule, augmentation and number of epochs. ``rivals.py`` trains
the same networks with a teacher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.sparsity import keras as tfmot

from adascale_runtime.progress import Tick, silent
from adascale_tf.bridge import backbones

L = tf_keras.layers
Unit = Callable[[Any, int, int, str], Any]
#: Share of zeros of the pruned network, share of its MACs that the SVD keeps, share of the channels of the slim one.
SPARSITY, SVD_SHARE, WIDTH = 0.75, 0.35, 0.5


@dataclass(frozen=True)
class Training:
    """The same for all: uint8 images (N, H, W, C), labels (N,), and how to train. ``rate``: AdamW's peak."""

    x_train: np.ndarray
    y_train: np.ndarray
    classes: int
    epochs: int
    batch: int = 128
    rate: float = 3e-3
    weight_decay: float = 1e-4
    seed: int = 0
    tick: Tick = silent


@dataclass(frozen=True)
class Trained:
    """A finished network. ``macs`` as it runs, ``effective_macs`` on weights that are not zero.

    ``train_macs``: forward MACs x 3 x images seen. ``seconds``: wall time of ``fit``; ``tracing_s``: of it, that of the
    first step of a network trained in one go, which traces it.
    """

    name: str
    model: tf_keras.Model
    macs: int
    effective_macs: int
    train_macs: float
    seconds: float
    tracing_s: float = 0.0


Baseline = Callable[[Training], Trained]
BASELINES: dict[str, Baseline] = {}


def baseline(name: str) -> Callable[[Baseline], Baseline]:
    """Register a baseline under the name that the table shows."""

    def register(make: Baseline) -> Baseline:
        BASELINES[name] = make
        return make

    return register


def count_macs(model: tf_keras.Model, weight: Callable[[Any], float] = lambda layer: 1.0) -> int:
    """Multiply-accumulates of one inference; ``weight(layer)`` scales a layer's share."""
    return round(sum(_layer_macs(layer) * weight(layer) for layer in model.layers))


def _layer_macs(layer: Any) -> float:
    if isinstance(layer, L.SeparableConv2D):
        thin = layer.input_shape[-1] * layer.depth_multiplier
        return float(prod(layer.output_shape[1:3]) * thin * (prod(layer.kernel_size) + layer.filters))
    if isinstance(layer, L.DepthwiseConv2D):
        return float(prod(layer.output_shape[1:]) * prod(layer.kernel_size))
    if isinstance(layer, L.Conv2D):
        return float(prod(layer.output_shape[1:]) * prod(layer.kernel_size) * layer.input_shape[-1])
    if isinstance(layer, L.Dense):
        return float(layer.input_shape[-1] * layer.units)
    return 0.0


def steps(t: Training, epochs: float) -> int:
    """Batches of so many epochs: the incomplete last batch of each is left out."""
    return round(epochs * (len(t.x_train) // size(t)))


def size(t: Training) -> int:
    """Images of a batch."""
    return min(t.batch, len(t.x_train))


def _seen(t: Training, epochs: float) -> int:
    """Images that so many epochs show."""
    return steps(t, epochs) * size(t)


class Batches(tf_keras.utils.Sequence):  # type: ignore[misc]
    """Shuffled batches, shifted by up to two pixels and mirrored at random, pass after pass.

    Args:
        training: the images and how large a batch is.
        count: how many batches.
        seed: of the order and the shifts.
    """

    def __init__(self, training: Training, count: int, seed: int) -> None:
        super().__init__()
        self._training, self._count, self._rng = training, count, np.random.default_rng(seed)
        self._order = self._rng.permutation(len(training.x_train))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> tuple[np.ndarray, Any]:
        one, many = self._training, size(self._training)
        place = number % (len(one.x_train) // many)
        if number and not place:
            self._order = self._rng.permutation(len(one.x_train))
        index = np.sort(self._order[place * many : (place + 1) * many])
        x = np.pad(one.x_train[index], ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        height, width = one.x_train.shape[1:3]
        rows = self._rng.integers(0, 5, (many, 1)) + np.arange(height)
        columns = self._rng.integers(0, 5, (many, 1)) + np.arange(width)
        x = x[np.arange(many)[:, None, None], rows[:, :, None], columns[:, None, :]]
        mirrored = self._rng.random(many) < 0.5
        x[mirrored] = x[mirrored, :, ::-1]
        return x.astype(np.float32) / 255, tf_keras.utils.to_categorical(one.y_train[index], one.classes)


def fit(
    model: tf_keras.Model,
    t: Training,
    name: str,
    batches: tf_keras.utils.Sequence,
    *,
    rate: float,
    smoothing: float = 0.05,
    callbacks: Sequence[Any] = (),
) -> tuple[float, float]:
    """Train a network that gives logits on all batches once; gives the seconds it took, and those of the first step.

    Keras' default momentum of 0.99 averages BatchNorm statistics over hundreds of steps; in a short run those are of
    weights long gone, and the network would be judged by them.
    """
    for layer in model.submodules:
        if isinstance(layer, L.BatchNormalization):
            layer.momentum = 0.9
    count = len(batches)
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        0.0, max(1, count - count // 10), warmup_target=rate, warmup_steps=max(1, count // 10)
    )
    optimizer = tf_keras.optimizers.AdamW(schedule, weight_decay=t.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(optimizer, tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing))
    done = iter(range(1, count + 1))
    ends: list[float] = []

    def tell(batch: int, logs: object) -> None:
        ends.append(time.perf_counter())
        t.tick(name, next(done), count, "")

    begun = time.perf_counter()
    model.fit(batches, verbose=0, callbacks=[tf_keras.callbacks.LambdaCallback(on_batch_end=tell), *callbacks])
    return time.perf_counter() - begun, ends[0] - begun


def _alone(name: str, build: Callable[[Training], tf_keras.Model], t: Training) -> Trained:
    tf_keras.utils.set_random_seed(t.seed)
    model = build(t)
    seconds, tracing = fit(model, t, name, Batches(t, steps(t, t.epochs), t.seed), rate=t.rate)
    macs = count_macs(model)
    return Trained(name, model, macs, macs, 3.0 * macs * _seen(t, t.epochs), seconds, tracing)


def plain(x: Any, filters: int, stride: int, name: str) -> Any:
    """A 3x3 convolution."""
    return L.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)


def separable(x: Any, filters: int, stride: int, name: str) -> Any:
    """Depthwise 3x3, BatchNorm, ReLU, pointwise (Howard et al., MobileNets, 2017)."""
    x = L.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=f"{name}_dw")(x)
    x = L.ReLU(name=f"{name}_dw_relu")(L.BatchNormalization(name=f"{name}_dw_bn")(x))
    return L.Conv2D(filters, 1, use_bias=False, name=f"{name}_pw")(x)


def fire(x: Any, filters: int, stride: int, name: str) -> Any:
    """Squeeze to a quarter, expand half by 1x1 and half by 3x3 (Iandola et al., SqueezeNet, 2016)."""
    thin = L.Conv2D(max(4, x.shape[-1] // 4), 1, activation="relu", name=f"{name}_squeeze")(x)
    one = L.Conv2D(filters // 2, 1, stride, use_bias=False, name=f"{name}_expand1")(thin)
    three = L.Conv2D(filters - filters // 2, 3, stride, padding="same", use_bias=False, name=f"{name}_expand3")(thin)
    return L.Concatenate(name=f"{name}_cat")([one, three])


def residual(t: Training, unit: Unit = plain, width: float = 1.0) -> tf_keras.Model:
    """The backbone's topology with another convolution unit or other widths; logits (N, classes)."""
    channels = [max(4, round(n * width)) for n in (16, 32, 64)]
    image = L.Input(t.x_train.shape[1:], name="image")
    x = plain(image, channels[0], max(1, min(t.x_train.shape[1:3]) // 32), "stem")  # larger images: as the backbone
    x = L.ReLU(name="stem_relu")(L.BatchNormalization(name="stem_bn")(x))
    for stage, filters in enumerate(channels, start=1):
        for block in (1, 2):
            name = f"stage{stage}_block{block}"
            step = 2 if block == 1 and stage > 1 else 1
            y = L.BatchNormalization(name=f"{name}_bn1")(unit(x, filters, step, f"{name}_1"))
            y = unit(L.ReLU(name=f"{name}_relu1")(y), filters, 1, f"{name}_2")
            y = L.BatchNormalization(name=f"{name}_bn2")(y)
            if step != 1:
                x = L.Conv2D(filters, 1, step, use_bias=False, name=f"{name}_shortcut")(x)
                x = L.BatchNormalization(name=f"{name}_shortcut_bn")(x)
            x = L.ReLU(name=f"{name}_relu2")(L.Add(name=f"{name}_add")([x, y]))
    x = L.GlobalAveragePooling2D(name="head_pool")(x)
    return tf_keras.Model(image, L.Dense(t.classes, name="head_logits")(x))


def _backbone(t: Training) -> tf_keras.Model:
    whole = backbones.build("resnet", t.x_train.shape[1:], t.classes)
    return tf_keras.Model(whole.input, whole.outputs[-1], name="full")


@baseline("full, alone")
def full(t: Training) -> Trained:
    """The backbone, not compressed."""
    return _alone("full, alone", _backbone, t)


@baseline("uniform width")
def slim(t: Training) -> Trained:
    """Half of all channels, from scratch."""
    return _alone("uniform width", partial(residual, width=WIDTH), t)


@baseline("separable (MobileNet)")
def mobile(t: Training) -> Trained:
    """Every convolution but the stem depthwise-separable, from scratch."""
    return _alone("separable (MobileNet)", partial(residual, unit=separable), t)


@baseline("fire (SqueezeNet)")
def squeezed(t: Training) -> Trained:
    """Every convolution but the stem a fire module, from scratch."""
    return _alone("fire (SqueezeNet)", partial(residual, unit=fire), t)


@baseline("SVD")
def svd(t: Training) -> Trained:
    """The backbone for 60 % of the epochs, split by truncated SVD, then fine-tuned for the rest."""
    tf_keras.utils.set_random_seed(t.seed)
    first = max(1, round(0.6 * t.epochs))
    rest = t.epochs - first
    model = residual(t)
    seconds, _ = fit(model, t, "SVD: first the full one", Batches(t, steps(t, first), t.seed), rate=t.rate)
    thin = factorised(model, t, SVD_SHARE)
    if rest > 0:
        seconds += fit(thin, t, "SVD: fine-tuning", Batches(t, steps(t, rest), t.seed + 1000), rate=t.rate / 3)[0]
    macs = count_macs(thin)
    train_macs = 3.0 * (count_macs(model) * _seen(t, first) + macs * _seen(t, rest))
    return Trained("SVD", thin, macs, macs, train_macs, seconds)


def factorised(model: tf_keras.Model, t: Training, share: float) -> tf_keras.Model:
    """A :func:`residual` model with each 3x3 convolution but the stem split in two, of ``share`` of its MACs.

    ``share`` 1 stands for the full rank, which changes nothing.
    """

    def unit(x: Any, filters: int, stride: int, name: str) -> Any:
        rows = 9 * x.shape[-1]
        rank = max(1, int(share * rows * filters / (rows + filters))) if share < 1 else filters
        x = L.Conv2D(min(rank, filters), 3, stride, padding="same", use_bias=False, name=f"{name}_core")(x)
        return L.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv")(x)

    thin = residual(t, unit)
    cores = {layer.name for layer in thin.layers if layer.name.endswith("_core")}
    for old in model.layers:
        core = old.name.replace("_conv", "_core")
        if core not in cores or not old.get_weights():
            thin.get_layer(old.name).set_weights(old.get_weights())
            continue
        kernel = old.get_weights()[0]
        u, s, v = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)
        rank = thin.get_layer(core).filters
        root = np.sqrt(s[:rank])
        thin.get_layer(core).set_weights([(u[:, :rank] * root).reshape(*kernel.shape[:3], rank)])
        thin.get_layer(old.name).set_weights([(root[:, None] * v[:rank])[None, None]])
    return thin


@baseline("TF-MOT pruning")
def pruned(t: Training) -> Trained:
    """Three quarters of the inner convolutions' weights pruned while training, between 20 % and 70 % of the steps."""
    tf_keras.utils.set_random_seed(t.seed)
    batches = Batches(t, steps(t, t.epochs), t.seed)
    model = thinning(_backbone(t), len(batches))
    seconds, _ = fit(model, t, "TF-MOT pruning", batches, rate=t.rate, callbacks=[tfmot.UpdatePruningStep()])
    stripped = tfmot.strip_pruning(model)
    macs = count_macs(stripped)
    train_macs = 3.0 * macs * _seen(t, t.epochs)
    return Trained("TF-MOT pruning", stripped, macs, count_macs(stripped, alive), train_macs, seconds)


def thinning(model: tf_keras.Model, count: int) -> tf_keras.Model:
    """The same layers, whose inner convolutions are pruned in the course of ``count`` steps."""
    ramp = tfmot.PolynomialDecay(0.0, SPARSITY, round(0.2 * count), round(0.7 * count), frequency=max(1, count // 50))

    def wrap(layer: Any) -> Any:
        inner = isinstance(layer, L.Conv2D) and not layer.name.startswith("stem")
        return tfmot.prune_low_magnitude(layer, pruning_schedule=ramp) if inner else layer

    return tf_keras.models.clone_model(model, clone_function=wrap)


def alive(layer: Any) -> float:
    """Share of a layer's weights that are not zero."""
    return float(np.mean(layer.get_weights()[0] != 0)) if layer.get_weights() else 1.0


def accuracy(model: tf_keras.Model, x_test: np.ndarray, y_test: np.ndarray) -> float:
    """Top-1 accuracy in [0, 1] on uint8 images."""
    logits = [
        model(tf.constant(x_test[i : i + 500] / np.float32(255)), training=False) for i in range(0, len(x_test), 500)
    ]
    return float(np.mean(np.concatenate(logits).argmax(-1) == y_test))
