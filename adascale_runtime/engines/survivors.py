"""The record of branches that this machine has run without a crash, so that they are not tried again.

Kept in ``~/.cache/adascale/trials.json`` (``XDG_CACHE_HOME``) by the file's sha256, signature, delegate, version of
LiteRT and processor. A cache that cannot be written, or that is damaged, costs time only.
"""

from __future__ import annotations

import hashlib
import platform
from typing import Dict, List, Optional, Sequence

from adascale_runtime.device import identity
from adascale_runtime.engines.registry import lookup
from adascale_runtime.engines.releases import release
from adascale_runtime.errors import BadInput
from adascale_runtime.files import cache
from adascale_runtime.seams import bundle as bundles
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch

FILE, FORMAT, MOST = "trials.json", "adascale-trials/1", 4000

_KNOWN: Optional[Dict[str, None]] = None


def known() -> Dict[str, None]:
    """The keys of what survived, oldest first, from the cache at first."""
    global _KNOWN
    if _KNOWN is None:
        _KNOWN = _load()
    return _KNOWN


def _load() -> Dict[str, None]:
    keys = cache.load(FILE, FORMAT).get("known")
    return dict.fromkeys(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else {}


def add(keys: Sequence[str]) -> None:
    """Remember keys, with what other processes wrote meanwhile."""
    if all(key in known() for key in keys):
        return
    known().update(dict.fromkeys(keys))
    # Where it cannot be written, the next process tries them again.
    cache.store(FILE, FORMAT, {"known": list({**_load(), **known()})[-MOST:]})


def key(bundle: Bundle, branch: Branch, delegate: str, allow_fallback: bool = False) -> str:
    """What names a branch on a delegate of this machine; on an accelerator, with or without the CPU's help."""
    help_of = "cpu" if allow_fallback and lookup(delegate).hardware != "cpu" else ""
    text = "\n".join((sum_of(bundle, branch), branch.signature, delegate, help_of, _machine()))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def sum_of(bundle: Bundle, branch: Branch) -> str:
    """The sha256 of a branch's file, from the manifest where it is known."""
    for entry in bundle.manifest.files:
        if entry.path == branch.file:
            return entry.sha256
    try:
        return bundles.sha256(bundle.path(branch.file))
    except OSError as error:
        raise BadInput("{} cannot be read ({}).".format(bundle.path(branch.file), error.strerror or error)) from None


_MACHINE: List[str] = []


def _machine() -> str:
    """The versions of LiteRT and of what it runs NPUs with, and the processor."""
    if not _MACHINE:
        releases = [release("ai-edge-litert"), release("openvino")]
        words = [releases[0] or "unknown", *filter(None, releases[1:]), platform.machine(), identity.processor()]
        _MACHINE.append("\n".join(words))
    return _MACHINE[0]
