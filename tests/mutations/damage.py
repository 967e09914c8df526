"""Seeded damage: bytes, text, JSON and archives, changed as disks, links, other programs and attackers change them.

Every function takes a :class:`random.Random` and is repeatable.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

#: What text is replaced by: what a terminal obeys, what is no character, what is very long.
STRINGS = (
    "", "\0", "\x1b[31m\x1b]0;x\x07", "[/x]", "[link=http://x]y", "\ud800", "‮", "../../etc/passwd", "/etc/passwd",
    "a" * 300_000, "a\nb", "nan", "1e999", "-1", "full", "{0}{x}%s%n", "é" * 300, "con", "é" * 5000 + "\udfff",
)  # fmt: skip
#: What numbers are replaced by.
NUMBERS = (
    0, -1, 1, 2, 0.5, -0.5, 1e-320, 1e308, -1e308, 1e15, 2**31, 2**31 - 1, -(2**31), 2**53 + 1, 2**63, 2**64, 10**30,
    10**400, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
DEEP = 800


def binary(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one or a few places changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_BINARY)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if found:
            found[_place(len(found), rng)] ^= 1 << rng.randrange(8)
    return bytes(found)


def _place(size: int, rng: random.Random) -> int:
    """A position: often near an end, where headers and directories are."""
    return rng.choice((rng.randrange(size), min(size - 1, rng.randrange(64)), max(0, size - 1 - rng.randrange(64))))


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.8 else data[rng.randrange(len(data) + 1) :]


def _word(data: bytes, rng: random.Random) -> bytes:
    """An aligned number of 32 or 16 bits replaced: offsets, sizes and counts of binary formats."""
    form, size = rng.choice((("<I", 4), (">I", 4), ("<H", 2)))
    if len(data) < size:
        return data
    place = _place(len(data) - size + 1, rng) // size * size
    old = struct.unpack_from(form, data, place)[0]
    top = 256**size - 1
    value = rng.choice(
        (0, 1, 2, 3, 255, top, top - 3, top // 2 + 1, top // 2, old + 1, old - 1, old * 2, old + 4, 1000)
    )
    return data[:place] + struct.pack(form, value & top) + data[place + size :]


def _blank(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    size = min(rng.choice((4, 64, 4096)), len(data) - start)
    return data[:start] + bytes([rng.choice((0, 0, 255))]) * size + data[start + size :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = rng.randbytes(rng.choice((1, 4, 1000))) if rng.random() < 0.5 else data[start : start + 5000]
    return data[:start] + piece + data[start:]


_BINARY: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _cut,
    _word,
    _word,
    _word,
    _blank,
    _insert,
)


def text(data: bytes, rng: random.Random) -> bytes:
    """Lines of text with some changed."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        lines = data.split(b"\n")
        place = rng.randrange(len(lines))
        kind = rng.randrange(8)
        if kind == 0:
            del lines[place]
        elif kind == 1:
            lines.insert(place, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines[place] = _encoded(rng.choice(STRINGS))
        elif kind == 3:
            head, colon, _ = lines[place].partition(b":")
            lines[place] = head + colon + b" " + _encoded(str(rng.choice((*NUMBERS[:-4], "9" * 5000, "nan", "inf"))))
        elif kind == 4:
            head, colon, _ = lines[place].partition(b":")
            lines[place] = head + colon + b" " + _encoded(rng.choice(STRINGS))
        elif kind == 5:
            lines[place] += b" " * rng.choice((10, 2_000_000)) + b"x"
        elif kind == 6:
            lines[place : place + 1] = [lines[place]] * min(
                rng.choice((2, 50, 20_000)), 2 + (4 << 20) // (1 + len(lines[place]))
            )
        else:
            return binary(data, rng)
        data = b"\n".join(lines)[: 4 << 20]
    return data


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


# --- JSON


class _Text(str):
    """A value that is written as it is, JSON or not."""


def tree(value: Any, rng: random.Random) -> Any:
    """Parsed JSON with one to three places changed."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _changed(value, rng)
    return value


def written(value: Any) -> bytes:
    """The JSON of :func:`tree`'s value, with what no writer of JSON would write."""
    raw: list[str] = []

    def marked(item: Any) -> Any:
        if isinstance(item, _Text):
            raw.append(str(item))
            return f"@raw{len(raw) - 1}@"
        if isinstance(item, dict):
            return {(marked(key) if isinstance(key, _Text) else key): marked(part) for key, part in item.items()}
        return [marked(part) for part in item] if isinstance(item, list) else item

    found = json.dumps(marked(value))
    for number, piece in reversed(list(enumerate(raw))):
        found = found.replace(f'"@raw{number}@"', piece)
    return found.encode()


def _places(value: Any) -> list[list[tuple[Any, Any]]]:
    """(container, key) of everything below a value, by field: the items of a list are one field."""
    found: dict[tuple[str, ...], list[tuple[Any, Any]]] = {}
    left: list[tuple[Any, tuple[str, ...]]] = [(value, ())]
    while left:
        at, path = left.pop()
        if isinstance(at, dict):
            items = [(key, (*path, str(key)[:40])) for key in at]
        else:
            items = [(key, (*path, "*")) for key in range(len(at))] if isinstance(at, list) else []
        for key, below in items:
            found.setdefault(below, []).append((at, key))
            left.append((at[key], below))
    return list(found.values())


def _changed(value: Any, rng: random.Random) -> Any:
    fields = _places(value)
    if not fields:
        return rng.choice(_VALUES)(value, rng)
    field = rng.choice(fields)
    container, key = rng.choice(field)
    old = container[key]
    if rng.random() < 0.5:  # of the same type, so that more than the types' check sees it
        new = _alike(old, rng)
        for holder, name in field if rng.random() < 0.3 else [(container, key)]:
            holder[name] = new
        return value
    kind = rng.randrange(10)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[_Text(json.dumps(key))] = old  # given twice
    elif kind == 2 and isinstance(container, dict):
        del container[key]
        container[rng.choice(STRINGS)] = old
    elif kind == 3:
        other, name = rng.choice(rng.choice(fields))
        container[key] = json.loads(written(other[name])) if _small(other, name) else None
    elif kind == 4 and isinstance(old, list):
        container[key] = rng.choice(([], old * 2, old * 500, [*old, None], [*old, old[:1]], old[::-1], old[:1]))
    else:
        container[key] = rng.choice(_VALUES)(old, rng)
    return value


def _alike(old: Any, rng: random.Random) -> Any:
    """Another value of the same type."""
    if isinstance(old, bool) or old is None:
        return not old
    if isinstance(old, int):
        return rng.choice(
            (0, 1, -1, 2, 7, 1000, 2**31, 2**62, -(2**62), old + 1, old - 1, old * 10, old // 3, old * 10**6)
        )
    if isinstance(old, float):
        return rng.choice(
            (0, 0.0, -0.5, 0.5, 1, 1.5, 1e-12, 1e-300, 1e12, 1e300, -1e300, old * 10, old / 7, -old, old * 1e6)
        )
    if isinstance(old, str):
        return rng.choice((*STRINGS[:9], old + "x", old[:-1], old.upper(), "./" + old, old * 3, rng.choice(STRINGS)))
    if isinstance(old, list):
        return rng.choice(([], old * 2, old[::-1], old[:1], old[:-1], [*old, *old[:1]]))
    return {}


def _small(container: Any, key: Any) -> bool:
    try:
        json.loads(written(container.get(key) if isinstance(container, dict) else container[key]))
    except (ValueError, RecursionError, IndexError):
        return False
    return True


_VALUES: tuple[Callable[[Any, random.Random], Any], ...] = (
    lambda old, rng: rng.choice(NUMBERS),
    lambda old, rng: rng.choice(NUMBERS),
    lambda old, rng: rng.choice(STRINGS),
    lambda old, rng: rng.choice((None, True, False, [], {}, [[]], {"": None}, [1, 2, 3], ["a"], {"kind": "image"})),
    lambda old, rng: _Text(rng.choice(("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "9" * 5000, "01"))),
    lambda old, rng: str(old)[:100] if not isinstance(old, str) else len(old),
)


def json_file(data: bytes, rng: random.Random, repair: Callable[[Any], Any] = lambda tree: tree) -> bytes:
    """A JSON file: mostly its values changed (``repair`` then mends what must fit), else its bytes."""
    if rng.random() < 0.12:
        return binary(data, rng)
    if rng.random() < 0.04:
        return rng.choice((b"\xef\xbb\xbf" + data, data.decode().encode("utf-16"), b"[" * 100_000, b"", b"null\n"))
    return written(repair(tree(json.loads(data), rng)))


def json_lines(data: bytes, rng: random.Random) -> bytes:
    """A JSON-lines file: values of one or two lines, or its lines as text."""
    if rng.random() < 0.2:
        return text(data, rng)
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2))):
        place = 0 if rng.random() < 0.3 else rng.randrange(max(1, len(lines) - 1))
        if lines[place].strip():
            try:
                lines[place] = json_file(lines[place], rng)
            except (ValueError, RecursionError):  # damaged before
                lines[place] = binary(lines[place], rng)
    return b"\n".join(lines)


# --- archives and images


def archive(data: bytes, rng: random.Random, inside: Callable[[str, bytes, random.Random], bytes] | None) -> bytes:
    """A .zip: its bytes, its directory, or a member (by ``inside``) with its checksum put right."""
    if inside is None or rng.random() < 0.4:
        return binary(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
    place = rng.randrange(len(members))
    name, content = members[place]
    kind = rng.randrange(8)
    if kind == 0:
        del members[place]
    elif kind == 1:
        members.append((name, content))
    elif kind == 2:
        members[place] = (
            rng.choice(("../x", "/x", "a\\b", "train/x.png", name + "/", "é" * 200, "train/../e.png")),
            content,
        )
    elif kind == 3:
        members[place] = (name, bytes(rng.choice((0, 50_000_000))))
    else:
        members[place] = (name, inside(name, content, rng))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))) as new:
        for name, content in members:
            new.writestr(zipfile.ZipInfo(name[:60_000]), content, compress_type=new.compression)
    return buffer.getvalue()


def array(data: bytes, rng: random.Random) -> bytes:
    """A .npy file: its header (shape, type, order) or its bytes."""
    if rng.random() < 0.3:
        return binary(data, rng)
    size = struct.unpack_from("<H", data, 8)[0]
    header = data[10 : 10 + size].decode("latin-1")
    changes = (
        ("(", "(-1, "), ("(", "(0, "), ("(", "(99999999999, "), ("(", "(2, "), ("(", "(" * 300), ("|u1", "<f8"),
        ("|u1", "|O"), ("<i8", "<f4"), ("<i8", "<U9"), ("<i8", "<c16"), ("|u1", "<M8[s]"), ("False", "True"),
        ("descr", "desc"), ("|u1", "|u1x"), (", ", ","), ("|u1", "|i1"), ("<i8", "|V8"),
    )  # fmt: skip
    old, new = rng.choice(changes)
    changed = header.replace(old, new, 1).encode("latin-1")
    return data[:8] + struct.pack("<H", len(changed) & 0xFFFF) + changed + data[10 + size :]


def picture(data: bytes, rng: random.Random) -> bytes:
    """A .png: its bytes, or a chunk with its checksum put right."""
    if rng.random() < 0.4:
        return binary(data, rng)
    chunks, place = [], 8
    while place + 12 <= len(data):
        size = struct.unpack_from(">I", data, place)[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    number = 0 if rng.random() < 0.5 else rng.randrange(len(chunks))
    kind, content = chunks[number]
    if kind == b"IHDR" and rng.random() < 0.7:
        width, height = rng.choice(((0, 0), (1, 1), (60_000, 60_000), (2**31, 2**31), (20_000, 2), (9, 8)))
        content = struct.pack(">II", width & 0xFFFFFFFF, height & 0xFFFFFFFF) + content[8:]
    else:
        content = binary(content, rng)
    chunks[number] = (kind, content)
    if rng.random() < 0.2:
        chunks.insert(1, (rng.choice((b"iCCP", b"zTXt", b"tEXt", b"eXIf", b"acTL")), rng.randbytes(40)))
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return data[:8] + b"".join(parts)
