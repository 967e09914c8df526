"""Frozen dataclasses to JSON and back, checked against their type hints.

Standard library only and Python 3.8 compatible, because the same code reads manifests and measurements on a phone.
Supported field types: ``str, int, float, bool, Any, Optional[T], Tuple[T, ...], Dict[str, T]`` and dataclasses. Unknown
keys are ignored, so that a newer writer may add facts; missing keys need a default.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
import types
import typing
from pathlib import Path
from typing import Any, Dict, Iterator, Type, TypeVar, Union

from adascale_tf.errors import BadInput

T = TypeVar("T")
#: ``Optional[X]`` and, from Python 3.10 on, ``X | None``.
_UNIONS = (Union, getattr(types, "UnionType", Union))


def to_json(value: Any) -> Any:
    """The JSON form of ``value``: dataclasses become objects, tuples become lists, NaN and infinities become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "item"):  # a numpy scalar
        return to_json(value.item())
    raise TypeError("cannot write a {} as JSON".format(type(value).__name__))


def from_json(cls: Type[T], data: Any, where: str) -> T:
    """An instance of the dataclass ``cls`` from parsed JSON; ``where`` names the source in error sentences."""
    return typing.cast(T, _decode(cls, data, where))


def _decode(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return data
    origin = typing.get_origin(kind)
    args = typing.get_args(kind)
    if origin in _UNIONS:
        if data is None:
            return None
        return _decode(next(arg for arg in args if arg is not type(None)), data, where)
    if origin is tuple:
        _expect(isinstance(data, list), where, "a list", data)
        return tuple(_decode(args[0], item, "{}[{}]".format(where, i)) for i, item in enumerate(data))
    if origin is dict:
        _expect(isinstance(data, dict), where, "an object", data)
        return {key: _decode(args[1], item, "{}.{}".format(where, key)) for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if kind is float:
        _expect(isinstance(data, (int, float)) and not isinstance(data, bool), where, "a number", data)
        return float(data)
    if kind is int:
        _expect(isinstance(data, int) and not isinstance(data, bool), where, "a whole number", data)
        return data
    _expect(isinstance(data, kind), where, "a {}".format(kind.__name__), data)
    return data


def _decode_dataclass(cls: Any, data: Any, where: str) -> Any:
    _expect(isinstance(data, dict), where, "an object", data)
    hints = _hints(cls)
    values: Dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name in data:
            values[field.name] = _decode(hints[field.name], data[field.name], "{}.{}".format(where, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise BadInput("{} has no '{}'; the file is incomplete, so write it again.".format(where, field.name))
    return cls(**values)


_HINTS: Dict[Any, Dict[str, Any]] = {}


def _hints(cls: Any) -> Dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def _expect(ok: bool, where: str, wanted: str, data: Any) -> None:
    if not ok:
        raise BadInput("{} should be {}, but is {}.".format(where, wanted, json.dumps(data)[:60]))


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file; one sentence (:class:`BadInput`) if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput("{} cannot be read ({}).".format(path, error.strerror or error)) from None
    except ValueError as error:
        raise BadInput("{} is not JSON ({}); was it cut off while it was written?".format(path, error)) from None


def read_lines(path: Path) -> Iterator[Any]:
    """The objects of a JSON-lines file. A last line without its newline was cut off by a kill and is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("{} cannot be read ({}).".format(path, error)) from None
    complete = text[: text.rfind("\n") + 1]
    for number, line in enumerate(complete.splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BadInput("{} line {} is not JSON ({}).".format(path, number, error)) from None


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a temporary name beside it, then rename."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: to a temporary name beside it, then rename."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".{}.".format(path.name), dir=str(path.parent))
    except OSError as error:
        raise BadInput("{} cannot be written ({}); choose another place.".format(path, error.strerror)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing behind it
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, str(path))
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):
            raise BadInput("{} cannot be written ({}).".format(path, error.strerror)) from None
        raise


def dump(value: Any) -> str:
    """Pretty JSON text of a dataclass or plain value, with a final newline."""
    return json.dumps(to_json(value), indent=1) + "\n"


def dump_line(value: Any) -> str:
    """One JSON line of a dataclass or plain value, with its newline."""
    return json.dumps(to_json(value), separators=(",", ":")) + "\n"
