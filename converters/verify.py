"""A .tflite against its Keras network, on real inputs; and its accuracy, measured with LiteRT itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adascale_tf.bundle import Accuracy, Verification

Predict = Callable[[np.ndarray], np.ndarray]


def compare(expected: np.ndarray, actual: np.ndarray) -> Verification:
    """Outputs (N, classes) of the Keras network and of the .tflite, on the same real inputs."""
    agreement = float(np.mean(expected.argmax(-1) == actual.argmax(-1)))
    difference = float(np.max(np.abs(expected - actual)))
    return Verification(len(expected), agreement, difference, float(np.ptp(expected)))


def outputs(run: Predict, x: np.ndarray, done: Callable[[int], None] = lambda n: None) -> np.ndarray:
    """The real-valued outputs (N, classes) of a batch-1 runner for inputs (N, ...); ``done(n)`` after each."""
    rows = []
    for number, example in enumerate(x, start=1):
        rows.append(run(example[np.newaxis])[0])
        done(number)
    return np.stack(rows)


def accuracy(logits: np.ndarray, labels: np.ndarray, split: str) -> Accuracy:
    """Top-1 accuracy of outputs (N, classes) against labels (N,)."""
    return Accuracy("top-1", float(np.mean(logits.argmax(-1) == labels)), len(labels), split)
