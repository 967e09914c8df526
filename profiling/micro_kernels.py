"""Micro-kernels: one operator, or a short chain of it, as a real .tflite file, to calibrate latency predictors on.

They are written straight into LiteRT's flatbuffer schema, so that no TensorFlow is needed and a file takes a
millisecond. Weights are random; no value has a meaning. The idea is nn-Meter's (Zhang et al., MobiSys 2021): time the
kernels alone, sum them for a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adascale_runtime.errors import BadInput

SIGNATURE = "kernel"
#: How an operator computes: float32; int8 weights under float32 activations; int8 throughout.
ARITHMETICS = ("float", "hybrid", "integer")
#: Real size of one step of int8 activations and weights: any will do, but bias = activation * weight is demanded.
_STEP, _WEIGHT_STEP = 0.05, 0.01
_FIRST = 0  # the tensor that a chain begins with
_SAME, _RELU = schema.Padding.SAME, schema.ActivationFunctionType.RELU


@dataclass(frozen=True)
class Kernel:
    """A chain of ``repeat`` equal operators on a map of ``size`` x ``size`` x ``channels``.

    ``op``: conv, depthwise, separable (pointwise and depthwise), dense, add, sub, mul, concat, split, view,
    averagepool, maxpool, mean, logistic, tanh, or gru, a whole step of that cell. ``size`` is 1 for dense and gru.
    ``filters``: output channels of conv and dense; the others keep theirs (concat doubles them). ``window``: side of
    the filter or pooling window. Only what keeps the shape can be repeated.
    """

    op: str
    arithmetic: str
    size: int
    channels: int
    filters: int = 0
    window: int = 1
    stride: int = 1
    repeat: int = 1

    @property
    def id(self) -> str:
        """A name that is safe in file names: ``conv3-integer-16x32-64s1``."""
        shape = f"{self.size}x{self.channels}" + (f"-{self.filters}" if self.filters else "")
        return f"{self.op}{self.window}-{self.arithmetic}-{shape}s{self.stride}x{self.repeat}"

    @property
    def precision(self) -> str:
        """The precision of a branch that computes like this."""
        return {"float": "float32", "hybrid": "dynamic", "integer": "int8"}[self.arithmetic]


def write(kernel: Kernel) -> bytes:
    """The .tflite file, with one signature :data:`SIGNATURE` from ``x`` to ``y``."""
    if kernel.op not in _OPS or kernel.arithmetic not in ARITHMETICS:
        raise BadInput(f"There is no micro-kernel '{kernel.op}' in '{kernel.arithmetic}' arithmetic.")
    writer = _Writer(kernel.arithmetic == "integer")
    shape = (1, kernel.channels) if kernel.op in ("dense", "gru") else (1, kernel.size, kernel.size, kernel.channels)
    first = last = writer.activation("x", shape)
    for _ in range(kernel.repeat):
        last = _OPS[kernel.op](writer, kernel, last)
    if kernel.repeat > 1 and writer.shape(first) != writer.shape(last):
        raise BadInput(f"A micro-kernel that changes the shape cannot be repeated ({kernel.id}).")
    return writer.finish(first, last)


class _Writer:
    """A subgraph under construction; tensors are named by their index."""

    def __init__(self, integer: bool) -> None:
        self.integer = integer
        self.shared: dict[str, tuple[int, int]] = {}
        self._random = np.random.default_rng(0)
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]
        self._codes: list[Any] = []

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self._tensors[tensor].shape)

    def activation(self, name: str, shape: tuple[int, ...], scale: float = _STEP, zero: int = 0) -> int:
        kind = schema.TensorType.INT8 if self.integer else schema.TensorType.FLOAT32
        return self._tensor(name, shape, kind, (np.full(1, scale, np.float32), zero) if self.integer else None)

    def constant(self, name: str, values: np.ndarray, scales: np.ndarray | None = None, axis: int = 0) -> int:
        """A stored tensor; ``scales`` (channels,) along ``axis`` make it quantized."""
        kinds = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._buffers.append(buffer)
        quantized = None if scales is None else (scales, 0)
        index = self._tensor(name, values.shape, kinds[values.dtype.name], quantized, axis)
        self._tensors[index].buffer = len(self._buffers) - 1
        return index

    def weights(self, shape: tuple[int, ...], channels: int, axis: int, arithmetic: str) -> tuple[int, int]:
        """Random weights and a bias of ``channels``, stored as the arithmetic wants them."""
        if arithmetic == "float":
            values = self._random.normal(0, 0.05, shape).astype(np.float32)
            return self.constant("weights", values), self.constant("bias", np.zeros(channels, np.float32))
        stored = self._random.integers(-127, 128, shape).astype(np.int8)
        scales = np.full(channels, _WEIGHT_STEP, np.float32)
        weights = self.constant("weights", stored, scales, axis)
        if arithmetic == "hybrid":
            return weights, self.constant("bias", np.zeros(channels, np.float32))
        return weights, self.constant("bias", np.zeros(channels, np.int32), scales * np.float32(_STEP))

    def _tensor(self, name: str, shape: tuple[int, ...], kind: int, quantized: Any = None, axis: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"{name}{len(self._tensors)}", list(shape), kind, 0
        if quantized is not None:
            scales, zero = quantized
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), zero, np.int64)
            tensor.quantization.quantizedDimension = axis if len(scales) > 1 else 0
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def operator(
        self, name: str, inputs: list[int], output: tuple[int, ...], options: Any = None, version: int = 1,
        *, scale: float = _STEP, zero: int = 0, outputs: int = 1,
    ) -> int:  # fmt: skip
        """Append an operator with ``outputs`` outputs of that shape, which follow each other; gives the first."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(127, code.builtinCode), version
        self._codes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs = len(self._codes) - 1, inputs
        made.outputs = [self.activation("y", output, scale, zero) for _ in range(outputs)]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        self._operators.append(made)
        return int(made.outputs[0])

    def finish(self, first: int, last: int) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self._tensors, self._operators, [first], [last]
        model = schema.ModelT()
        model.version, model.description = 3, "micro-kernel"
        model.subgraphs, model.buffers, model.operatorCodes = [graph], self._buffers, self._codes
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = [_border("x", first)], [_border("y", last)]
        model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def _border(name: str, tensor: int) -> Any:
    border = schema.TensorMapT()
    border.name, border.tensorIndex = name, tensor
    return border


def _conv(writer: _Writer, kernel: Kernel, source: int) -> int:
    shape = (kernel.filters, kernel.window, kernel.window, kernel.channels)
    weights, bias = writer.weights(shape, kernel.filters, 0, kernel.arithmetic)
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = _SAME, kernel.stride, kernel.stride
    options.dilationHFactor, options.dilationWFactor, options.fusedActivationFunction = 1, 1, _RELU
    version = {"float": 1, "hybrid": 5, "integer": 3}[kernel.arithmetic]
    return writer.operator("CONV_2D", [source, weights, bias], _output(kernel, kernel.filters), options, version)


def _depthwise(writer: _Writer, kernel: Kernel, source: int) -> int:
    shape = (1, kernel.window, kernel.window, kernel.channels)
    weights, bias = writer.weights(shape, kernel.channels, 3, kernel.arithmetic)
    options = schema.DepthwiseConv2DOptionsT()
    options.padding, options.strideH, options.strideW = _SAME, kernel.stride, kernel.stride
    options.dilationHFactor, options.dilationWFactor, options.fusedActivationFunction = 1, 1, _RELU
    options.depthMultiplier = 1
    inputs, version = [source, weights, bias], {"float": 1, "hybrid": 6, "integer": 3}[kernel.arithmetic]
    return writer.operator("DEPTHWISE_CONV_2D", inputs, _output(kernel, kernel.channels), options, version)


def _separable(writer: _Writer, kernel: Kernel, source: int) -> int:
    """A depthwise convolution behind a pointwise one, as networks have them.

    Alone it would look cheap where XNNPACK lacks it: LiteRT's own kernel takes 22 us for 3x3 over 8x8x192, but 61 us
    right behind a product that used the wide registers (measured on x86-64 with AVX-512).
    """
    point = Kernel("conv", kernel.arithmetic, kernel.size, kernel.channels, kernel.channels)
    return _depthwise(writer, kernel, _conv(writer, point, source))


def _dense(writer: _Writer, kernel: Kernel, source: int, shared: tuple[int, int] | None = None) -> int:
    shape = (kernel.filters, kernel.channels)
    weights, bias = shared or writer.weights(shape, kernel.filters, 0, kernel.arithmetic)
    options = schema.FullyConnectedOptionsT()
    options.weightsFormat = schema.FullyConnectedOptionsWeightsFormat.DEFAULT
    options.asymmetricQuantizeInputs = kernel.arithmetic == "hybrid"
    version = {"float": 1, "hybrid": 9, "integer": 4}[kernel.arithmetic]
    return writer.operator("FULLY_CONNECTED", [source, weights, bias], (1, kernel.filters), options, version)


def _gru(writer: _Writer, kernel: Kernel, state: int) -> int:
    """A step of a gated recurrent unit with the converter's operators, in its order; the state is also what it hears.

    All steps share their weights, of which XNNPACK nevertheless packs a copy each.
    """
    units = kernel.channels
    pair = {name: _pair(name) for name in ("ADD", "MUL", "SUB")}

    def dense(name: str) -> int:
        wide = Kernel("dense", kernel.arithmetic, 1, units, 3 * units)
        if name not in writer.shared:
            writer.shared[name] = writer.weights((3 * units, units), 3 * units, 0, kernel.arithmetic)
        return _dense(writer, wide, state, writer.shared[name])

    def both(name: str, left: int, right: int) -> int:
        return int(pair[name](writer, kernel, left, right))

    heard, kept = _parts(writer, dense("heard"), 3, "SPLIT"), _parts(writer, dense("kept"), 3, "SPLIT")
    update = _curve("LOGISTIC")(writer, kernel, both("ADD", heard, kept))
    stays, share = both("MUL", update, state), both("SUB", _FIRST, update)
    reset = _curve("LOGISTIC")(writer, kernel, both("ADD", heard + 1, kept + 1))
    proposed = _curve("TANH")(writer, kernel, both("ADD", heard + 2, both("MUL", reset, kept + 2)))
    return both("ADD", stays, both("MUL", share, proposed))


def _parts(writer: _Writer, source: int, count: int, name: str) -> int:
    """``count`` equal parts along the last axis; gives the first. XNNPACK takes SPLIT, but not SPLIT_V."""
    shape = writer.shape(source)
    part = (*shape[:-1], shape[-1] // count)
    axis = writer.constant("axis", np.array([len(shape) - 1], np.int32))
    if name == "SPLIT":
        options: Any = schema.SplitOptionsT()
        inputs = [axis, source]
    else:
        options = schema.SplitVOptionsT()
        inputs = [source, writer.constant("sizes", np.array([part[-1]] * count, np.int32)), axis]
    options.numSplits = count
    return writer.operator(name, inputs, part, options, 2, outputs=count)


def _output(kernel: Kernel, channels: int) -> tuple[int, ...]:
    side = -(-kernel.size // kernel.stride)
    return (1, side, side, channels)


def _pair(name: str) -> Any:
    def build(writer: _Writer, kernel: Kernel, source: int, other: int = _FIRST) -> int:
        options = getattr(schema, f"{name.capitalize()}OptionsT")()
        return writer.operator(name, [source, other], writer.shape(source), options, 2 if writer.integer else 1)

    return build


def _concat(writer: _Writer, kernel: Kernel, source: int) -> int:
    options = schema.ConcatenationOptionsT()
    options.axis = 3
    shape = writer.shape(source)
    added = _pair("ADD")(writer, kernel, source)  # two tensors that differ: one joined with itself is a mere copy
    return writer.operator("CONCATENATION", [source, added], (*shape[:3], 2 * shape[3]), options, 2)


def _split(writer: _Writer, kernel: Kernel, source: int) -> int:
    """Halves, put together again the other way round."""
    half = _parts(writer, source, 2, "SPLIT_V")
    options = schema.ConcatenationOptionsT()
    options.axis = len(writer.shape(source)) - 1
    return writer.operator("CONCATENATION", [half + 1, half], writer.shape(source), options, 2)


def _view(writer: _Writer, kernel: Kernel, source: int) -> int:
    """All positions in a row, or back in a square."""
    square = (1, kernel.size, kernel.size, kernel.channels)
    row = (1, 1, kernel.size**2, kernel.channels)
    shape = square if writer.shape(source) == row else row
    return writer.operator("RESHAPE", [source, writer.constant("shape", np.array(shape, np.int32))], shape)


def _pool(name: str) -> Any:
    def build(writer: _Writer, kernel: Kernel, source: int) -> int:
        options = schema.Pool2DOptionsT()
        options.padding, options.strideH, options.strideW = _SAME, kernel.stride, kernel.stride
        options.filterHeight, options.filterWidth = kernel.window, kernel.window
        return writer.operator(name, [source], _output(kernel, kernel.channels), options, 2 if writer.integer else 1)

    return build


def _mean(writer: _Writer, kernel: Kernel, source: int) -> int:
    options = schema.ReducerOptionsT()
    axes = writer.constant("axes", np.array([1, 2], np.int32))
    return writer.operator("MEAN", [source, axes], (1, kernel.channels), options, 2 if writer.integer else 1)


def _curve(name: str) -> Any:
    def build(writer: _Writer, kernel: Kernel, source: int) -> int:
        # LiteRT demands these output scales of its int8 kernels.
        scale, zero = (1 / 256, -128) if name == "LOGISTIC" else (1 / 128, 0)
        version = 2 if writer.integer else 1
        return writer.operator(name, [source], writer.shape(source), None, version, scale=scale, zero=zero)

    return build


_OPS: dict[str, Any] = {
    "conv": _conv, "depthwise": _depthwise, "separable": _separable, "dense": _dense, "gru": _gru, "concat": _concat,
    "split": _split, "view": _view, "mean": _mean, "add": _pair("ADD"), "sub": _pair("SUB"), "mul": _pair("MUL"),
    "averagepool": _pool("AVERAGE_POOL_2D"), "maxpool": _pool("MAX_POOL_2D"), "logistic": _curve("LOGISTIC"),
    "tanh": _curve("TANH"),
}  # fmt: skip
