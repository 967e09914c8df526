"""Weights of branches as data: expressions over the backbone's weights.

An operator gives each layer of its cheaper network such an expression. All are linear in the backbone's weights once
their choices are made, so a gradient through any branch trains the weights of its source;
:mod:`adascale_tf.network.derivation` computes them. A choice (which weights are zero, which directions a low rank
keeps) is made from the weights' current values and made anew when they have moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Union

import numpy as np

#: A layer's name and one of its weights.
Key = tuple[str, str]

#: ``(value, share) -> constants``: what to keep of a weight. ``share`` in [0, 1] ramps what cannot come at once
#: (sparsity); constants keep their shapes whatever the value is.
Choose = Callable[[np.ndarray, float], tuple[np.ndarray, ...]]


@dataclass(frozen=True, eq=False)
class Whole:
    """A weight of the backbone as it is."""

    key: Key


@dataclass(frozen=True, eq=False)
class Cut:
    """Positions kept of each axis, None for the whole axis."""

    of: Weight
    axes: tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """Constants chosen by looking at a weight; shared by the expressions that use them."""

    of: Weight
    choose: Choose


@dataclass(frozen=True, eq=False)
class Constant:
    """One of a choice's constants: moves only when the choice is made anew."""

    choice: Choice
    index: int = 0


@dataclass(frozen=True, eq=False)
class Product:
    """``einsum(spec, weight, constant)``: the weight seen through one of its choice's constants."""

    choice: Choice
    spec: str
    index: int = 0


@dataclass(frozen=True, eq=False)
class Averaged:
    """Every element replaced by the mean of its cluster; the choice's constant names each element's cluster."""

    choice: Choice
    clusters: int


Weight = Union[Whole, Cut, Constant, Product, Averaged]  # noqa: UP007  (mypy: a recursive alias of classes)


def choices(weight: Weight) -> Iterator[Choice]:
    """The choices an expression needs, those it builds on first."""
    if isinstance(weight, Cut):
        yield from choices(weight.of)
    elif not isinstance(weight, Whole):
        yield from choices(weight.choice.of)
        yield weight.choice
