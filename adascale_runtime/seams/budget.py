"""Budgets: the limits that a user sets for every inference; absent ones do not apply."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Dict, Optional

from adascale_runtime.errors import BadInput


@dataclass(frozen=True)
class Budget:
    """Limits of inferences; None for what is not limited."""

    #: Upper limits of each inference.
    latency_ms: Optional[float] = None
    energy_mj: Optional[float] = None
    memory_mb: Optional[float] = None
    #: The accuracy that a branch must have to answer, in (0, 1].
    min_accuracy: Optional[float] = None
    #: What all inferences together may draw above idle.
    power_mw: Optional[float] = None
    #: How long the battery should last, from the session's start on.
    lifetime_h: Optional[float] = None
    #: What the chip should stay below.
    temperature_c: Optional[float] = None

    def limits(self) -> Dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


#: The names of all limits.
NAMES = tuple(field.name for field in dataclasses.fields(Budget))


def parse(text: str) -> Budget:
    """Read a budget from text.

    Args:
        text: Limits by name, such as ``latency_ms=5,min_accuracy=0.9``.

    Raises:
        BadInput: The sentence names the piece that is wrong.
    """
    limits: Dict[str, float] = {}
    for piece in text.split(","):
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or name not in NAMES:
            raise BadInput(
                "'{}' is not a budget; write NAME=NUMBER with a name of {}.".format(piece.strip(), ", ".join(NAMES))
            )
        if name in limits:
            raise BadInput("The budget names {} twice; name it once.".format(name))
        limits[name] = _number(name, value)
    return Budget(**limits)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise BadInput("The budget's {} should be a positive number, not '{}'.".format(name, text))
    if name == "min_accuracy" and value > 1:
        raise BadInput(
            "The budget's min_accuracy is a share in (0, 1], not {:g}; write {:g}.".format(value, value / 100)
        )
    return value
