"""Examples in memory: NumPy arrays, or what a ``tf.data.Dataset`` yields."""

from __future__ import annotations

from typing import Any

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_runtime.text import excerpt
from adascale_tf.data.arrays import Arrays, checked

#: The share of each class that is held out for testing where no test split is given.
HELD_OUT = 0.2
_FORMS = "(x, y), ((x_train, y_train), (x_test, y_test)), a tf.data.Dataset of (x, y), or a pair of those"


def read(given: Any, seed: int = 0) -> Arrays:
    """The examples of arrays or of a ``tf.data.Dataset``, with a test split.

    Args:
        given: ``(x, y)``, ``((x_train, y_train), (x_test, y_test))`` as ``keras.datasets`` gives them, a
            ``tf.data.Dataset`` of ``(x, y)``, batched or not, or a pair of such datasets. ``x``: uint8 or floats
            (N, ...), where uint8 (N, H, W) are grey images; ``y``: whole numbers or names, (N,) or (N, 1).
        seed: chooses which fifth of each class is held out where no test split is given.

    Raises:
        BadInput: says what is wrong with the examples.
    """
    if _is_stream(given):
        return _held_out(*_collected(given), seed)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise BadInput(f"Data in memory should be {_FORMS}, not {excerpt(type(given).__name__, 60)}.")
    first, second = given
    if _is_stream(first) or _is_pair(first):
        if not (_is_stream(second) or _is_pair(second)):
            raise BadInput(f"Data in memory should be {_FORMS}; its test split is not.")
        train, test = (_collected(part) if _is_stream(part) else _arrays(*part) for part in (first, second))
        return checked("The data in memory", *train, *test)
    return _held_out(*_arrays(first, second), seed)


def _is_stream(given: Any) -> bool:
    return hasattr(given, "as_numpy_iterator") and hasattr(given, "element_spec")


def _is_pair(given: Any) -> bool:
    """Whether this is the (x, y) of a split, rather than an array or a list of examples."""
    return isinstance(given, tuple) and len(given) == 2


def _arrays(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        examples, labels = np.asarray(x), np.asarray(y)
    except (ValueError, TypeError) as error:
        raise BadInput(f"The data in memory is not made of arrays ({excerpt(str(error))}).") from None
    if examples.dtype == np.uint8 and examples.ndim == 3:
        examples = examples[..., np.newaxis]
    return examples, labels.reshape(len(labels)) if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _collected(stream: Any) -> tuple[np.ndarray, np.ndarray]:
    """All examples of a ``tf.data.Dataset``, in its order."""
    if not isinstance(stream.element_spec, tuple) or len(stream.element_spec) != 2:
        raise BadInput("The tf.data.Dataset does not yield pairs (x, y); map it to an example and its label.")
    if int(stream.cardinality()) == -1:
        raise BadInput("The tf.data.Dataset is endless; end it with .take(count).")
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    size = 0
    for element in stream.as_numpy_iterator():
        x, y = (np.asarray(value) for value in element)
        if not y.ndim:
            x, y = x[np.newaxis], y[np.newaxis]
        size += x.nbytes
        archives.check_size(size, "The tf.data.Dataset")
        parts.append((x, y))
    if not parts:
        raise BadInput("The tf.data.Dataset yields nothing.")
    try:
        return _arrays(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]))
    except ValueError:
        raise BadInput("The tf.data.Dataset yields examples of different shapes; give all the same shape.") from None


def _held_out(x: np.ndarray, y: np.ndarray, seed: int) -> Arrays:
    """A fifth of each class for testing, at least one example; a class of one example stays with the training."""
    if y.ndim != 1 or len(x) != len(y):
        return checked("The data in memory", x, y, x, y)  # refuses it
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(y), bool)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        chosen[members[: max(1, round(HELD_OUT * len(members))) if len(members) > 1 else 0]] = True
    return checked("The data in memory", x[~chosen], y[~chosen], x[chosen], y[chosen])
