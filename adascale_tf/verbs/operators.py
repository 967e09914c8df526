"""``operators``: the steps that recipes are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adascale_tf.operators import Operator


def list_operators() -> tuple[Operator, ...]:
    """The registered operators, in the order in which their kinds come in a recipe.

    Returns:
        For each its ``name``, ``kind`` (structure, weights, exit, precision), an ``example`` and a ``summary``.
    """
    from adascale_runtime import plugins
    from adascale_tf.operators import KINDS, OPERATORS

    plugins.load("operators", "precisions")
    return tuple(sorted(OPERATORS.values(), key=lambda operator: KINDS.index(operator.kind)))
