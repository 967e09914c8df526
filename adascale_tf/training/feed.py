"""Batches of training examples: shuffled and augmented, and identical on whichever worker makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np

from adascale_tf.data import Dataset
from adascale_tf.training.schedule import Schedule

Batch = tuple[np.ndarray, np.ndarray]


def shuffled(samples: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions of the examples of each whole batch of one pass over the data."""
    size = min(size, samples)
    order = rng.permutation(samples)
    for start in range(0, samples - size + 1, size):
        yield np.sort(order[start : start + size])


def batches(data: Dataset, schedule: Schedule, rng: np.random.Generator) -> Iterator[Batch]:
    """Shuffled, augmented batches of one epoch; the incomplete last one is left out."""
    for index in shuffled(len(data.x_train), schedule.batch, rng):
        yield _batch(data, schedule, index, rng)


def shares(data: Dataset, schedule: Schedule, epoch: int, scale: int, mine: Sequence[int]) -> Iterator[list[Batch]]:
    """For each step of an epoch the batches that this worker computes: those at ``mine`` of the step's ``scale``.

    Endless, pass after pass over the data, since the number of steps follows the gain. Each batch depends on the
    schedule's seed, the epoch and its number only, so workers agree on them without talking, and a resumed
    epoch sees what it would have seen.
    """
    passes = (
        index
        for number in count()
        for index in shuffled(len(data.x_train), schedule.batch, np.random.default_rng((schedule.seed, epoch, number)))
    )
    for step in count():
        group = list(islice(passes, scale))
        yield [
            _batch(data, schedule, group[p], np.random.default_rng((schedule.seed, epoch, step * scale + p, 1)))
            for p in mine
        ]


def _batch(data: Dataset, schedule: Schedule, index: np.ndarray, rng: np.random.Generator) -> Batch:
    return data.inputs(augment(data.x_train[index], schedule, rng)), data.y_train[index]


def augment(x: np.ndarray, schedule: Schedule, rng: np.random.Generator) -> np.ndarray:
    """Shift (and mirror) each example at random: images (N, H, W, C) both ways, sequences (N, T, F) in time.

    By slices and rows rather than by an index of every pixel: this runs between the steps, and should take no more than
    a few percent of one.
    """
    axes = (1, 2) if x.ndim == 4 else (1,) if x.ndim == 3 else ()
    if schedule.shift and axes:
        starts = [rng.integers(0, 2 * schedule.shift + 1, len(x)).tolist() for _ in axes]
        x = _windows(x, schedule.shift, starts)
    if schedule.flip and x.ndim == 4:
        mirrored = rng.random(len(x)) < 0.5
        x = x.copy()
        x[mirrored] = np.take(x[mirrored], np.arange(x.shape[2])[::-1], axis=2)
    return x


def _windows(x: np.ndarray, margin: int, starts: Sequence[Sequence[int]]) -> np.ndarray:
    """Each example with its edges repeated ``margin`` times, cut to its size at its own ``starts``, one an axis."""
    moved = len(starts)
    padded = np.pad(x, [(0, 0), *[(margin, margin)] * moved, *[(0, 0)] * (x.ndim - 1 - moved)], mode="edge")
    shifted = np.empty_like(x)
    for target, source, corner in zip(shifted, padded, zip(*starts, strict=True), strict=True):
        target[...] = source[tuple(slice(at, at + n) for at, n in zip(corner, x.shape[1:], strict=False))]
    return shifted
