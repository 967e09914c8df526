"""What a session learned of its device, kept for the next one: how often runs are held up, and for how long.

Kept in ``~/.cache/adascale/habits.json`` (``XDG_CACHE_HOME``) by the device's name. A file that is damaged or cannot be
written costs a session's first seconds, in which it presumes what most devices do.
"""

from __future__ import annotations

from typing import Any, Dict, List

from adascale_runtime.device import identity
from adascale_runtime.files import cache
from adascale_runtime.policies import habits as told
from adascale_runtime.policies.state import Habits

FILE = "habits.json"
FORMAT = "adascale-habits/1"
#: Devices that are remembered: a home directory may be shared.
MOST = 100

_NAME: List[str] = []


def recall() -> Habits:
    """The habits of this device; empty if none are known."""
    return told.parse(_devices().get(_name()))


def keep(habits: Habits) -> None:
    """Remember the habits of this device, in the place of what was known of them."""
    if not habits:
        return
    others = {name: value for name, value in _devices().items() if name != _name()}
    devices = {**dict(list(others.items())[1 - MOST :]), _name(): told.to_json(habits)}
    cache.store(FILE, FORMAT, {"devices": devices})


def _devices() -> Dict[str, Any]:
    devices = cache.load(FILE, FORMAT).get("devices")
    return devices if isinstance(devices, dict) else {}


def _name() -> str:
    """This device's name: asked for once, since a phone answers in processes."""
    if not _NAME:
        _NAME.append(identity.facts().get("name") or identity.processor())
    return _NAME[0]
