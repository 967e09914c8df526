"""Allowed ranges of the numbers in frozen dataclasses, so that values read from files cannot overflow.

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

from typing import Any, Mapping, Tuple

from adascale_runtime.errors import BadInput

#: Smallest and largest value of a field, both allowed.
Ranges = Mapping[str, Tuple[float, float]]
#: Any amount of seconds, milliseconds, joules, bytes ...; one that something is divided by; a share.
AMOUNT, POSITIVE, SHARE = (0.0, 1e15), (1e-9, 1e12), (0.0, 1.0)
#: A number that may be below zero, too.
NUMBER = (-1e15, 1e15)


def check(value: Any, ranges: Ranges, where: str) -> None:
    """Refuse an instance with a field outside its range; each item of a tuple or dict is looked at, None is not."""
    for name, (low, high) in ranges.items():
        held = getattr(value, name)
        for item in held.values() if isinstance(held, dict) else held if isinstance(held, tuple) else (held,):
            if item is not None and not low <= item <= high:
                raise BadInput(
                    f"{where}.{name} is {item:g}, but it must be between {low:g} and {high:g}; write the file again."
                )
