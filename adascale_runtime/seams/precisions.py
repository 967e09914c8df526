"""The arithmetic of each precision: how it multiplies, which predictors need to know.

The precisions themselves are declared in :mod:`converters.precisions`. A bundle carries the arithmetic of each branch
(``cost.arithmetic``), so a device predicts branches of a precision that it has never heard of. Standard library only,
Python 3.8.
"""

from __future__ import annotations

from typing import Dict

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt

#: Float kernels, int8 weights with float activations, integers, integers with 16-bit activations.
ARITHMETICS = ("float", "hybrid", "integer", "wide")
#: The arithmetic of the precisions in bundles and measurements that were written before they carried it.
_EARLIER: Dict[str, str] = {
    "float32": "float", "float16": "float", "dynamic": "hybrid", "int8": "integer", "qat": "integer", "int16x8": "wide",
}  # fmt: skip


def arithmetic(precision: str, told: str = "") -> str:
    """The arithmetic of a precision: one of :data:`ARITHMETICS`.

    Args:
        precision: Its name in a manifest or measurement.
        told: The ``cost.arithmetic`` of that manifest or measurement; empty in old ones.

    Raises:
        BadInput: Neither says it.
    """
    kind = told or _EARLIER.get(precision)
    if kind not in ARITHMETICS:
        unknown = "'{}', which is not one of {}".format(excerpt(told), ", ".join(ARITHMETICS))
        raise BadInput(
            "The precision '{}' has {}; build the bundle again with a version that knows it.".format(
                excerpt(precision), "the arithmetic " + unknown if told else "no arithmetic"
            )
        )
    return kind
