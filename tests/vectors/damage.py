"""Damage to files, drawn from a seed: other values in JSON, and other bytes in text."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

#: What a value is replaced by.
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 300, 1 << 31, 1 << 40, 1 << 63, 0.5, -0.25, 1.5, 1e-7, 1e20, 1e308, "", " ", "x",
    "float32", "int8", "full", "../x", "a\\b", "a\0b", "caf\u00e9", "\u202e", "\ud800", "\U0001f600", "0", "1024",
    [], [1], [1, 24], [1, 1 << 20, 1 << 20], [[]], {}, {"x": 1}, {"x": "y"}, {"reuse": {"0": 1.0}},
    {"a-b": {"count": -1}},
)  # fmt: skip
#: What a byte is replaced by, or what is put before it.
_BYTES = (
    b"", b"}", b"]", b",", b":", b'"', b"\\", b"\\u12", b"\\ud834", b"\x00", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80",
    b"NaN", b"-Infinity", b"-", b"0", b"1e999", b"9" * 30, b"\n", b" ", b"[" * 80,
    b"null", b"tru", b".5", b"\xef\xbb\xbf",
)  # fmt: skip


def changed(data: Any, rng: Random, count: int) -> Iterator[Any]:
    """``count`` copies of parsed JSON, each with one or two values that are replaced, left out or given twice."""
    for _ in range(count):
        copied = copy.deepcopy(data)
        for _ in range(rng.choice((1, 1, 1, 2))):
            _change(copied, rng)
        yield copied


def _change(data: Any, rng: Random) -> None:
    places = list(_places(data))
    if not places:
        return
    # Depth first, so that the few fields near the root are met as often as the many below.
    depth = rng.choice(sorted({depth for depth, _, _ in places}))
    _, holder, key = rng.choice([place for place in places if place[0] == depth])
    act = rng.random()
    if act < 0.2:
        del holder[key]
    elif act < 0.3 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif act < 0.4 and isinstance(holder, dict):
        holder["unknown"] = rng.choice(_VALUES)
    else:
        holder[key] = copy.deepcopy(rng.choice(_VALUES))


def _places(data: Any, depth: int = 0) -> Iterator[tuple[int, Any, Any]]:
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield depth, data, key
        yield from _places(data[key], depth + 1)


def texts(content: bytes, rng: Random, count: int) -> Iterator[bytes]:
    """``count`` copies of a text, each cut off, or with a few bytes that are replaced or put in."""
    for _ in range(count):
        act, at = rng.random(), rng.randrange(len(content))
        if act < 0.1:
            yield content[:at]
        elif act < 0.4:
            yield content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        else:
            yield content[:at] + rng.choice(_BYTES) + content[at + rng.choice((0, 1, 2)) :]


def written(data: Any) -> bytes:
    """Parsed JSON as text; lone surrogates stay as they are escaped."""
    return json.dumps(data).encode("ascii")
