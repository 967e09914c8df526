"""Loaded branches, ready to run, for callers with numpy.

It takes and gives real (float32) numbers; integer branches are quantized and dequantized inside, at the border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from adascale_runtime.seams.manifest import Branch

if TYPE_CHECKING:
    import numpy as np

#: From an input to an output, both arrays of the branch's shapes in its own dtypes.
Call = Callable[["np.ndarray"], "np.ndarray"]


class LoadedBranch:
    """A branch, allocated on a delegate, ready to run. Not thread-safe: one caller at a time."""

    def __init__(self, branch: Branch, call: Call) -> None:
        self.branch = branch
        self._call = call
        #: Whether no output can hold a NaN or an infinity: there is none behind integers.
        self.finite = branch.output.scale is not None

    def __call__(self, x: "np.ndarray") -> "np.ndarray":
        """Run one input of the branch's shape (batch 1, float32); the output has been read when this returns."""
        return self.dequantize(self.invoke(self.quantize(x)))

    def invoke(self, stored: "np.ndarray") -> "np.ndarray":
        """Run an input that is already in the branch's own dtype; gives the output in its own dtype."""
        return self._call(stored)

    def zeros(self) -> "np.ndarray":
        """A real-valued input of zeros."""
        import numpy as np

        return np.zeros(self.branch.input.shape, np.float32)

    def warm(self) -> None:
        """Run once on zeros, so that the first real input finds everything allocated."""
        self(self.zeros())

    def quantize(self, x: "np.ndarray") -> "np.ndarray":
        """Real numbers to the branch's input dtype."""
        import numpy as np

        spec = self.branch.input
        if spec.scale is None or spec.zero_point is None:
            return np.asarray(x, dtype=spec.dtype)
        limits = np.iinfo(spec.dtype)
        stored = np.rint(np.asarray(x, np.float32) / spec.scale) + spec.zero_point
        return np.clip(stored, limits.min, limits.max).astype(spec.dtype)

    def dequantize(self, stored: "np.ndarray") -> "np.ndarray":
        """The branch's output dtype to real numbers (float32)."""
        import numpy as np

        spec = self.branch.output
        if spec.scale is None or spec.zero_point is None:
            return np.asarray(stored, np.float32)
        return (stored.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)
