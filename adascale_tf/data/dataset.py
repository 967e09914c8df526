"""Loading of ``--data SPEC``: ``digits``, a folder or .zip of classes, a .npz; in Python also arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_runtime.progress import Tick, silent
from adascale_runtime.text import excerpt
from adascale_tf.data import arrays, audio, files, images, memory
from adascale_tf.data import preprocessing as preprocessings
from adascale_tf.data.files import Entry, Files

#: Files that are read before they are decoded: so many, or so many bytes.
CHUNK, CHUNK_BYTES = 256, 64 << 20
#: The shortest and the longest side that may be asked for, in pixels.
SIDES = (8, 4096)


@dataclass(frozen=True)
class Dataset:
    """Examples with labels, in a training and a test split."""

    #: What it is called in a bundle's name.
    name: str
    #: The names of the classes.
    labels: tuple[str, ...]
    #: How a raw file becomes an example; it travels in the manifest. Its keys are in docs/preprocessing.md.
    preprocessing: dict[str, Any]
    #: uint8 images (N, H, W, C), or float32 arrays such as log-mel frames (N, T, F).
    x_train: np.ndarray
    #: int64 (N,), positions in ``labels``.
    y_train: np.ndarray
    #: As ``x_train``, for measuring accuracy.
    x_test: np.ndarray
    #: As ``y_train``.
    y_test: np.ndarray
    #: Sentences on what was left out or resized.
    notes: tuple[str, ...] = ()
    #: As ``x_train``, for choosing; empty until :func:`~adascale_tf.data.validation.hold_out` fills it.
    x_val: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    #: As ``y_train``.
    y_val: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.x_train.shape[1:])

    @property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Examples and labels to choose by: those held out, or the training split of data too small to spare any."""
        return (self.x_val, self.y_val) if len(self.y_val) else (self.x_train, self.y_train)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Examples as the network takes them: float32, ``(x - mean) * scale``. Large sets stay small until here."""
        values = x.astype(np.float32)
        if self.preprocessing.get("mean"):
            values -= np.float32(self.preprocessing["mean"])
        return values * np.float32(self.preprocessing.get("scale", 1.0))


def load(
    spec: Any,
    preprocessing: dict[str, Any] | None = None,
    tick: Tick = silent,
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> Dataset:
    """Read the data that ``spec`` names or holds.

    Args:
        spec: ``digits``, a folder, a .zip or a .npz; or a :class:`Dataset`, arrays or a ``tf.data.Dataset``
            (:func:`adascale_tf.data.memory.read`).
        preprocessing: a manifest's, which makes the data exactly what a bundle expects.
        tick: called with "read data" while files are decoded.
        size: height and width of all images; without it those of the first training image decide.
        seed: chooses which examples in memory are held out for testing.

    Returns:
        The examples of both splits.

    Raises:
        BadInput: says what is wrong with the data.
    """
    if preprocessing is not None:
        preprocessing, size = preprocessings.checked(preprocessing), None
    if size is not None and not all(SIDES[0] <= side <= SIDES[1] for side in size):
        raise BadInput(
            f"Images of {size[1]}x{size[0]} pixels were requested; choose sides of {SIDES[0]} to {SIDES[1]}."
        )
    if isinstance(spec, Dataset):
        return _sized(spec, preprocessing, size)
    if not isinstance(spec, (str, Path)):
        return _sized(_dataset("arrays", memory.read(spec, seed)), preprocessing, size)
    if spec == "digits":
        return _sized(_digits(), preprocessing, size)
    spec, path = str(spec), Path(spec)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise BadInput(f"There is no data at '{excerpt(spec)}'; give 'digits', a folder, a .zip or a .npz.") from None
    except OSError as error:
        raise BadInput(f"{excerpt(spec)} cannot be read ({error.strerror}); correct its name or permissions.") from None
    if path.is_dir() or path.suffix.lower() == ".zip":
        with files.opened(path) as listed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what cannot be used is an error
            return _classes(listed, preprocessing, size, tick)
    if path.suffix.lower() == ".npz":
        return _sized(_dataset(path.stem, arrays.read(path)), preprocessing, size)
    raise BadInput(f"{path} is neither a folder, a .zip nor a .npz; give data in one of these forms.")


def _sized(data: Dataset, preprocessing: dict[str, Any] | None, size: tuple[int, int] | None) -> Dataset:
    """Arrays as ``preprocessing`` or ``size`` ask."""
    if size is not None:
        shape = data.input_shape
        if len(shape) != 3 or data.x_train.dtype != np.uint8:
            raise BadInput(f"--input-size is for images, but {data.name} has examples {shape}; leave it out.")
        height, width = size
        return fit(data, {"kind": "image", "height": height, "width": width, "channels": shape[2]})
    return fit(data, preprocessing)


def fit(data: Dataset, preprocessing: dict[str, Any] | None) -> Dataset:
    """Examples as a preprocessing asks: images of its height, width and channels (bilinear), its mean and scale.

    Args:
        data: the examples.
        preprocessing: what is asked for; None leaves them as they are.

    Raises:
        BadInput: they are no images, or frames of another size.
    """
    if preprocessing is None:
        return data
    x_train, x_test = data.x_train, data.x_test
    if preprocessing.get("kind") == "log-mel":
        wanted = (preprocessing["frames"], preprocessing["mels"])
        if data.input_shape != wanted:
            raise BadInput(f"{data.name} has inputs {data.input_shape}, but log-mel frames of {wanted} are needed.")
    if "height" in preprocessing:
        if x_train.ndim != 4 or x_train.dtype != np.uint8 or x_train.shape[3] not in (1, 3):
            raise BadInput(f"{data.name} has inputs {data.input_shape}, but images (uint8) are needed.")
        _check_memory(data.name, len(x_train) + len(x_test), images, preprocessing)
        x_train, x_test = (images.resize(x, preprocessing) for x in (x_train, x_test))
    how = {**data.preprocessing, **preprocessing}
    return replace(data, preprocessing=how, x_train=_with_channel(x_train, how), x_test=_with_channel(x_test, how))


def _with_channel(x: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """Frames (N, T, F) as images of one channel, for networks of 2-D convolutions that ask for it."""
    return x[..., np.newaxis] if how["kind"] != "image" and how.get("channels") == 1 and x.ndim == 3 else x


def _check_memory(name: str, count: int, kind: Any, how: dict[str, Any]) -> None:
    """Refuse examples that take more memory than an archive may: decided before the first of them is decoded."""
    archives.check_size(count * kind.bytes_of(how), f"{name} ({count:,} examples)")


def _digits() -> Dataset:
    """Scikit-learn's 1,797 handwritten digits, 8x8 resized to 32x32 (bilinear), a fifth of each class for testing."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    resized = np.stack([np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BILINEAR)) for p in pixels])
    x_train, x_test, y_train, y_test = train_test_split(
        resized[..., None], bunch.target.astype(np.int64), test_size=0.2, stratify=bunch.target, random_state=0
    )
    how = {"kind": "image", "height": 32, "width": 32, "channels": 1, "scale": 1 / 255}
    return Dataset("digits", tuple(str(n) for n in range(10)), how, x_train, y_train, x_test, y_test)


def _dataset(name: str, checked: arrays.Arrays) -> Dataset:
    how = {"kind": "array", "scale": 1 / 255 if checked.x_train.dtype == np.uint8 else 1.0}
    return Dataset(name, checked.labels, how, checked.x_train, checked.y_train, checked.x_test, checked.y_test)


def _classes(listed: Files, preprocessing: dict[str, Any] | None, size: tuple[int, int] | None, tick: Tick) -> Dataset:
    path = listed.path
    splits = {split: [e for e in listed.entries if e.split == split] for split in ("train", "test")}
    labels = _labels(listed, splits)
    first = splits["train"][0]
    kind: Any = audio if first.is_sound else images
    how = preprocessing or kind.derive(listed.read(first), f"{path}: {first.name}", size)
    if how["kind"] != ("log-mel" if first.is_sound else "image"):
        raise BadInput(f"{path} holds {'sounds' if first.is_sound else 'images'}, but the bundle takes {how['kind']}.")
    _check_memory(str(path), len(listed.entries), kind, how)
    decoded, changed = _decode(listed, kind, how, tick)
    notes = list(listed.notes)
    if changed and preprocessing is None and size is None:
        what = f"{how['sample_rate']} Hz" if first.is_sound else f"{how['width']}x{how['height']} pixels"
        choose = "" if first.is_sound else "; --input-size chooses another"
        notes.append(
            f"{path}: {changed:,} of {len(listed.entries):,} files were converted to {what}, like {first.name}{choose}."
        )
    cut = len(splits["test"])  # entries are sorted: test before train
    decoded = _with_channel(decoded, how)
    x_test, x_train = decoded[:cut], decoded[cut:]
    if how["kind"] == "log-mel" and "mean" not in (preprocessing or {}):
        how = {**how, "mean": round(float(x_train.mean()), 4), "scale": round(1 / float(x_train.std() + 1e-9), 4)}
    y_train, y_test = (np.array([labels.index(e.label) for e in splits[s]], np.int64) for s in ("train", "test"))
    return Dataset(path.stem, tuple(labels), how, x_train, y_train, x_test, y_test, tuple(notes))


def _labels(listed: Files, splits: dict[str, list[Entry]]) -> list[str]:
    """The classes; :class:`BadInput` unless both splits have examples of the same, all of one kind."""
    path = listed.path
    for split, entries in splits.items():
        if not entries:
            more = f" ({' '.join(listed.notes)[:500]})" if listed.notes else ""
            raise BadInput(
                f"{path} has no {split}/<class>/ with images ({' '.join(files.IMAGES)}) or sounds "
                f"({' '.join(files.SOUNDS)}); sort the files that way{more}."
            )
    labels = sorted({entry.label for entry in splits["train"]})
    if len(labels) < 2:
        raise BadInput(
            f"{path} has only one class in train/ ('{excerpt(labels[0])}'); a classifier needs at least two."
        )
    tested = {entry.label for entry in splits["test"]}
    unknown = sorted(tested - set(labels))
    if unknown:
        raise BadInput(f"{path} has classes in test/ that train/ lacks: {excerpt(', '.join(unknown))}.")
    if len({entry.is_sound for entry in listed.entries}) > 1:
        raise BadInput(f"{path} mixes images and sounds; keep one kind.")
    for label in labels:
        if label not in tested:
            listed.notes.append(f"{path}: test/ has no example of '{excerpt(label)}', so nothing measures that class.")
    return labels


def _decode(listed: Files, kind: Any, how: dict[str, Any], tick: Tick) -> tuple[np.ndarray, int]:
    """All examples in the order of the entries, and how many had another size than asked for."""
    total, start, changed = len(listed.entries), 0, 0

    def one(entry: Entry, content: bytes) -> images.Decoded:
        decoded: images.Decoded = kind.decode(content, f"{listed.path}: {excerpt(entry.name, 120)}", how)
        return decoded

    result: np.ndarray | None = None
    # Reading is sequential (one archive handle), decoding runs in threads: PIL and numpy release the lock.
    with ThreadPoolExecutor(max_workers=2) as pool:
        for chunk in _chunks(listed.entries):
            rows = list(pool.map(one, chunk, [listed.read(entry) for entry in chunk]))
            if result is None:
                result = np.empty((total, *rows[0].values.shape), rows[0].values.dtype)
            for row in rows:
                result[start] = row.values
                changed += row.changed
                start += 1
            tick("read data", start, total, "")
    assert result is not None
    return result, changed


def _chunks(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Entries in order, in parts whose contents fit into memory together."""
    part: list[Entry] = []
    for entry in entries:
        if part and (len(part) == CHUNK or sum(e.size for e in part) + entry.size > CHUNK_BYTES):
            yield part
            part = []
        part.append(entry)
    yield part
