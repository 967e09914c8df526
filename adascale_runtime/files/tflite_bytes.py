"""A flatbuffer reader for damaged or hostile files: it stays inside the file, and its work is bounded.

Standard library only and Python 3.8 compatible. What is read of a .tflite, and what it must be, is in
:mod:`adascale_runtime.files.tflite_file`. The format: https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from typing import Any, Dict, List, Optional, Tuple

_FORMATS = {code: struct.Struct("<" + code) for code in "bBHiIqQf"}


class Damaged(Exception):
    """The bytes are no flatbuffer of a model, or of one that nothing should run; the message says why."""


class Reader:
    """The bytes of a flatbuffer. ``budget`` limits how many bytes of vectors are read in all: an honest file holds most
    vectors once, so a few times its size is enough, while a hostile one names the same vector a million times."""

    def __init__(self, data: Any) -> None:
        self.data, self.size = data, len(data)
        self.budget = 4 * self.size + (1 << 16)
        self._vtables: Dict[int, Tuple[int, Tuple[int, ...]]] = {}

    def number(self, code: str, position: int) -> Any:
        """The number of a ``struct`` code at a position."""
        form = _FORMATS[code]
        if position < 0 or position + form.size > self.size:
            raise Damaged("it refers to data outside of the file")
        return form.unpack_from(self.data, position)[0]

    def target(self, position: int) -> int:
        """Where the offset at a position leads to."""
        return int(position + self.number("I", position))

    def root(self) -> "FlatTable":
        """The table that the file begins with."""
        return self.table(self.target(0))

    def table(self, position: int) -> "FlatTable":
        """The table at a position, with every one of its fields inside of it and it inside of the file."""
        if position % 4:
            raise Damaged("one of its tables is not aligned")
        start = position - self.number("i", position)
        if start not in self._vtables:
            self._vtables[start] = self._vtable(start)
        size, fields = self._vtables[start]
        if position + size > self.size:
            raise Damaged("one of its tables ends outside of the file")
        return FlatTable(self, position, fields)

    def _vtable(self, start: int) -> Tuple[int, Tuple[int, ...]]:
        length, size = self.number("H", start), self.number("H", start + 2)
        if start % 2 or length % 2 or length < 4 or size < 4 or start + length > self.size:
            raise Damaged("one of its tables has no valid fields")
        fields = struct.unpack_from("<{}H".format(length // 2 - 2), self.data, start + 4)
        if any(offset and not 4 <= offset < size for offset in fields):
            raise Damaged("one of its tables has a field outside of the table")
        return size, fields

    def vector(self, position: int, item_bytes: int) -> Tuple[int, int]:
        """Where the items of a vector begin, and how many there are."""
        count = self.number("I", position)
        if position % 4 or position + 4 + count * item_bytes > self.size:
            raise Damaged("one of its vectors ends outside of the file")
        return position + 4, int(count)

    def spend(self, size: int) -> None:
        """Count bytes of a vector that are read one by one."""
        self.budget -= size
        if self.budget < 0:
            raise Damaged("it refers to the same parts too often")


class FlatTable:
    """A table of a flatbuffer; fields are counted from 0, in the order of the schema."""

    __slots__ = ("fields", "position", "reader")

    def __init__(self, reader: Reader, position: int, fields: Tuple[int, ...]) -> None:
        self.reader, self.position, self.fields = reader, position, fields

    def at(self, field: int) -> int:
        """The position of a field, or 0 if it is absent."""
        offset = self.fields[field] if field < len(self.fields) else 0
        return self.position + offset if offset else 0

    def number(self, field: int, code: str, default: int = 0) -> Any:
        """The number in a field."""
        place = self.at(field)
        return self.reader.number(code, place) if place else default

    def vector(self, field: int, item_bytes: int) -> Tuple[int, int]:
        """Where the items of a vector begin, and how many there are; none if the field is absent."""
        place = self.at(field)
        return self.reader.vector(self.reader.target(place), item_bytes) if place else (0, 0)

    def numbers(self, field: int, code: str) -> Tuple[Any, ...]:
        """The numbers of a vector."""
        width = _FORMATS[code].size
        start, count = self.vector(field, width)
        if not count:
            return ()
        self.reader.spend(count * width)
        return struct.unpack_from("<{}{}".format(count, code), self.reader.data, start)

    def text(self, field: int) -> bytes:
        """The bytes of a string; empty if the field is absent."""
        start, count = self.vector(field, 1)
        if start and self.reader.number("B", start + count) != 0:
            raise Damaged("one of its names is not terminated")
        self.reader.spend(count)
        return bytes(self.reader.data[start : start + count])

    def table(self, field: int) -> Optional["FlatTable"]:
        """The table that a field leads to, or None."""
        place = self.at(field)
        return self.reader.table(self.reader.target(place)) if place else None

    def tables(self, field: int, most: int, what: str) -> List["FlatTable"]:
        """The tables of a vector, ``most`` at most."""
        start, count = self.vector(field, 4)
        if count > most:
            raise Damaged("it has {} {}; at most {} are allowed".format(count, what, most))
        self.reader.spend(4 * count)
        return [self.reader.table(self.reader.target(start + 4 * index)) for index in range(count)]
