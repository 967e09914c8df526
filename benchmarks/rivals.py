"""The hand-made networks, and any branch's own network, with a teacher: by hand at its best.

One network is trained well and kept; every other one learns from its answers, from its own start. Networks that learn
at the same time share the batches and the teacher's pass. They share no weight, and AdamW treats every weight by
itself, so each is trained as it would be alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
import tf_keras
from baselines import (
    SVD_SHARE,
    WIDTH,
    Batches,
    Trained,
    Training,
    alive,
    count_macs,
    factorised,
    fire,
    fit,
    residual,
    separable,
    size,
    steps,
    thinning,
)
from tensorflow_model_optimization.sparsity import keras as tfmot

L = tf_keras.layers
PRUNED = "TF-MOT pruning"


@dataclass(frozen=True)
class Effort:
    """What training several networks side by side took: MACs with the teacher's pass, and wall time."""

    macs: float
    seconds: float


def hand_made(t: Training, teacher: tf_keras.Model, epochs: float) -> dict[str, tf_keras.Model]:
    """The five networks as they begin: SVD and pruning with the teacher's weights, the others from scratch.

    Args:
        t: how all are trained.
        teacher: the trained backbone with one output.
        epochs: for how long; the pruning's ramp depends on it.
    """
    tf_keras.utils.set_random_seed(t.seed)
    whole = residual(t)
    whole.set_weights(teacher.get_weights())
    copied = tf_keras.models.clone_model(teacher)
    copied.set_weights(teacher.get_weights())
    return {
        "uniform width": residual(t, width=WIDTH),
        "separable (MobileNet)": residual(t, unit=separable),
        "fire (SqueezeNet)": residual(t, unit=fire),
        "SVD": factorised(whole, t, SVD_SHARE),
        PRUNED: thinning(copied, steps(t, epochs)),
    }


def afresh(networks: Mapping[str, tf_keras.Model], seed: int) -> dict[str, tf_keras.Model]:
    """The same layers with random weights."""
    tf_keras.utils.set_random_seed(seed)
    return {name: tf_keras.models.clone_model(network) for name, network in networks.items()}


def distil(
    students: Mapping[str, tf_keras.Model], teacher: tf_keras.Model, t: Training, epochs: float
) -> tuple[dict[str, Trained], Effort]:
    """Train networks side by side on the answers of a teacher that stays as it is.

    Args:
        students: networks that give logits, by name.
        teacher: gives logits.
        t: the data and how to train.
        epochs: for how long; a fraction stands for so many batches.

    Returns:
        Them, and what it took in all; ``seconds`` of each is the time of all.
    """
    images = L.Input(t.x_train.shape[1:])
    parts = [
        tf_keras.Model(student.input, student.output, name=f"network{number}")
        for number, student in enumerate(students.values())
    ]
    together = tf_keras.Model(images, [part(images) for part in parts])
    batches = _Taught(t, steps(t, epochs), teacher, len(parts))
    callbacks = [tfmot.UpdatePruningStep()] if PRUNED in students else []
    seconds = fit(together, t, "with a teacher", batches, rate=t.rate, smoothing=0.0, callbacks=callbacks)
    done = {name: _finished(name, student, seconds) for name, student in students.items()}
    shown = len(batches) * size(t)
    trained = {name: replace(one, train_macs=3.0 * one.macs * shown) for name, one in done.items()}
    macs = sum(one.train_macs for one in trained.values()) + float(count_macs(teacher) * shown)
    return trained, Effort(macs, seconds)


def _finished(name: str, student: tf_keras.Model, seconds: float) -> Trained:
    model = tfmot.strip_pruning(student) if name == PRUNED else student
    return Trained(name, model, count_macs(model), count_macs(model, alive), 0.0, seconds)


class _Taught(Batches):
    """Batches whose targets are the teacher's answers, once for each network."""

    def __init__(self, t: Training, count: int, teacher: tf_keras.Model, networks: int) -> None:
        super().__init__(t, count, t.seed)
        self._networks = networks
        self._answer: Callable[[np.ndarray], tf.Tensor] = tf.function(
            lambda x: tf.nn.softmax(teacher(x, training=False)), reduce_retracing=True
        )

    def __getitem__(self, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
        x, _ = super().__getitem__(number)
        return x, [self._answer(tf.constant(x)).numpy()] * self._networks
