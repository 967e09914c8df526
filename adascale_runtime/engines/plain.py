"""Loaded branches, ready to run, for callers without numpy: they take and give :class:`.Tensor`."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Callable

from adascale_runtime.engines import accelerators, litert
from adascale_runtime.engines.tensor import Tensor, dequantize
from adascale_runtime.seams.manifest import Branch


class PlainBranch:
    """A branch on a delegate, for callers without numpy. Not thread-safe: one caller at a time.

    Args:
        branch: The branch.
        invoke: From the bytes of an input in the branch's own dtype to those of the output, which have been read.
    """

    def __init__(self, branch: Branch, invoke: Callable[[bytes], bytes]) -> None:
        self.branch = branch
        self.invoke = invoke
        #: Whether no output can hold a NaN or an infinity: there is none behind integers.
        self.finite = branch.output.scale is not None

    def __call__(self, x: Tensor) -> Tensor:
        """The real-valued output for a real-valued input; it has been read when this returns."""
        return dequantize(self.invoke(self.quantize(x)), self.branch.output)

    def quantize(self, x: Tensor) -> bytes:
        """A real-valued input in the branch's input dtype."""
        return x.quantize(self.branch.input)

    def zeros(self) -> Tensor:
        """A real-valued input of zeros."""
        shape = self.branch.input.shape
        return Tensor([0.0] * prod(shape), shape)

    def warm(self) -> None:
        """Run once on zeros."""
        self(self.zeros())


def open_plain(
    library: litert.Library, name: str, path: Path, branch: Branch, threads: int, allow_fallback: bool
) -> PlainBranch:
    """Open a branch on a delegate of LiteRT's C library; :class:`AdaScaleError` if that has no such kernels."""
    compiled = accelerators.open_compiled(library, str(path), branch.signature, name, threads, allow_fallback)
    return PlainBranch(branch, compiled.run)
