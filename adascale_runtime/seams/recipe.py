"""Recipes: the readable names of branches, such as ``width(0.5)+exit(2)+int8``.

Grammar (spaces are ignored)::

    recipe := "full" | step ("+" step)*
    step   := operator [ "(" strength ")" ] [ "@" block ]

``full`` is the recipe without a step. ``block`` limits a step to the layers of one block of the backbone. What an
operator and its strength mean is the business of :mod:`adascale_tf.operators`; here is only the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Optional, Tuple

from adascale_runtime.errors import BadInput

FULL = "full"
_SAFE = str.maketrans({"+": "-", "(": None, ")": None, ":": "_"})

_STEP = re.compile(
    r"(?P<operator>[a-z][a-z0-9_-]*)"
    r"(?:\((?P<strength>[A-Za-z0-9.:_-]+)\))?"
    r"(?:@(?P<block>[A-Za-z][A-Za-z0-9_.-]*))?"
)


@dataclass(frozen=True)
class Step:
    """One operator of a recipe: its name, its strength as text (or None), the block it is limited to (or None)."""

    operator: str
    strength: Optional[str] = None
    block: Optional[str] = None

    def __str__(self) -> str:
        strength = "" if self.strength is None else "({})".format(self.strength)
        block = "" if self.block is None else "@{}".format(self.block)
        return self.operator + strength + block


@dataclass(frozen=True)
class Recipe:
    """An ordered list of steps; ``str(recipe)`` is its text and :func:`parse` reads it back."""

    steps: Tuple[Step, ...] = ()

    def __str__(self) -> str:
        return "+".join(str(step) for step in self.steps) or FULL

    @property
    def id(self) -> str:
        """A name that is safe in file names and signatures: ``width0.5-exit2-int8``."""
        return str(self).translate(_SAFE).replace("@", "-at-")


def parse(text: str) -> Recipe:
    """The recipe that ``text`` spells; :class:`BadInput` names the piece that is not a step."""
    compact = "".join(text.split())
    if compact == FULL:
        return Recipe()
    return Recipe(tuple(_parse_step(piece, text) for piece in compact.split("+")))


def parse_list(text: str) -> List[Recipe]:
    """The recipes of a comma-separated list, in order; a recipe named twice is refused."""
    recipes = [parse(piece) for piece in text.split(",") if piece.strip()]
    if not recipes:
        raise BadInput("The list of recipes is empty; name at least one, for example 'full,width(0.5)+int8'.")
    seen = set()
    for recipe in recipes:
        if recipe.id in seen:
            raise BadInput("Recipe '{}' is listed twice; name each branch once.".format(recipe))
        seen.add(recipe.id)
    return recipes


def _parse_step(piece: str, text: str) -> Step:
    match = _STEP.fullmatch(piece)
    if match is None:
        raise BadInput(
            "'{}' in recipe '{}' is not a step; write 'operator', 'operator(strength)' or "
            "'operator(strength)@block', joined by '+'.".format(piece, text.strip())
        )
    return Step(match["operator"], _canonical(match["strength"]), match["block"])


def _canonical(strength: Optional[str]) -> Optional[str]:
    """Numbers lose their empty digits, so that ``width(0.50)`` and ``width(.5)`` are the branch ``width(0.5)``."""
    if strength is None or not re.fullmatch(r"\d*\.?\d+|\d+\.", strength):
        return strength
    whole, _, fraction = strength.partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + ("." + fraction if fraction else "")
