"""Loading data for a verb: in the data's own shape, in that of a user's model, or in that of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.text import excerpt
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_runtime.seams.bundle import Bundle
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork

#: Pixels 0..255 to what a model's input expects: (mean, scale) of ``(x - mean) * scale``.
RANGES = {"0,255": (0.0, 1.0), "0,1": (0.0, 1 / 255), "-1,1": (127.5, 1 / 127.5)}

#: Fewer values a step than this are no log-mel frames, but perhaps the samples of a sound.
_LEAST_MELS = 8


def parse_size(text: str | None) -> tuple[int, ...]:
    """The numbers of ``H``, ``HxW``; empty for None.

    Raises:
        BadInput: it is neither.
    """
    parts = text.lower().split("x") if text is not None else []
    if len(parts) > 2 or not all(part.isdecimal() and len(part) < 6 and int(part) for part in parts):
        raise BadInput(f"'{excerpt(text)}' is not a size; write 224, or 224x320 for height and width.")
    return tuple(int(part) for part in parts)


def load(
    spec: Any,
    preprocessing: dict[str, Any] | None = None,
    *,
    size: Sequence[int] = (),
    seed: int = 0,
    tick: Tick = silent,
    say: Say = unsaid,
) -> Dataset:
    """Read data as :func:`adascale_tf.data.load` does, and say what was left out of it.

    Args:
        spec: a SPEC, or examples in memory.
        preprocessing: a manifest's or checkpoint's, which is followed exactly.
        size: height and width of all images, or one number for both.
        seed: chooses what is held out of examples in memory.
        tick: called with "read data".
        say: takes a sentence for whatever was left out or changed.

    Raises:
        BadInput: says what is wrong with the data.
    """
    from adascale_tf import data

    dataset = data.load(spec, preprocessing, tick, (size[0], size[-1]) if size else None, seed)
    if not isinstance(spec, data.Dataset):  # who loaded it has read its notes
        for note in dataset.notes:
            say(note)
    return dataset


def load_for_bundle(bundle: Bundle, spec: Any, *, tick: Tick = silent, say: Say = unsaid) -> Dataset:
    """Read data as a bundle takes it.

    Raises:
        BadInput: it has other classes or shapes than the bundle.
    """
    manifest = bundle.manifest
    dataset = load(spec, manifest.preprocessing, tick=tick, say=say)
    if dataset.labels != manifest.labels:
        raise BadInput(
            f"{_named(spec)} has the classes {excerpt(', '.join(dataset.labels))}, but the bundle was trained for "
            f"{excerpt(', '.join(manifest.labels))}; give the data it was built for."
        )
    for branch in manifest.branches:
        wanted = tuple(branch.input.shape[1:])
        if wanted != dataset.input_shape:
            raise BadInput(
                f"{_named(spec)} has examples of the shape {dataset.input_shape}, but the branch "
                f"'{excerpt(branch.id)}' takes {wanted}; give the data it was built for."
            )
    return dataset


def load_for_network(
    network: ElasticNetwork,
    name: str,
    spec: Any,
    *,
    input_range: str | None = None,
    seed: int = 0,
    tick: Tick = silent,
    say: Say = unsaid,
) -> Dataset:
    """Read data as a user's model takes it: the model's shape decides.

    Images (uint8) are brought to its size and range; sounds give as many frames and mels as it takes; arrays are taken
    as they are.

    Args:
        network: made of the user's model.
        name: the model's path or name, for messages.
        spec: a SPEC, or examples in memory.
        input_range: what the model expects of pixels, one of :data:`RANGES`; by default "0,255" if the model rescales
            by itself, else "0,1".
        seed: chooses what is held out of examples in memory.
        tick: called with "read data".
        say: takes a sentence for whatever was left out or changed.

    Raises:
        BadInput: the data cannot have the model's shape, or has other classes.
    """
    from adascale_tf import data

    if input_range is not None and input_range not in RANGES:
        raise BadInput(f"'{excerpt(input_range)}' is not a range of pixels; use {', '.join(sorted(RANGES))}.")
    shape = tuple(network.backbone.input_shape[1:])
    sounds = _sounds(spec)
    if sounds is not None:
        log_mel = len(shape) in (2, 3) and shape[1] >= _LEAST_MELS and shape[2:] in ((), (1,))
        frames = dict(zip(("frames", "mels", "channels"), shape, strict=False)) if log_mel else {}
        dataset, pixels = load(spec, {**sounds, **frames}, tick=tick, say=say), False
    elif not isinstance(spec, (str, Path)) or str(spec) == "digits" or Path(spec).suffix.lower() == ".npz":
        dataset = load(spec, seed=seed, tick=tick, say=say)
        pixels = dataset.x_train.dtype == "uint8" and len(shape) == 3
    else:
        dataset, pixels = load(spec, _image(network.backbone, input_range), tick=tick, say=say), True
    if pixels and dataset.input_shape != shape:
        dataset = data.fit(dataset, _image(network.backbone, input_range))
    elif pixels:
        mean, scale = _range(network.backbone, input_range)
        how = {**dataset.preprocessing, "scale": scale, **({"mean": mean} if mean else {})}
        dataset = replace(dataset, preprocessing=how)
    elif input_range is not None:
        raise BadInput(f"--input-range is for images, but {_named(spec)} holds other numbers; leave it out.")
    if shape == (*dataset.input_shape, 1):
        dataset = data.fit(dataset, {**dataset.preprocessing, "channels": 1})
    _check_fit(network, dataset, name)
    return dataset


def _named(spec: Any) -> str:
    """What data is called in a message."""
    return str(spec) if isinstance(spec, (str, Path)) else "The data in memory"


def _sounds(spec: Any) -> dict[str, Any] | None:
    """The preprocessing of the sounds that ``spec`` names, None if it names anything else."""
    from adascale_tf.data import audio, files

    if not isinstance(spec, (str, Path)) or str(spec) == "digits":
        return None
    path = Path(spec)
    if not path.exists() or not (path.is_dir() or path.suffix.lower() == ".zip"):
        return None
    with files.opened(path) as listed:
        first = next((entry for entry in listed.entries if entry.split == "train"), None)
        if first is None or not first.is_sound:
            return None
        _, rate = audio.read_wav(listed.read(first), f"{path}: {first.name}")
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


def _check_fit(network: ElasticNetwork, dataset: Dataset, name: str) -> None:
    shape = tuple(network.backbone.input_shape[1:])
    if shape != dataset.input_shape:
        raise BadInput(f"{name} takes inputs {shape}, but the data has {dataset.input_shape}; give data of its shape.")
    if network.classes != len(dataset.labels):
        raise BadInput(
            f"{name} answers {network.classes} classes, but the data has {len(dataset.labels)}; give the data it was "
            "made for, or give the model an output for each class first."
        )
