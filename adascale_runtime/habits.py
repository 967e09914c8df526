"""What a session learned of its device, kept for the next one: how often runs are held up, and how fast it usually is.

Kept in ``~/.cache/adascale/habits.json`` (``XDG_CACHE_HOME``) by the device's name: ``devices`` has how runs are held
up, ``anchors`` what each anchor took when the latest sessions opened. A file that is damaged or cannot be written costs
a session's first seconds, in which it presumes what most devices do, and that this moment is as any other.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from adascale_runtime.device import identity
from adascale_runtime.files import cache
from adascale_runtime.policies import habits as told
from adascale_runtime.policies.state import Habits
from adascale_runtime.seams.pace import KINDS, LONGEST_MS, SHORTEST_MS

FILE = "habits.json"
FORMAT = "adascale-habits/1"
#: Devices that are remembered: a home directory may be shared.
MOST = 100
#: Openings of sessions that are remembered: their median stands for the usual, and follows a new LiteRT or a new
#: system after half as many.
OPENINGS = 15

_NAME: List[str] = []


class Known(NamedTuple):
    """What is known of a device."""

    habits: Habits
    #: What each anchor took when the latest sessions opened, the oldest first, in ms by kind.
    openings: Dict[str, Tuple[float, ...]]


#: Of a device that nothing is known of.
NOTHING = Known({}, {})


def recall() -> Known:
    """What is known of this device."""
    file = cache.load(FILE, FORMAT)
    return Known(told.parse(_of(file, "devices").get(_name())), _openings(_of(file, "anchors").get(_name())))


def keep(habits: Habits, took: Optional[Mapping[str, float]] = None) -> None:
    """Remember the habits of this device, in the place of what was known of them, and a further opening.

    Args:
        habits: The habits; none leave those that were known.
        took: What the anchors took when the session opened, in ms by kind.
    """
    if not habits and not took:
        return
    file = cache.load(FILE, FORMAT)
    devices, anchors = _of(file, "devices"), _of(file, "anchors")
    if habits:
        devices = _with(devices, told.to_json(habits))
    if took:
        before = _openings(anchors.get(_name()))
        after = {kind: [*before.get(kind, ()), ms][-OPENINGS:] for kind, ms in took.items()}
        anchors = _with(anchors, {**before, **after})
    cache.store(FILE, FORMAT, {"devices": devices, "anchors": anchors})


def _of(file: Dict[str, Any], what: str) -> Dict[str, Any]:
    devices = file.get(what)
    return devices if isinstance(devices, dict) else {}


def _with(devices: Dict[str, Any], known: Any) -> Dict[str, Any]:
    """Devices with what is known of this one, which is then the latest."""
    others = [(name, value) for name, value in devices.items() if name != _name()]
    return {**dict(others[1 - MOST :]), _name(): known}


def _openings(data: Any) -> Dict[str, Tuple[float, ...]]:
    """Openings from parsed JSON; whatever is not possible is left out."""
    lists = {kind: data.get(kind) for kind in KINDS} if isinstance(data, dict) else {}
    possible = {
        kind: tuple(float(ms) for ms in values if _possible(ms))[-OPENINGS:]
        for kind, values in lists.items()
        if isinstance(values, list)
    }
    return {kind: values for kind, values in possible.items() if values}


def _possible(ms: Any) -> bool:
    return isinstance(ms, (int, float)) and not isinstance(ms, bool) and SHORTEST_MS <= ms <= LONGEST_MS


def _name() -> str:
    """This device's name: asked for once, since a phone answers in processes."""
    if not _NAME:
        _NAME.append(identity.facts().get("name") or identity.processor())
    return _NAME[0]
