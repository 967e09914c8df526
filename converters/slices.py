"""Splits of a .tflite that a GPU runs wrongly, as slices.

The converter folds constants after the graph's own rewrites (:mod:`converters.lowering`), and leaves splits of which
nothing reads an output: the first step of an unrolled recurrent layer has no use for one of the gates. LiteRT's GPU
accelerator crashes on them in 8 bits, and gives wrong numbers where arithmetic joins two outputs of one split. It is
right on slices, which XNNPACK and NPUs take, too.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters import graphs
from converters.delegates import parts
from converters.delegates.operator import Operator, Subgraph, subgraph

#: Which input of a split is the axis, and which is split.
_INPUTS = {"SPLIT": (0, 1), "SPLIT_V": (2, 0)}
#: The version of SLICE for a type.
_VERSIONS = {"float32": 1, "int32": 1, "int8": 2, "uint8": 1, "int16": 4}
#: More axes than this ask for a later version of SLICE.
_MOST_AXES = 4


def slice_splits(model: bytes) -> bytes:
    """A .tflite that computes the same; splits with an output that nothing reads, or of which two outputs are joined
    by arithmetic, are slices of those outputs that are read. The same bytes where there is none."""
    tree = graphs.parse(model)
    changed = [_rewritten(tree, number) for number in range(len(tree.subgraphs))]
    if not any(changed):
        return model
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _rewritten(tree: Any, number: int) -> bool:
    graph, own = subgraph(tree, number), tree.subgraphs[number]
    wanted = {one.index for one in parts.unread(graph)} | {origin for _, origin in parts.joins(graph)}
    instead = {
        one.index: _slices(tree, own, graph, one) for one in graph.operators if one.index in wanted and _plain(one)
    }
    operators = [instead.get(index, [operator]) for index, operator in enumerate(own.operators)]
    own.operators = [operator for group in operators for operator in group]
    return bool(instead)


def _plain(one: Operator) -> bool:
    """Whether an operator is a split that slices can replace."""
    if one.kind not in _INPUTS:
        return False
    axis, source = (one.input(position) for position in _INPUTS[one.kind])
    same = all((t.scale, t.zero_point) == (source.scale, source.zero_point) for t in one.outputs)
    known = axis.numbers() is not None and not any(t.dynamic for t in (source, *one.outputs))
    return same and known and source.dtype in _VERSIONS and source.rank <= _MOST_AXES


def _slices(tree: Any, own: Any, graph: Subgraph, one: Operator) -> list[Any]:
    axis_input, source = (one.input(position) for position in _INPUTS[one.kind])
    axis = (axis_input.numbers() or (0,))[0] % source.rank
    read, start, made = parts.read(graph), 0, []
    for part in one.outputs:
        begin = [start if position == axis else 0 for position in range(source.rank)]
        start += part.shape[axis]
        if part.index not in read:
            continue
        operator = schema.OperatorT()
        operator.opcodeIndex = _code(tree, _VERSIONS[source.dtype])
        operator.inputs = [source.index, _constant(tree, own, begin), _constant(tree, own, list(part.shape))]
        operator.outputs = [part.index]
        operator.builtinOptionsType, operator.builtinOptions = (
            schema.BuiltinOptions.SliceOptions,
            schema.SliceOptionsT(),
        )
        made.append(operator)
    return made


def _code(tree: Any, version: int) -> int:
    for index, code in enumerate(tree.operatorCodes):
        if code.builtinCode == schema.BuiltinOperator.SLICE and code.version == version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SLICE
    code.version = version
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1


def _constant(tree: Any, own: Any, values: list[int]) -> int:
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8)
    tree.buffers.append(buffer)
    tensor.name, tensor.shape, tensor.type = f"bounds_{len(own.tensors)}", [len(values)], schema.TensorType.INT32
    tensor.buffer = len(tree.buffers) - 1
    own.tensors.append(tensor)
    return len(own.tensors) - 1
