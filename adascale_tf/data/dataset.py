"""What ``--data SPEC`` means: ``digits``, a folder or .zip of classes, or a .npz of arrays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adascale_tf.data import audio, images
from adascale_tf.data.files import Entry, Files
from adascale_tf.errors import BadInput
from adascale_tf.progress import Tick, silent


@dataclass(frozen=True)
class Dataset:
    """Examples with labels, in a training and a test split.

    ``x_*``: uint8 images (N, H, W, C), or float32 arrays such as log-mel frames (N, T, F). ``y_*``: int64 (N,),
    positions in ``labels``. ``preprocessing``: how a raw file becomes an example; it travels in the manifest.
    """

    name: str
    labels: tuple[str, ...]
    preprocessing: dict[str, Any]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.x_train.shape[1:])

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Examples as the network takes them: float32, ``(x - mean) * scale``. Large sets stay small until here."""
        values = x.astype(np.float32)
        if self.preprocessing.get("mean"):
            values -= np.float32(self.preprocessing["mean"])
        return values * np.float32(self.preprocessing.get("scale", 1.0))


def load(spec: str, preprocessing: dict[str, Any] | None = None, tick: Tick = silent) -> Dataset:
    """Read the data that ``spec`` names; ``preprocessing`` from a manifest makes it exactly what a bundle expects.

    ``tick("read data", ...)`` while files are decoded. :class:`BadInput` says what is wrong with the data.
    """
    if spec == "digits":
        return fit(_digits(), preprocessing)
    path = Path(spec)
    if not path.exists():
        raise BadInput(f"There is no data at '{spec}'; give 'digits', a folder, a .zip or a .npz.")
    if path.suffix == ".npz":
        return fit(_arrays(path), preprocessing)
    if path.is_dir() or path.suffix == ".zip":
        return _classes(path, preprocessing, tick)
    raise BadInput(f"{spec} is neither a folder, a .zip nor a .npz; give data in one of these forms.")


def fit(data: Dataset, preprocessing: dict[str, Any] | None) -> Dataset:
    """Arrays as ``preprocessing`` asks: images of its height, width and channels (bilinear), its mean and scale."""
    if preprocessing is None:
        return data
    x_train, x_test = data.x_train, data.x_test
    if "height" in preprocessing:
        if x_train.ndim != 4 or x_train.dtype != np.uint8:
            raise BadInput(f"{data.name} has inputs {data.input_shape}, but images (uint8) are needed.")
        x_train, x_test = (images.resize(x, preprocessing) for x in (x_train, x_test))
    return replace(data, preprocessing={**data.preprocessing, **preprocessing}, x_train=x_train, x_test=x_test)


def _digits() -> Dataset:
    """Scikit-learn's 1,797 handwritten digits, 8x8 resized to 32x32 (bilinear), a fifth of each class for testing."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)
    resized = np.stack([np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BILINEAR)) for p in pixels])
    x_train, x_test, y_train, y_test = train_test_split(
        resized[..., None], found.target.astype(np.int64), test_size=0.2, stratify=found.target, random_state=0
    )
    how = {"kind": "image", "height": 32, "width": 32, "channels": 1, "scale": 1 / 255}
    return Dataset("digits", tuple(str(n) for n in range(10)), how, x_train, y_train, x_test, y_test)


def _arrays(path: Path) -> Dataset:
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise BadInput(f"{path} has no {', '.join(missing)}; save {', '.join(names)} with numpy.savez.")
            x_train, y_train, x_test, y_test = (file[name] for name in names)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path} is not a readable .npz file ({error}); save it again.") from None
    for split, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if not len(x) or y.shape != (len(x),):
            raise BadInput(f"{path}: x_{split} {x.shape} and y_{split} {y.shape} do not pair up, one label an example.")
        if x.dtype != np.uint8 and not (np.issubdtype(x.dtype, np.floating) and np.isfinite(x).all()):
            raise BadInput(f"{path}: x_{split} should be uint8, or floats without NaN or infinity, not {x.dtype}.")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise BadInput(f"{path}: x_train and x_test differ in shape, {x_train.shape[1:]} and {x_test.shape[1:]}.")
    values = np.unique(y_train)
    if len(values) < 2 or not np.isin(y_test, values).all():
        raise BadInput(f"{path}: y_train needs at least two classes, and y_test none that y_train lacks.")
    if x_train.dtype != np.uint8:
        x_train, x_test = x_train.astype(np.float32), x_test.astype(np.float32)
    how = {"kind": "array", "scale": 1 / 255 if x_train.dtype == np.uint8 else 1.0}
    positions = (np.searchsorted(values, y).astype(np.int64) for y in (y_train, y_test))
    y_train, y_test = positions
    return Dataset(path.stem, tuple(str(v) for v in values), how, x_train, y_train, x_test, y_test)


def _classes(path: Path, preprocessing: dict[str, Any] | None, tick: Tick) -> Dataset:
    files = Files(path)
    splits = {split: [e for e in files.entries if e.split == split] for split in ("train", "test")}
    for split, entries in splits.items():
        if not entries:
            raise BadInput(f"{path} has no {split}/<class>/ with jpg, png or wav files; sort the files that way.")
    labels = sorted({entry.label for entry in splits["train"]})
    if len(labels) < 2:
        raise BadInput(f"{path} has only one class in train/ ('{labels[0]}'); a classifier needs at least two.")
    unknown = {entry.label for entry in splits["test"]} - set(labels)
    if unknown:
        raise BadInput(f"{path} has classes in test/ that train/ lacks: {', '.join(sorted(unknown))}.")
    if len({entry.is_sound for entry in files.entries}) > 1:
        raise BadInput(f"{path} mixes images and sounds; keep one kind.")
    first = splits["train"][0]
    kind: Any = audio if first.is_sound else images
    how = preprocessing or kind.derive(files.read(first), f"{path}: {first.name}")
    if (how["kind"] == "log-mel") != first.is_sound:
        raise BadInput(f"{path} holds {'sounds' if first.is_sound else 'images'}, but the bundle takes {how['kind']}.")
    decoded = _decode(files, kind, how, tick)
    cut = len(splits["test"])  # entries are sorted: test before train
    x_test, x_train = decoded[:cut], decoded[cut:]
    if preprocessing is None and how["kind"] == "log-mel":
        how = {**how, "mean": round(float(x_train.mean()), 4), "scale": round(1 / float(x_train.std() + 1e-9), 4)}
    y_train, y_test = (np.array([labels.index(e.label) for e in splits[s]], np.int64) for s in ("train", "test"))
    return Dataset(path.stem, tuple(labels), how, x_train, y_train, x_test, y_test)


def _decode(files: Files, kind: Any, how: dict[str, Any], tick: Tick) -> np.ndarray:
    total = len(files.entries)

    def one(entry: Entry, content: bytes) -> np.ndarray:
        return np.asarray(kind.decode(content, f"{files.path}: {entry.name}", how))

    # Reading is sequential (one archive handle), decoding runs in threads: PIL and numpy release the lock.
    result: np.ndarray | None = None
    chunk = 256
    with ThreadPoolExecutor(max_workers=2) as pool:
        for start in range(0, total, chunk):
            entries = files.entries[start : start + chunk]
            rows = list(pool.map(one, entries, [files.read(entry) for entry in entries]))
            if result is None:
                result = np.empty((total, *rows[0].shape), rows[0].dtype)
            result[start : start + len(rows)] = rows
            tick("read data", start + len(rows), total, "")
    assert result is not None
    return result
