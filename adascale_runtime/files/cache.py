"""Files of a user's cache, ``~/.cache/adascale`` (``XDG_CACHE_HOME``): what is lost there costs time only.

Each is a JSON object with a ``format``. One that is damaged, of another format, or cannot be written is as none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Optional

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec


def place(name: str) -> Optional[Path]:
    """Where a file of the cache is; None without a home directory."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or os.path.join(str(Path.home()), ".cache")
    except RuntimeError:
        return None
    return Path(root) / "adascale" / name


def load(name: str, wanted: str) -> Dict[str, Any]:
    """What a file of the cache holds, if it is of the format ``wanted``; else nothing."""
    source = place(name)
    try:
        data = None if source is None or not source.is_file() else codec.read_json(source)
    except (AdaScaleError, OSError):
        return {}
    return data if isinstance(data, dict) and data.get("format") == wanted else {}


def store(name: str, wanted: str, content: Dict[str, Any]) -> None:
    """Write a file of the cache, if that can be done."""
    target = place(name)
    with suppress(AdaScaleError, OSError):
        if target is not None:
            codec.write_text(target, codec.dump({"format": wanted, **content}))
