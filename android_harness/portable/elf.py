"""What an ELF file says of itself: its processor, the libraries that it needs, how its segments are aligned. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from adascale_runtime.errors import BadInput

_MACHINES = {62: "x86_64", 183: "aarch64", 40: "arm", 3: "x86"}
_LOAD, _DYNAMIC = 1, 2
_NULL, _NEEDED, _STRTAB = 0, 1, 5
#: Entries of the tables that are looked at, of which real files have some dozens.
_MOST = 4096


@dataclass(frozen=True)
class Elf:
    """``machine`` as ``uname -m`` names it; ``alignment``: the largest page in bytes with which it can be loaded."""

    machine: str
    alignment: int
    needed: tuple[str, ...]

    @property
    def of_glibc(self) -> bool:
        """Whether it was linked with glibc, by whose loader it can be loaded; Android's libraries were not."""
        return "libc.so.6" in self.needed


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int
    alignment: int


def is_elf(data: bytes) -> bool:
    """Whether a file begins as ELF files do."""
    return data[:4] == b"\x7fELF"


def read(data: bytes, where: str) -> Elf:
    """Read a 64-bit little-endian program or library; :class:`BadInput` names it by ``where``."""
    if not is_elf(data) or data[4:6] != b"\x02\x01":
        raise BadInput(f"{where} is not a 64-bit ELF file.")
    try:
        (machine,) = struct.unpack_from("<H", data, 18)
        (table,) = struct.unpack_from("<Q", data, 32)
        entry, count = struct.unpack_from("<HH", data, 54)
        segments = [_segment(data, table + index * entry) for index in range(min(count, _MOST))]
        needed = _needed(data, segments)
    except (struct.error, ValueError, OverflowError):
        raise BadInput(f"{where} is damaged: it ends before its own tables do.") from None
    loaded = [segment.alignment for segment in segments if segment.kind == _LOAD]
    return Elf(_MACHINES.get(machine, f"machine {machine}"), min(loaded, default=0), needed)


def _segment(data: bytes, at: int) -> _Segment:
    kind, _, offset, address, _, size, _, alignment = struct.unpack_from("<IIQQQQQQ", data, at)
    return _Segment(kind, offset, address, size, alignment)


def _needed(data: bytes, segments: list[_Segment]) -> tuple[str, ...]:
    dynamic = next((segment for segment in segments if segment.kind == _DYNAMIC), None)
    if dynamic is None:
        return ()
    names, strings = [], None
    for index in range(min(dynamic.size // 16, _MOST)):
        tag, value = struct.unpack_from("<qQ", data, dynamic.offset + 16 * index)
        if tag == _NULL:
            break
        if tag == _NEEDED:
            names.append(value)
        elif tag == _STRTAB:
            strings = value
    if not names:
        return ()
    holders = [s for s in segments if s.kind == _LOAD and strings is not None and 0 <= strings - s.address < s.size]
    if strings is None or not holders:
        raise ValueError("no strings")
    start = strings - holders[0].address + holders[0].offset
    return tuple(_string(data, start + name) for name in names)


def _string(data: bytes, at: int) -> str:
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8", "replace")
