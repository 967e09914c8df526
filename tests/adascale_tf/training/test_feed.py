"""Batches: each example once a pass, and the same for every number of workers."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_tf.data import Dataset
from adascale_tf.training import Schedule, feed


def numbered(count: int) -> Dataset:
    """Examples whose label is their number."""
    x = np.arange(count * 16, dtype=np.uint8).reshape(count, 4, 4, 1)
    return Dataset("numbered", ("a", "b"), {"kind": "image", "scale": 1.0}, x, np.arange(count), x[:1], np.zeros(1))


def test_the_same_seed_gives_the_same_batches() -> None:
    def first(seed: int) -> np.ndarray:
        return next(iter(feed.batches(numbered(100), Schedule(), np.random.default_rng(seed))))[0]

    np.testing.assert_array_equal(first(1), first(1))
    assert not np.array_equal(first(1), first(2))


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 5), st.integers(0, 3))
def test_workers_share_out_what_one_alone_would_see(count: int, size: int, workers: int, epoch: int) -> None:
    data, schedule = numbered(count), Schedule(batch=size, shift=1)
    whole = list(islice(feed.shares(data, schedule, epoch, workers, range(workers)), 4))
    for worker in range(workers):
        own = list(islice(feed.shares(data, schedule, epoch, workers, [worker]), 4))
        for step, mine in zip(whole, own, strict=True):
            np.testing.assert_array_equal(step[worker][0], mine[0][0])
            np.testing.assert_array_equal(step[worker][1], mine[0][1])
    whole_batches = max(1, count // size)
    seen = [label for step in whole for _, labels in step for label in labels]
    once = seen[: whole_batches * min(size, count)]
    if len(seen) >= len(once):  # a pass shows no example twice
        assert len(set(once)) == len(once)


def test_epochs_and_passes_are_shuffled_anew() -> None:
    data, schedule = numbered(8), Schedule(batch=4, shift=0)

    def labels(epoch: int) -> list[list[int]]:
        return [
            [int(n) for _, y in step for n in y] for step in islice(feed.shares(data, schedule, epoch, 2, [0, 1]), 3)
        ]

    first, second = labels(0), labels(1)
    assert first == labels(0) and first != second
    assert sorted(first[0]) == sorted(first[1]) == list(range(8)) and first[0] != first[1]


def test_augmentation_shifts_but_keeps_shape_and_values() -> None:
    x = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)
    moved = feed.augment(x, Schedule(shift=2), np.random.default_rng(0))
    assert moved.shape == x.shape and moved.dtype == np.uint8 and set(moved.ravel()) <= set(x.ravel())
    frames = np.random.default_rng(0).normal(size=(3, 10, 4)).astype(np.float32)
    assert feed.augment(frames, Schedule(shift=1), np.random.default_rng(0)).shape == frames.shape
    np.testing.assert_array_equal(feed.augment(x, Schedule(shift=0), np.random.default_rng(0)), x)


@pytest.mark.parametrize("flip", [False, True])
def test_mirroring_is_asked_for(flip: bool) -> None:
    x = np.arange(64 * 4, dtype=np.uint8).reshape(64, 2, 2, 1)
    moved = feed.augment(x, Schedule(shift=0, flip=flip), np.random.default_rng(0))
    assert np.array_equal(moved, x) is not flip


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.integers(0, 4), st.booleans(), st.integers(0, 9))
def test_examples_are_windows_of_themselves_with_repeated_edges(
    shape: list[int], shift: int, flip: bool, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    before = x.copy()
    moved = feed.augment(x, Schedule(shift=shift, flip=flip), np.random.default_rng(seed))
    np.testing.assert_array_equal(x, before)
    axes = {4: (1, 2), 3: (1,)}.get(x.ndim, ())
    rng = np.random.default_rng(seed)
    offsets = [rng.integers(0, 2 * shift + 1, len(x)) for _ in axes] if shift else []
    mirrored = rng.random(len(x)) < 0.5 if flip and x.ndim == 4 else np.zeros(len(x), bool)
    for number, example in enumerate(moved):
        expected = x[number]
        for axis, offset in enumerate(offsets):
            positions = np.clip(np.arange(expected.shape[axis]) + offset[number] - shift, 0, expected.shape[axis] - 1)
            expected = expected.take(positions, axis)
        np.testing.assert_array_equal(example, expected[:, ::-1] if mirrored[number] else expected)
