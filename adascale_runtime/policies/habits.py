"""Habits as JSON: in the file of a device, and in the first line of a trace."""

from __future__ import annotations

import math
from typing import Any, Dict

from adascale_runtime.policies.pressure import LENGTHS, UNKNOWN, Excesses
from adascale_runtime.policies.state import Habits

_MOST_MS = 1e9


def to_json(habits: Habits) -> Dict[str, Any]:
    """Habits as JSON: by ``delegate x threads @ level of crowding``, the running time in ms and the counts."""
    return {
        "{} x {} @ {}".format(engine[0], engine[1], level): [had.exposure_ms, *had.counts]
        for (engine, level), had in habits.items()
    }


def parse(data: Any) -> Habits:
    """Habits from parsed JSON; whatever is not possible is left out."""
    habits: Habits = {}
    for name, values in data.items() if isinstance(data, dict) else ():
        delegate, _, rest = str(name).partition(" x ")
        threads, _, level = rest.partition(" @ ")
        if not (delegate and threads.isdecimal() and level.isdecimal() and len(threads) < 5 and int(level) <= UNKNOWN):
            continue
        if not isinstance(values, list) or len(values) != LENGTHS + 1 or not all(map(_possible, values)):
            continue
        exposure_ms, counts = float(values[0]), tuple(float(value) for value in values[1:])
        if all(more >= less for more, less in zip(counts, counts[1:])):
            habits[(delegate, int(threads)), int(level)] = Excesses(counts, exposure_ms)
    return habits


def _possible(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0.0 <= value <= _MOST_MS
