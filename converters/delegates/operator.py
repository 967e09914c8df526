"""Plain views of a file's operators, for the rules of delegates' tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adascale_runtime.errors import BadInput
from converters import graphs

_TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_ACTIVATIONS = {value: name for name, value in vars(schema.ActivationFunctionType).items() if isinstance(value, int)}
_PADDINGS = {value: name for name, value in vars(schema.Padding).items() if isinstance(value, int)}
#: numpy's types of what buffers hold; others (4 bits, strings) are not read.
_STORED = {
    "float32": "<f4", "float16": "<f2", "float64": "<f8", "int32": "<i4", "int64": "<i8", "int16": "<i2",
    "int8": "<i1", "uint8": "<u1", "bool": "<?", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
}  # fmt: skip
#: What the object tree of a damaged file raises wherever it is looked into.
DAMAGED = (IndexError, AttributeError, TypeError, ValueError, KeyError, ArithmeticError)


@dataclass(frozen=True)
class Tensor:
    """A tensor as rules see it."""

    #: Its position in the subgraph.
    index: int
    shape: tuple[int, ...]
    #: The schema's name in small letters: "float32", "int8", "int4", "bool" ...
    dtype: str
    #: Whether the file says what it holds; also true of what DEQUANTIZE unpacks from such a tensor.
    constant: bool = False
    #: In which type a constant is stored: "float16" for a float32 one that is unpacked from it, else ``dtype``.
    stored: str = ""
    #: How it is quantized: "" (not), "tensor" (one scale), "channel" (one for each) or "block".
    quantization: str = ""
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    #: The axis of channels, for "channel".
    axis: int = 0
    #: Whether a dimension is unknown until the file runs (-1 in its shape signature).
    dynamic: bool = False
    #: Whether it keeps its values from one inference to the next.
    variable: bool = False
    #: Whether it holds its values sparsely.
    sparse: bool = False
    #: A constant's bytes, None where it is unpacked from another or its bytes are not in the tree.
    data: Any = field(default=None, repr=False, compare=False)

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64)) if self.shape else 1

    def values(self) -> np.ndarray | None:
        """A constant's values in their stored type and its shape; None where the file does not say them plainly."""
        if self.data is None or self.dtype not in _STORED:
            return None
        stored = np.frombuffer(bytes(self.data), _STORED[self.dtype])
        return stored.reshape(self.shape) if stored.size == self.elements else None

    def numbers(self) -> tuple[int, ...] | None:
        """A constant's values as whole numbers in one row, for axes, shapes and paddings; None as :meth:`values`."""
        stored = self.values()
        return None if stored is None else tuple(int(n) for n in stored.ravel())


@dataclass(frozen=True)
class Operator:
    """An operator as rules see it."""

    #: Its position among all operators of its subgraph in the file.
    index: int
    #: The schema's name, such as "CONV_2D"; "CUSTOM" for custom ones.
    kind: str
    #: The version of its kind that the file asks for.
    version: int
    #: None for an optional input that is absent.
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    #: The schema's options by their names in the generated code, such as "strideH".
    options: Mapping[str, Any]
    #: The name of a custom operator.
    custom: str = ""

    @property
    def source(self) -> Tensor:
        """The first input; :class:`BadInput` if there is none."""
        return self.input(0)

    @property
    def target(self) -> Tensor:
        """The first output; :class:`BadInput` if there is none."""
        if not self.outputs:
            raise BadInput(f"Operator {self.index} ({self.kind}) of the .tflite has no output; convert it again.")
        return self.outputs[0]

    def input(self, position: int) -> Tensor:
        """An input that the kind cannot do without; :class:`BadInput` if it is absent."""
        found = self.optional(position)
        if found is None:
            raise BadInput(f"Operator {self.index} ({self.kind}) of the .tflite lacks an input; convert it again.")
        return found

    def optional(self, position: int) -> Tensor | None:
        """An input, None if it is absent."""
        return self.inputs[position] if position < len(self.inputs) else None

    @property
    def variables(self) -> tuple[Tensor, ...]:
        """The inputs that are no constants."""
        return tuple(t for t in self.inputs if t is not None and not t.constant)

    def option(self, name: str, default: Any = 0) -> Any:
        """An option, or ``default`` where the file has none of that name."""
        return self.options.get(name, default)

    @property
    def activation(self) -> str:
        """The fused activation: "NONE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH", "SIGN_BIT"."""
        return _ACTIVATIONS.get(self.option("fusedActivationFunction"), "UNKNOWN")

    @property
    def padding(self) -> str:
        """ "SAME" or "VALID"."""
        return _PADDINGS.get(self.option("padding"), "UNKNOWN")


@dataclass(frozen=True)
class Subgraph:
    """Operators in an order in which they can run, with the border of what they compute."""

    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def edges(self) -> list[tuple[set[int], set[int]]]:
        """The tensors that each operator reads and writes, as ``kernel_classes.partitions`` takes them."""
        return [
            ({t.index for t in one.inputs if t is not None}, {t.index for t in one.outputs}) for one in self.operators
        ]


@dataclass(frozen=True)
class File:
    """What a .tflite holds, as rules for whole files see it."""

    #: The keys of all its signatures.
    signatures: tuple[str, ...]
    #: The subgraph of one signature, then those that it calls.
    subgraphs: tuple[Subgraph, ...]
    bytes: int

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators of all these subgraphs."""
        return tuple(one for graph in self.subgraphs for one in graph.operators)


def read(model: bytes, signature: str) -> File:
    """The operators of a signature of a .tflite.

    Operators that only unpack constants (DEQUANTIZE of stored weights) are left out; what they make counts as constant.

    Raises:
        BadInput: It is no .tflite, it is damaged, or it lacks the signature.
    """
    tree = graphs.parse(model)
    try:
        first = graphs.definition(tree, signature).subgraphIndex
        keys = tuple(graphs.text(s.signatureKey) for s in tree.signatureDefs)
        return File(keys, tuple(subgraph(tree, n) for n in graphs.reachable(tree, first)), len(model))
    except DAMAGED as error:
        raise BadInput(f"This .tflite file is damaged ({type(error).__name__}); convert the model again.") from None


def subgraph(tree: Any, index: int) -> Subgraph:
    """A subgraph of an object tree (``schema.ModelT``)."""
    graph, own = graphs.subgraph(tree, index), tree.subgraphs[index]
    positions = {id(o): n for n, o in enumerate(own.operators or [])}
    return Subgraph(
        tuple(view(graph, o, positions[id(o)]) for o in graph.operators),
        tuple(_tensor(graph, int(t)) for t in _each(own.inputs)),
        tuple(_tensor(graph, int(t)) for t in _each(own.outputs)),
    )


def view(graph: graphs.Graph, operator: Any, index: int = 0) -> Operator:
    """One operator of a subgraph's object tree."""
    code = graph.tree.operatorCodes[operator.opcodeIndex]
    options = operator.builtinOptions or getattr(operator, "builtinOptions2", None)
    return Operator(
        index,
        graph.kind(operator),
        int(code.version),
        tuple(None if t == -1 else _tensor(graph, int(t)) for t in _each(operator.inputs)),
        tuple(_tensor(graph, int(t)) for t in _each(operator.outputs)),
        vars(options) if options is not None else {},
        graphs.text(code.customCode) if code.customCode else "",
    )


def _tensor(graph: graphs.Graph, index: int) -> Tensor:
    """A tensor of a subgraph, looked at once."""
    if index not in graph.views:
        if index < 0:
            raise IndexError(index)
        graph.views[index] = _look(graph, index)
    return graph.views[index]  # type: ignore[no-any-return]


def _look(graph: graphs.Graph, index: int) -> Tensor:
    tensor = graph.tensors[index]
    dtype, constant = _TYPES.get(tensor.type, "unknown"), graph.is_constant(index)
    buffer = graph.tree.buffers[tensor.buffer]
    scheme, scale, zero_point, axis = _quantization(tensor.quantization)
    return Tensor(
        index,
        tuple(int(n) for n in _each(tensor.shape)),
        dtype,
        constant,
        (_TYPES.get(graph.unpacked.get(index, tensor.type), "unknown") if constant else ""),
        scheme,
        scale,
        zero_point,
        axis,
        any(int(n) < 0 for n in _each(tensor.shapeSignature)) or any(int(n) < 0 for n in _each(tensor.shape)),
        bool(tensor.isVariable),
        tensor.sparsity is not None,
        buffer.data if constant and buffer.data is not None and len(buffer.data) else None,
    )


def _quantization(found: Any) -> tuple[str, tuple[float, ...], tuple[int, ...], int]:
    if found is None:
        return "", (), (), 0
    if getattr(found, "detailsType", 0) == getattr(schema.QuantizationDetails, "BlockwiseQuantization", -1):
        return "block", (), (), int(found.quantizedDimension)
    scale = tuple(float(s) for s in _each(found.scale))
    zero = tuple(int(z) for z in _each(found.zeroPoint))
    return ("", "tensor")[len(scale)] if len(scale) < 2 else "channel", scale, zero, int(found.quantizedDimension)


def _each(values: Any) -> Any:
    return () if values is None else values
