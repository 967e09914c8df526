"""Refusing what is not a number, before it replaces something good."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adascale_runtime.errors import AdaScaleError

#: What to do about a training that left the numbers.
ADVICE = "check the data for extreme values, and --input-range; existing files were not replaced."


def check(values: Mapping[str, np.ndarray]) -> None:
    """Refuse weights, statistics or moments that are NaN or infinite.

    Raises:
        AdaScaleError: names the first of them.
    """
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise AdaScaleError(f"The training produced values in '{name}' that are not finite; {ADVICE}")
