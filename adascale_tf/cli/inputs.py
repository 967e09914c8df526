"""What ``--data`` gives to a command: as the data suggests, as a user's model takes it, or as a bundle does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt
from adascale_tf.cli import console

if TYPE_CHECKING:
    from adascale_runtime.progress import Tick
    from adascale_runtime.seams.bundle import Bundle
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork

#: Pixels 0..255 to what a model's input expects: (mean, scale) of ``(x - mean) * scale``.
RANGES = {"0,255": (0.0, 1.0), "0,1": (0.0, 1 / 255), "-1,1": (127.5, 1 / 127.5)}

#: Fewer values a step than this are no log-mel frames, but perhaps the samples of a sound.
_LEAST_MELS = 8


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
    """The data as a user's model takes it: its shape decides.

    Images (uint8) are brought to its size and range; sounds give as many frames and mels as it takes; arrays are taken
    as they are. :class:`BadInput` if the data cannot have the model's shape, or has other classes.
    """
    from adascale_tf import data

    shape = tuple(network.backbone.input_shape[1:])
    sounds = _sounds(spec)
    if sounds is not None:
        log_mel = len(shape) in (2, 3) and shape[1] >= _LEAST_MELS and shape[2:] in ((), (1,))
        frames = dict(zip(("frames", "mels", "channels"), shape, strict=False)) if log_mel else {}
        found, pixels = load(spec, tick, {**sounds, **frames}), False
    elif spec == "digits" or Path(spec).suffix.lower() == ".npz":
        found = load(spec, tick)
        pixels = found.x_train.dtype == "uint8" and len(shape) == 3
    else:
        found, pixels = load(spec, tick, _image(network.backbone, input_range)), True
    if pixels and found.input_shape != shape:
        found = data.fit(found, _image(network.backbone, input_range))
    elif pixels:
        mean, scale = _range(network.backbone, input_range)
        found = replace(
            found, preprocessing={**found.preprocessing, "scale": scale, **({"mean": mean} if mean else {})}
        )
    elif input_range is not None:
        raise BadInput(f"--input-range is for images, but {spec} holds other numbers; leave it out.")
    if shape == (*found.input_shape, 1):
        found = data.fit(found, {**found.preprocessing, "channels": 1})
    _check_fit(network, found, model)
    return found


def _sounds(spec: str) -> dict[str, Any] | None:
    """The preprocessing of the sounds that ``spec`` names, None if it names anything else."""
    from adascale_tf.data import audio, files

    path = Path(spec)
    if spec == "digits" or not path.exists() or not (path.is_dir() or path.suffix.lower() == ".zip"):
        return None
    with files.opened(path) as found:
        first = next((entry for entry in found.entries if entry.split == "train"), None)
        if first is None or not first.is_sound:
            return None
        _, rate = audio.read_wav(found.read(first), f"{path}: {first.name}")
        return {"kind": "log-mel", "sample_rate": rate}


def _range(model: Any, input_range: str | None) -> tuple[float, float]:
    rescales = any(type(layer).__name__ == "Rescaling" for layer in model.layers[:3])
    return RANGES[input_range or ("0,255" if rescales else "0,1")]


def _image(model: Any, input_range: str | None) -> dict[str, Any] | None:
    """How an image becomes the input of a user's model; None (as the data suggests) where that is no image."""
    shape = tuple(model.input_shape[1:])
    if len(shape) != 3:
        return None
    mean, scale = _range(model, input_range)
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
