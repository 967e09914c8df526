"""What ``--data`` gives to a command: as the data suggests, as a user's model takes it, or as a bundle does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_tf.cli import console
from adascale_tf.errors import BadInput
from adascale_tf.text import excerpt

if TYPE_CHECKING:
    from adascale_tf.bundle import Bundle
    from adascale_tf.data import Dataset
    from adascale_tf.network import ElasticNetwork
    from adascale_tf.progress import Tick

#: Pixels 0..255 to what a model's input expects: (mean, scale) of ``(x - mean) * scale``.
RANGES = {"0,255": (0.0, 1.0), "0,1": (0.0, 1 / 255), "-1,1": (127.5, 1 / 127.5)}


def parse_size(text: str | None) -> tuple[int, ...]:
    """The numbers of ``H``, ``HxW``; :class:`BadInput` if it is neither."""
    parts = text.lower().split("x") if text is not None else []
    if len(parts) > 2 or not all(part.isdecimal() and len(part) < 6 and int(part) for part in parts):
        raise BadInput(f"'{excerpt(text)}' is not a size; write 224, or 224x320 for height and width.")
    return tuple(int(part) for part in parts)


def load(spec: str, tick: Tick, preprocessing: dict[str, Any] | None = None, size: Sequence[int] = ()) -> Dataset:
    """The data of a SPEC (:func:`adascale_tf.data.load`); what was left out of it is said on standard error."""
    from adascale_tf import data

    dataset = data.load(spec, preprocessing, tick, (size[0], size[-1]) if size else None)
    for note in dataset.notes:
        console.say(f"note: {note}", err=True)
    return dataset


def load_for_bundle(opened: Bundle, spec: str, tick: Tick) -> Dataset:
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


def load_for(network: ElasticNetwork, model: Path, spec: str, input_range: str | None, tick: Tick) -> Dataset:
    """The data as a user's model takes it: images (uint8) are brought to its size, arrays are taken as they are."""
    from adascale_tf import data

    how = _preprocessing(network.backbone, input_range)
    found = None
    if how is None or Path(spec).suffix.lower() == ".npz":
        found = load(spec, tick)
    if how is not None and (found is None or (found.x_train.dtype == "uint8" and found.x_train.ndim == 4)):
        found = load(spec, tick, how) if found is None else data.fit(found, how)
    elif input_range is not None:
        raise BadInput(f"--input-range is for images, but {spec} holds other numbers; leave it out.")
    _check_fit(network, found, model)
    return found


def _preprocessing(model: Any, input_range: str | None) -> dict[str, Any] | None:
    """How data becomes the input of a user's model; None (as the data suggests) where that is no image."""
    shape = tuple(model.input_shape[1:])
    if len(shape) != 3 or None in shape:
        return None
    rescales = any(type(layer).__name__ == "Rescaling" for layer in model.layers[:3])
    mean, scale = RANGES[input_range or ("0,255" if rescales else "0,1")]
    how = {"kind": "image", "height": shape[0], "width": shape[1], "channels": shape[2], "scale": scale}
    return {**how, "mean": mean} if mean else how


def _check_fit(network: ElasticNetwork, dataset: Dataset, model: Path) -> None:
    shape = tuple(network.backbone.input_shape[1:])
    if shape != dataset.input_shape:
        raise BadInput(f"{model} takes inputs {shape}, but the data has {dataset.input_shape}; give data of its shape.")
    if network.classes != len(dataset.labels):
        raise BadInput(
            f"{model} answers {network.classes} classes, but the data has {len(dataset.labels)}; give the data it was "
            "made for, or give the model an output for each class first."
        )
