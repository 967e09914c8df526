"""Bundles for benchmarks that were given none: built first, on the digits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from adascale_runtime.seams.bundle import Bundle
from converters import process


def built(place: Path, epochs: int, smoke: bool = False, **options: Any) -> Bundle:
    """A bundle of the digits in a new folder.

    Args:
        place: The folder.
        epochs: Of training; one in a ``smoke`` run.
        smoke: Whether only the way is to be tested.
        options: Others of ``build``, such as ``backbone``.
    """
    from adascale_tf.verbs.build import build
    from adascale_tf.verbs.training import Training

    print(f"builds a bundle of {options.get('backbone', 'the digits')}", file=sys.stderr, flush=True)
    made = build("digits", place, training=Training(epochs=1 if smoke else epochs), **options).bundle
    process.stop()  # what is measured next should have the machine to itself
    return made
