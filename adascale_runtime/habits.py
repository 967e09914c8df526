"""What a session learned of its device, kept for the next one: how often runs are held up, and for how long.

Kept in ``~/.cache/adascale/habits.json`` (``XDG_CACHE_HOME``) by the device's name. A file that is damaged or cannot be
written costs a session's first seconds, in which it presumes what most devices do.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional

from adascale_runtime.device import identity
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec
from adascale_runtime.policies import habits as told
from adascale_runtime.policies.state import Habits

FORMAT = "adascale-habits/1"
#: Devices that are remembered: a home directory may be shared.
MOST = 100

_NAME: List[str] = []


def place() -> Optional[Path]:
    """Where habits are kept; None without a home directory."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or os.path.join(str(Path.home()), ".cache")
    except RuntimeError:
        return None
    return Path(root) / "adascale" / "habits.json"


def recall() -> Habits:
    """The habits of this device; empty if none are known."""
    return told.parse(_devices().get(_name()))


def keep(habits: Habits) -> None:
    """Remember the habits of this device, in the place of what was known of them."""
    target = place()
    if target is None or not habits:
        return
    devices = {name: value for name, value in _devices().items() if name != _name()}
    kept = dict(list(devices.items())[1 - MOST :])
    kept[_name()] = told.to_json(habits)
    with suppress(AdaScaleError, OSError):
        codec.write_text(target, codec.dump({"format": FORMAT, "devices": kept}))


def _devices() -> Dict[str, Any]:
    source = place()
    try:
        data = None if source is None or not source.is_file() else codec.read_json(source)
    except (AdaScaleError, OSError):
        return {}
    devices = data.get("devices") if isinstance(data, dict) and data.get("format") == FORMAT else None
    return devices if isinstance(devices, dict) else {}


def _name() -> str:
    """This device's name: asked for once, since a phone answers in processes."""
    if not _NAME:
        _NAME.append(identity.facts().get("name") or identity.processor())
    return _NAME[0]
