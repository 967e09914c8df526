"""Memory that a process can still have: what the device has left, or less where a control group limits the process.

A control group (cgroup) with a limit ends a process in it that takes more, however much the device has left. The limits
of the group and of everything above it count. Page cache that the kernel can take back counts as free, as in
``MemAvailable``. Standard library only; the functions take the folder that stands for ``/``.

References:
    https://docs.kernel.org/admin-guide/cgroup-v2.html, "Memory"; https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

import math
import os
from typing import Dict, Iterator, NamedTuple, Optional, Tuple


class _Kind(NamedTuple):
    """Where a version of control groups keeps its numbers: files of limits and usage, lines of ``memory.stat``."""

    folders: Tuple[str, ...]
    limits: Tuple[str, ...]
    usage: str
    cache: Tuple[str, ...]


_V1 = _Kind(
    ("sys/fs/cgroup/memory", "dev/memcg"), ("memory.limit_in_bytes",), "memory.usage_in_bytes",
    ("total_active_file", "total_inactive_file"),
)  # fmt: skip
_V2 = _Kind(
    ("sys/fs/cgroup", "sys/fs/cgroup/unified"), ("memory.max", "memory.high"), "memory.current",
    ("active_file", "inactive_file"),
)  # fmt: skip
#: A limit of so many bytes is none: version 1 writes the largest number that fits where nothing is limited.
_NONE = float(1 << 60)
#: Levels of groups that are looked at.
_DEPTH = 32


def free_mb(root: str, device_mb: float) -> float:
    """The smaller of what the device has left and what the control groups of this process leave it, in MB.

    Args:
        root: The folder that stands for ``/``.
        device_mb: What the device has left, in MB (10^6 bytes).
    """
    room = room_mb(root)
    return device_mb if room is None else min(device_mb, room)


def room_mb(root: str) -> Optional[float]:
    """What the control groups of this process leave it, in MB, at least 0; None where none limits its memory.

    Files that are missing, denied or damaged limit nothing.
    """
    rooms = [room for kind, path in _groups(root) for room in _rooms(root, kind, path)]
    return max(0.0, min(rooms)) / 1e6 if rooms else None


def _groups(root: str) -> Iterator[Tuple[_Kind, str]]:
    """The groups of this process that may limit memory, by ``/proc/self/cgroup``."""
    for line in _text(os.path.join(root, "proc/self/cgroup")).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield _V2, path
        elif "memory" in controllers.split(","):
            yield _V1, path


def _rooms(root: str, kind: _Kind, path: str) -> Iterator[float]:
    """What each group from the root of the tree to ``path`` leaves, in bytes.

    A container sees its own group as the root of the tree, while its path may be that of the host: what is not there
    is passed over.
    """
    names = [name for name in path.split("/") if name not in ("", ".", "..")][:_DEPTH]
    for top in kind.folders:
        folder = os.path.join(root, top)
        for name in ("", *names):
            folder = os.path.join(folder, name) if name else folder
            room = _room(folder, kind)
            if room is not None:
                yield room


def _room(folder: str, kind: _Kind) -> Optional[float]:
    limits = [_bytes(_text(os.path.join(folder, name))) for name in kind.limits]
    limit = min((one for one in limits if one is not None), default=_NONE)
    usage = _bytes(_text(os.path.join(folder, kind.usage))) if limit < _NONE else None
    if usage is None:
        return None
    stat = _stat(os.path.join(folder, "memory.stat"))
    cache = sum(stat.get(name, 0.0) for name in kind.cache)
    return limit - max(0.0, usage - cache)


def _stat(path: str) -> Dict[str, float]:
    pairs = (line.split() for line in _text(path).splitlines())
    found = {pair[0]: _bytes(pair[1]) for pair in pairs if len(pair) == 2}
    return {name: value for name, value in found.items() if value is not None}


def _bytes(text: str) -> Optional[float]:
    """The amount that a text holds; None for ``max``, which is no limit, and for what is no amount."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0.0 else None


def _text(path: str) -> str:
    """What a file holds, without space around it; empty where it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 16).strip()
    except (OSError, ValueError):
        return ""
