"""What a session begins with, as JSON: a device's habits, in its file and in the first line of a trace, and the
slowdowns that were told of engines, in that line."""

from __future__ import annotations

import math
from typing import Any, Dict

from adascale_runtime.policies.limits import engine_name, parse_engine
from adascale_runtime.policies.pressure import LENGTHS, SLOWDOWNS, UNKNOWN, Excesses
from adascale_runtime.policies.state import Habits, Told

_MOST_MS = 1e9
_LATEST_S = 1e9


def to_json(habits: Habits) -> Dict[str, Any]:
    """Habits as JSON: by ``delegate x threads @ level of crowding``, the running time in ms and the counts."""
    return {
        "{} @ {}".format(engine_name(engine), level): [had.exposure_ms, *had.counts]
        for (engine, level), had in habits.items()
    }


def parse(data: Any) -> Habits:
    """Habits from parsed JSON; whatever is not possible is left out."""
    habits: Habits = {}
    for name, values in data.items() if isinstance(data, dict) else ():
        named, _, level = str(name).rpartition(" @ ")
        engine = parse_engine(named)
        if engine is None or not (level.isdecimal() and len(level) < 5 and int(level) <= UNKNOWN):
            continue
        if not isinstance(values, list) or len(values) != LENGTHS + 1 or not all(map(_possible, values)):
            continue
        exposure_ms, counts = float(values[0]), tuple(float(value) for value in values[1:])
        if all(more >= less for more, less in zip(counts, counts[1:])):
            habits[engine, int(level)] = Excesses(counts, exposure_ms)
    return habits


def told_to_json(told: Told) -> Dict[str, Any]:
    """Slowdowns as JSON: by ``delegate x threads``, the slowdown and when it held, in seconds."""
    return {engine_name(engine): list(one) for engine, one in told.items()}


def parse_told(data: Any) -> Told:
    """Slowdowns from parsed JSON; whatever is not possible is left out."""
    told: Told = {}
    for name, values in data.items() if isinstance(data, dict) else ():
        engine = parse_engine(str(name))
        if engine is None or not isinstance(values, list) or len(values) != 2 or not all(map(_finite, values)):
            continue
        slowdown, time_s = map(float, values)
        if SLOWDOWNS[0] <= slowdown <= SLOWDOWNS[1] and abs(time_s) <= _LATEST_S:
            told[engine] = slowdown, time_s
    return told


def _possible(value: Any) -> bool:
    return _finite(value) and 0.0 <= value <= _MOST_MS


def _finite(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)
