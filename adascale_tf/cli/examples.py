"""What ``--data`` gives to a command: examples, with a word for people on what was left out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adascale_tf.errors import BadInput
from adascale_tf.text import excerpt

if TYPE_CHECKING:
    from adascale_tf.bundle import Bundle
    from adascale_tf.data import Dataset
    from adascale_tf.progress import Tick


def load(
    spec: str, tick: Tick, preprocessing: dict[str, Any] | None = None, size: tuple[int, int] | None = None
) -> Dataset:
    """The data of a SPEC (:func:`adascale_tf.data.load`); its notes go to standard error."""
    from adascale_tf import data

    dataset = data.load(spec, preprocessing, tick, size)
    for note in dataset.notes:
        click.echo(f"adascale: {note}", err=True)
    return dataset


def load_for(opened: Bundle, spec: str, tick: Tick) -> Dataset:
    """The data of a SPEC as a bundle takes it; :class:`BadInput` if it has other classes or shapes."""
    manifest = opened.manifest
    dataset = load(spec, tick, manifest.preprocessing)
    if dataset.labels != manifest.labels:
        raise BadInput(
            f"{spec} has the classes {excerpt(', '.join(dataset.labels))}, but the bundle was trained for "
            f"{excerpt(', '.join(manifest.labels))}; give the data it was built for."
        )
    for branch in manifest.branches:
        wanted = tuple(branch.input.shape[1:])
        if wanted != dataset.input_shape:
            raise BadInput(
                f"{spec} has examples of the shape {dataset.input_shape}, but the branch '{excerpt(branch.id)}' takes "
                f"{wanted}; give the data it was built for."
            )
    return dataset
