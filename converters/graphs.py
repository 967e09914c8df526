"""The object tree of a .tflite, and its subgraphs with what is constant in them.

Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs, read with the object API that LiteRT ships.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from adascale_runtime.errors import BadInput

_BYTES = {
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.FLOAT16: 2,
    schema.TensorType.INT32: 4,
    schema.TensorType.UINT8: 1,
    schema.TensorType.INT64: 8,
    schema.TensorType.BOOL: 1,
    schema.TensorType.INT16: 2,
    schema.TensorType.INT8: 1,
    schema.TensorType.FLOAT64: 8,
    schema.TensorType.INT4: 0.5,
}
_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
#: The options that name another subgraph.
SUBGRAPH_FIELDS = ("condSubgraphIndex", "bodySubgraphIndex", "thenSubgraphIndex", "elseSubgraphIndex")


def parse(model: bytes) -> Any:
    """The flatbuffer as an object tree (``schema.ModelT``); :class:`BadInput` if it is not a whole .tflite."""
    if len(model) < 8 or model[4:8] != b"TFL3":
        raise BadInput("This is not a .tflite file (its identifier 'TFL3' is missing).")
    try:
        return schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    except Exception as error:  # the generated reader raises whatever a bad offset leads to
        raise BadInput(f"This .tflite file is cut off or damaged ({type(error).__name__}).") from None


def text(name: Any) -> str:
    """A string of the tree, which holds bytes."""
    return name.decode() if isinstance(name, bytes) else str(name)


def definition(tree: Any, key: str) -> Any:
    """The definition of a signature; :class:`BadInput` names those that the file has."""
    known = {text(s.signatureKey): s for s in tree.signatureDefs or []}
    if key not in known:
        raise BadInput(f"The .tflite has no signature '{key}'; it has {', '.join(known) or 'none'}.")
    return known[key]


def reachable(tree: Any, first: int) -> list[int]:
    """A subgraph and those that its operators call, each once."""
    reached, stack = [], [first]
    while stack:
        index = stack.pop()
        if index in reached:
            continue
        reached.append(index)
        for operator in tree.subgraphs[index].operators or []:
            stack += [
                getattr(operator.builtinOptions, f) for f in SUBGRAPH_FIELDS if hasattr(operator.builtinOptions, f)
            ]
    return reached


@dataclass(frozen=True)
class Graph:
    """A subgraph with what is constant in it: tensors with data, and those unpacked from them by DEQUANTIZE.

    ``operators`` leaves these unpacking ones out: what they do is done once, when the file is opened.
    """

    tree: Any
    tensors: list[Any]
    operators: list[Any]
    constants: frozenset[int]
    #: The stored type of each constant that DEQUANTIZE unpacks.
    unpacked: dict[int, int] = field(default_factory=dict)
    #: What was made of its tensors by whoever looked at them.
    views: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def kind(self, operator: Any) -> str:
        """The operator's name in the schema, such as "CONV_2D"; "CUSTOM" for those that it does not know."""
        code = self.tree.operatorCodes[operator.opcodeIndex]
        return _OPERATORS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")

    def bytes_of(self, index: int) -> float:
        """The bytes of a tensor."""
        tensor = self.tensors[index]
        return float(elements(tensor) * _BYTES.get(tensor.type, 4))

    def is_constant(self, index: int) -> bool:
        """Whether the file says what a tensor holds."""
        return index in self.constants


def elements(tensor: Any) -> int:
    """How many numbers a tensor holds."""
    return int(math.prod(tensor.shape)) if tensor.shape is not None and len(tensor.shape) else 1


def subgraph(tree: Any, index: int) -> Graph:
    """A subgraph of the tree."""
    own = tree.subgraphs[index]
    tensors, operators = list(own.tensors), list(own.operators or [])
    constants = {i for i, t in enumerate(tensors) if has_data(tree.buffers[t.buffer])}
    found = Graph(tree, tensors, operators, frozenset(constants))
    unpacked = [o for o in operators if found.kind(o) == "DEQUANTIZE" and o.inputs[0] in constants]
    types = {int(t): int(tensors[int(o.inputs[0])].type) for o in unpacked for t in o.outputs}
    left = {id(o) for o in unpacked}
    return Graph(tree, tensors, [o for o in operators if id(o) not in left], frozenset(constants | set(types)), types)


def has_data(buffer: Any) -> bool:
    """Whether a buffer holds anything, in the tree or after it in the file."""
    return (buffer.data is not None and len(buffer.data) > 0) or bool(getattr(buffer, "size", 0))
