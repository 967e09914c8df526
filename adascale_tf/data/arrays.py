"""Arrays of .npz files: declared sizes are compared with the file's before memory is allocated."""

from __future__ import annotations

import math
import warnings
import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_runtime.text import excerpt

NAMES = ("x_train", "y_train", "x_test", "y_test")
_INPUTS = "uint8, or floats without NaN or infinity"
#: Kinds of dtypes that inputs and labels may have, and the words for them.
_KINDS = {"x": ("uf", _INPUTS), "y": ("biuU", "whole numbers or names")}


class Arrays(NamedTuple):
    """Checked arrays: ``x_*`` uint8 or finite float32, ``y_*`` positions (int64) in ``labels``."""

    labels: tuple[str, ...]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def read(path: Path) -> Arrays:
    """The four arrays of a .npz file; :class:`BadInput` says what is wrong with them."""
    with archives.opened(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        missing = [name for name in NAMES if f"{name}.npy" not in infos]
        if missing:
            raise BadInput(f"{path} has no {', '.join(missing)}; save {', '.join(NAMES)} with numpy.savez.")
        x_train, y_train, x_test, y_test = (_array(path, name, archive, infos[f"{name}.npy"]) for name in NAMES)
    return checked(str(path), x_train, y_train, x_test, y_test)


def checked(where: str, x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> Arrays:
    """Arrays that fit together, as they are kept: classes become positions.

    Args:
        where: names the arrays in messages.
        x_train, x_test: uint8 or finite floats, (N, ...) with the same shape of an example.
        y_train, y_test: whole numbers or names, (N,).

    Raises:
        BadInput: says what is wrong with them.
    """
    for name, array in zip(NAMES, (x_train, y_train, x_test, y_test), strict=True):
        _check_kind(where, name, array.dtype)
    for split, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if x.ndim < 2 or not x.size or y.shape != (len(x),):
            raise BadInput(
                f"{where}: x_{split} {x.shape} and y_{split} {y.shape} do not match; give one label per example, and "
                "at least one example."
            )
    if x_train.shape[1:] != x_test.shape[1:]:
        raise BadInput(f"{where}: x_train and x_test differ in shape, {x_train.shape[1:]} and {x_test.shape[1:]}.")
    if x_train.dtype != x_test.dtype and np.uint8 in (x_train.dtype, x_test.dtype):
        raise BadInput(f"{where}: x_train is {x_train.dtype} and x_test {x_test.dtype}; save both with the same type.")
    values = np.unique(y_train)
    alike = (y_train.dtype.kind == "U") == (y_test.dtype.kind == "U")
    if len(values) < 2 or not alike or not np.isin(y_test, values).all():
        raise BadInput(f"{where}: y_train needs at least two classes, and it must have every class of y_test.")
    y_train, y_test = (np.searchsorted(values, y).astype(np.int64) for y in (y_train, y_test))
    labels = tuple(str(value) for value in values.tolist())
    return Arrays(labels, _input(where, "x_train", x_train), y_train, _input(where, "x_test", x_test), y_test)


def _check_kind(where: str, name: str, dtype: np.dtype) -> None:
    kinds, wanted = _KINDS[name[0]]
    if dtype.kind not in kinds:
        raise BadInput(f"{where}: {name} should be {wanted}, not {excerpt(str(dtype), 40)}.")


def _array(path: Path, name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, if its header declares exactly the bytes that follow it."""
    try:
        with archive.open(info) as file:
            shape, dtype = _header(file)
            _check_kind(str(path), name, dtype)
            size = math.prod(shape) * dtype.itemsize
            archives.check_size(size, f"{path}: {name} {excerpt(str(shape), 40)}")
            held = info.file_size - file.tell()
            if min(shape, default=1) < 0 or size != held:
                raise BadInput(f"{path}: {name} declares {size:,} bytes, but the file holds {held:,}; save it again.")
        with archive.open(info) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except BadInput:
        raise
    except Exception as error:  # numpy parses headers as Python, which fails in many ways
        reason = excerpt(str(error)) or type(error).__name__
        raise BadInput(f"{path} is not a readable .npz file ({name}: {reason}); save it again.") from None


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype as a .npy file declares them; nothing else is read."""
    with warnings.catch_warnings():  # numpy warns of headers written by Python 2
        warnings.simplefilter("ignore")
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)[::2]
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(file)[::2]
    raise ValueError(f"version {version[0]}.{version[1]} of the format")


def _input(where: str, name: str, x: np.ndarray) -> np.ndarray:
    """Examples as they are kept: uint8, or float32 that is finite."""
    if x.dtype == np.uint8:
        return x
    with np.errstate(over="ignore"):
        values = x.astype(np.float32)
    if x.dtype.kind != "f" or not np.isfinite(values).all():
        raise BadInput(f"{where}: {name} should be {_INPUTS} in float32, not {x.dtype}.")
    return values
