"""The arrays of a checkpoint: .npz files that are written whole or not at all, and read as nothing but numbers."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives, disk
from adascale_runtime.text import excerpt


def read_arrays(path: Path, like: Mapping[str, np.ndarray], advice: str = "") -> dict[str, np.ndarray]:
    """The saved values of the names in ``like``, of the same shapes and types.

    Args:
        path: the file.
        like: arrays by name.
        advice: what to do where the file cannot be had again; by default to train again.

    Raises:
        BadInput: the file is damaged, or holds something else.
    """
    folder = path.parent
    if not path.is_file():
        raise BadInput(f"{folder} has no {path.name}, its newest epoch; delete the folder and train again.")
    try:
        with archives.opened(path) as archive:
            names = set(archive.namelist())
            lost = [name for name in like if f"{name}.npy" not in names]
            if lost:
                raise BadInput(f"{path} does not hold '{excerpt(lost[0])}'; copy it again.")
            arrays = {}
            for name, value in like.items():
                with archive.open(f"{name}.npy") as member:
                    content = member.read()
                arrays[name] = _array(content, value, f"{path}: {name}")
            return arrays
    except BadInput as error:
        raise BadInput(f"{str(error).rstrip('.')}, or {advice or f'delete {folder} and train again'}.") from None


def _array(content: bytes, like: np.ndarray, where: str) -> np.ndarray:
    """One member of a .npz, of the shape and type of ``like``: nothing else is made of it."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, kind = header(stream)
    except (ValueError, TypeError, EOFError) as error:
        raise BadInput(f"{where} is damaged ({excerpt(str(error))}); copy it again.") from None
    if (shape, kind) != (like.shape, like.dtype) or len(content) - stream.tell() != like.nbytes:
        raise BadInput(f"{where} is {kind} {shape}, but the network has {like.dtype} {like.shape}; copy it again.")
    values = np.frombuffer(content, kind, offset=stream.tell()).reshape(shape, order="F" if by_columns else "C")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadInput(f"{where} holds numbers that are not finite; copy it again.")
    return values


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a whole .npz or nothing, so that it is there even after a power cut."""
    temporary = path.with_name(f".{path.name}.partial")
    with disk.writing(path):
        try:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name
            finally:
                os.close(folder)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
