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
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple, Type, TypeVar, Union

from adascale_runtime import text
from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_runtime.files.disk import Unwritable

T = TypeVar("T")
#: Levels of lists and objects that parsed JSON may have.
DEPTH = 64
#: Whole numbers are below this, so that they fit 64 bits.
_WHOLE = 1 << 63
#: Bytes of memory that parsed JSON may take for each byte of its text.
_MEMORY = 16
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
    """An instance of the dataclass ``cls`` from parsed JSON; ``where`` names the source in error sentences.

    Numbers are finite and whole numbers fit 64 bits; strings are valid Unicode; what is ``Any`` is not nested deeper
    than :data:`DEPTH`. Anything else is a :class:`BadInput`.
    """
    return typing.cast(T, _decode(cls, data, where))


def _decode(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return checked(data, where)
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
        return {_name(key, where): _decode(args[1], item, _below(where, key)) for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if kind is float:
        _expect(isinstance(data, (int, float)) and not isinstance(data, bool), where, "a number", data)
        return float(_number(data, where))
    if kind is int:
        _expect(isinstance(data, int) and not isinstance(data, bool), where, "a whole number", data)
        return _number(data, where)
    _expect(isinstance(data, kind), where, "a {}".format(_WORDS.get(kind, kind.__name__)), data)
    return _text(data, where) if kind is str else data


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
_WORDS = {str: "string", bool: "true or false"}


def _hints(cls: Any) -> Dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def _expect(ok: bool, where: str, wanted: str, data: Any) -> None:
    if not ok:
        raise BadInput("{} should be {}, but is {}.".format(where, wanted, _shown(data)))


def _shown(data: Any) -> str:
    try:
        return text.excerpt(json.dumps(data, default=repr))
    except (ValueError, RecursionError):
        return "a {}".format(type(data).__name__)


def _below(where: str, key: Any) -> str:
    return "{}.{}".format(where, text.excerpt(key))


def checked(data: Any, where: str, depth: int = 0) -> Any:
    """``data``, parsed JSON of any form, if its numbers, strings and depth are such that every reader can hold them."""
    if isinstance(data, str):
        return _text(data, where)
    if isinstance(data, (int, float)):
        return data if isinstance(data, bool) else _number(data, where)
    if depth >= DEPTH and isinstance(data, (dict, list)):
        raise BadInput(
            "{} is nested deeper than {} levels, too deeply to be one of adascale's files.".format(where[:200], DEPTH)
        )
    if isinstance(data, dict):
        for key, item in data.items():
            _name(key, where)
            if not _plain(item):
                checked(item, _below(where, key), depth + 1)
    elif isinstance(data, list):
        for index, item in enumerate(data):
            if not _plain(item):
                checked(item, "{}[{}]".format(where, index), depth + 1)
    return data


def _plain(item: Any) -> bool:
    """Whether there is nothing to check: most items, so that their places need not be put into words."""
    if isinstance(item, float):
        return item - item == 0.0
    return isinstance(item, str) and item.isascii()


def _number(data: Any, where: str) -> Any:
    if isinstance(data, int) and not -_WHOLE <= data < _WHOLE:
        raise BadInput("{} is a whole number of more than 64 bits; write a smaller one.".format(where))
    if isinstance(data, float) and not math.isfinite(data):
        raise BadInput("{} is not a finite number ({}); write null for a missing value.".format(where, data))
    return data


def _name(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise BadInput("{} has a key that is not a string ({}); put it in quotes.".format(where, text.excerpt(key)))
    return _text(key, where)


def _text(data: str, where: str) -> str:
    if not data.isascii():
        try:
            data.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadInput(
                "{} holds an unpaired surrogate (\\u{:04x}); write the file again.".format(
                    where, ord(data[error.start])
                )
            ) from None
    return data


def parse(content: Union[str, bytes], where: str) -> Any:
    """Parsed JSON from outside, checked as :func:`checked` does; ``where`` names its source in error sentences.

    A byte order mark is skipped. NaN, infinities and a key that is given twice are refused, since readers differ in
    what they make of them.
    """
    try:
        decoded = content.decode("utf-8") if isinstance(content, bytes) else content
        return checked(_DECODER.decode(decoded[1:] if decoded[:1] == "\ufeff" else decoded), where)
    except UnicodeDecodeError as error:
        raise BadInput("{} is not UTF-8 text (at byte {}); save it as UTF-8.".format(where, error.start)) from None
    except RecursionError:
        raise BadInput("{} is nested too deeply to be one of adascale's files.".format(where)) from None
    except ValueError as error:
        raise BadInput(
            "{} is not JSON ({}); was it cut off while it was written?".format(where, text.excerpt(str(error), 120))
        ) from None


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: Set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError("'{}' is given twice".format(text.excerpt(twice)))
    return members


def _constant(name: str) -> Any:
    raise ValueError("{} is not a JSON number".format(name))


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_constant)


def read_bytes(path: Path, memory: int = 1) -> bytes:
    """A whole file from outside, if it is within the limit of :mod:`adascale_runtime.files.archives`.

    ``memory``: how many bytes its reader needs for each byte of it.
    """
    most = archives.most_bytes() // memory
    try:
        with open(str(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(most + 1) if size <= most else b""
    except OSError as error:
        raise BadInput("{} cannot be read ({}).".format(path, error.strerror or error)) from None
    except ValueError as error:  # a NUL in the name
        raise BadInput("{} cannot be read ({}).".format(path, error)) from None
    size = max(size, len(data))
    if size > most:
        raise BadInput(
            "{} has {:,.1f} MB, above the limit of {:,.1f} MB for its kind; if you trust it, allow more with "
            "'adascale --max-gb {} ...'.".format(path, size / 1e6, most / 1e6, math.ceil(size * memory / 1e9))
        )
    return data


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file; one sentence (:class:`BadInput`) if it is missing or not JSON."""
    return parse(read_bytes(path, _MEMORY), str(path))


def read_lines(path: Path) -> Iterator[Any]:
    """The objects of a JSON-lines file. A last line without its newline was cut off by a kill and is left out."""
    lines = read_bytes(path, _MEMORY).split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        if line.strip():
            yield parse(line, "{} line {}".format(path, number))


def write_text(path: Path, content: str) -> None:
    """Write a whole file or nothing: to a temporary name beside it, then rename."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: to a temporary name beside it, then rename."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".{}.".format(path.name), dir=str(path.parent))
    except OSError as error:
        raise Unwritable("{} cannot be written ({}); choose another place.".format(path, error.strerror)) from None
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
        with suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise Unwritable(
                "{} cannot be written ({}); free some space or choose another place.".format(path, error.strerror)
            ) from None
        raise


def dump(value: Any) -> str:
    """Pretty JSON text of a dataclass or plain value, with a final newline."""
    return json.dumps(to_json(value), indent=1) + "\n"


def dump_line(value: Any) -> str:
    """One JSON line of a dataclass or plain value, with its newline."""
    return json.dumps(to_json(value), separators=(",", ":")) + "\n"
