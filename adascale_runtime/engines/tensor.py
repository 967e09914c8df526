"""Tensors for devices without numpy: numbers with a shape, the inputs and outputs of sessions there."""

from __future__ import annotations

from array import array
from math import prod
from typing import Any, Dict, Sequence, Tuple

from adascale_runtime.seams.manifest import TensorSpec

#: ``array`` type codes of the dtypes that branches have at their borders.
CODES = {"float32": "f", "int8": "b", "uint8": "B", "int16": "h", "int32": "i"}
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


class Tensor:
    """Real numbers (float32) of a shape, the batch of 1 included. Immutable: what was quantized is kept."""

    def __init__(self, values: Sequence[float], shape: Sequence[int]) -> None:
        self.values = values if isinstance(values, array) and values.typecode == "f" else array("f", values)
        self.shape = tuple(shape)
        if len(self.values) != prod(self.shape):
            raise ValueError("{} numbers do not fill the shape {}".format(len(self.values), self.shape))
        self._stored: Dict[Tuple[str, object, object], bytes] = {}

    def sum(self) -> float:
        """The sum of all values; NaN or infinite if one of them is."""
        return sum(self.values)

    def argmax(self) -> int:
        """The index of the largest value, the first of equals."""
        return max(range(len(self.values)), key=self.values.__getitem__)

    def quantize(self, spec: TensorSpec) -> bytes:
        """The bytes of these numbers in a tensor's own dtype, little-endian."""
        key = (spec.dtype, spec.scale, spec.zero_point)
        if key not in self._stored:
            self._stored[key] = _quantize(self.values, spec)
        return self._stored[key]


def _quantize(values: Sequence[float], spec: TensorSpec) -> bytes:
    if spec.scale is None or spec.zero_point is None:
        code = CODES[spec.dtype]
        return array(code, values if code == "f" else [int(value) for value in values]).tobytes()
    low, high = LIMITS[spec.dtype]
    scale = array("f", [spec.scale])[0]
    steps = array("f", [value / scale for value in values])  # rounded to float32, as numpy divides
    first, last = low - spec.zero_point, high - spec.zero_point  # clipped before it is rounded: steps may be infinite
    stored = [round(min(last, max(first, step))) + spec.zero_point for step in steps]
    return array(CODES[spec.dtype], stored).tobytes()


def dequantize(stored: bytes, spec: TensorSpec) -> Tensor:
    """The real numbers behind a tensor's bytes."""
    values = array(CODES[spec.dtype])
    values.frombytes(stored)
    if spec.scale is None or spec.zero_point is None:
        return Tensor(values, spec.shape)
    scale = array("f", [spec.scale])[0]
    return Tensor([(value - spec.zero_point) * scale for value in values], spec.shape)


def samples(data: bytes, shape: Sequence[int]) -> Any:
    """A sequence of inputs of a shape from raw float32: numpy arrays, or :class:`Tensor` where numpy is missing."""
    try:
        import numpy as np
    except ImportError:
        return read(data, shape)
    return np.frombuffer(data, "<f4").reshape(-1, *shape)


def read(data: bytes, shape: Sequence[int]) -> Tuple[Tensor, ...]:
    """The tensors of a shape (the batch of 1 included) that lie one after the other in raw float32."""
    step = 4 * prod(shape)
    tensors = []
    for start in range(0, len(data) - step + 1, step):
        values = array("f")
        values.frombytes(data[start : start + step])
        tensors.append(Tensor(values, shape))
    return tuple(tensors)
