"""Contents of a .tflite: the cost of each signature, and extraction of a signature into its own file.

The numbers come from the flatbuffer alone, per operator, so that they hold for files of any origin. Schema:
tensorflow/compiler/mlir/lite/schema/schema.fbs, read with the object API that LiteRT ships.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adascale_runtime.seams.manifest import Cost, TensorSpec
from converters import graphs, kernel_classes
from converters.graphs import Graph, elements, has_data, parse


def signatures(model: bytes) -> list[str]:
    """The signature keys, in the file's order."""
    return [graphs.text(s.signatureKey) for s in parse(model).signatureDefs or []]


def extract(model: bytes, signature: str) -> bytes:
    """The .tflite reduced to one signature: only its subgraphs and the buffers they use; runs as before."""
    tree = parse(model)
    definition = graphs.definition(tree, signature)
    subgraphs = graphs.reachable(tree, definition.subgraphIndex)
    position = {old: new for new, old in enumerate(subgraphs)}
    for old in subgraphs:
        for operator in tree.subgraphs[old].operators or []:
            for field in graphs.SUBGRAPH_FIELDS:
                if hasattr(operator.builtinOptions, field):
                    setattr(operator.builtinOptions, field, position[getattr(operator.builtinOptions, field)])
    tree.subgraphs = [tree.subgraphs[old] for old in subgraphs]
    definition.subgraphIndex = 0
    tree.signatureDefs = [definition]
    _keep_used_buffers(tree)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _keep_used_buffers(tree: Any) -> None:
    """Drop buffers that no tensor uses. Buffer 0 stays: the format reserves it for "no data"."""
    used = {0} | {t.buffer for g in tree.subgraphs for t in g.tensors}
    used |= {m.buffer for m in tree.metadata or []}
    order = sorted(used)
    position = {old: new for new, old in enumerate(order)}
    tree.buffers = [tree.buffers[old] for old in order]
    for graph in tree.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = position[tensor.buffer]
    for entry in tree.metadata or []:
        entry.buffer = position[entry.buffer]


@dataclass(frozen=True)
class FileOperator:
    """One operator of a signature: ``kernel`` is its class, such as ``conv-integer``; ``alive_bytes`` of activations
    exist
    while it runs; ``delegated`` says whether XNNPACK has a kernel for it."""

    kind: str
    kernel: str
    macs: int
    weight_bytes: float
    activation_bytes: float
    alive_bytes: float
    delegated: bool


def operators(model: bytes, signature: str) -> list[FileOperator]:
    """The operators of a signature and of what it calls, in the file's order."""
    tree = parse(model)
    executed: list[FileOperator] = []
    for index in graphs.reachable(tree, graphs.definition(tree, signature).subgraphIndex):
        executed += _operators(graphs.subgraph(tree, index), tree.subgraphs[index])
    return executed


def _operators(graph: Graph, subgraph: Any) -> list[FileOperator]:
    rows = []
    for operator, alive in zip(graph.operators, _alive_bytes(graph, subgraph), strict=True):
        inputs = [int(t) for t in operator.inputs if t >= 0]
        touched = [t for t in inputs if not graph.is_constant(t)] + [int(t) for t in operator.outputs]
        stored = sum(_stored_bytes(graph, t) for t in inputs if graph.is_constant(t))
        moved = sum(graph.bytes_of(t) for t in touched)
        name, taken = kernel_classes.name(graph, operator), kernel_classes.delegated(graph, operator)
        rows.append(FileOperator(graph.kind(operator), name, _macs(graph, operator), stored, moved, alive, taken))
    return rows


def cost(model: bytes, signature: str) -> Cost:
    """What one inference of a signature costs, see :class:`~adascale_runtime.seams.bundle.Cost`.

    A constant that is read by several operators (the weights of an unrolled GRU) counts once in ``params`` and at
    every reading in ``weight_bytes``. Bodies of loops count once: their trip count is not in the file.
    """
    tree = parse(model)
    first = graphs.definition(tree, signature).subgraphIndex
    executed: list[FileOperator] = []
    weights: dict[int, int] = {}
    sums: kernel_classes.Sums = {"file": {"bytes": float(len(model))}}
    for index in range(len(tree.subgraphs)):
        kernel_classes.add(sums["file"], kernel_classes.prepared(graphs.subgraph(tree, index)))
    peak = 0.0
    for index in graphs.reachable(tree, first):
        graph, subgraph = graphs.subgraph(tree, index), tree.subgraphs[index]
        if index == first:  # what is copied in and out
            sums["border"] = {"bytes": sum(graph.bytes_of(int(t)) for t in (*subgraph.inputs, *subgraph.outputs))}
        own = _operators(graph, subgraph)
        executed += own
        peak = max(peak, sum(graph.bytes_of(int(t)) for t in subgraph.inputs), *(o.alive_bytes for o in own))
        for operator in graph.operators:
            for t in [int(t) for t in operator.inputs if t >= 0 and graph.is_constant(int(t))]:
                if graph.kind(operator) in _WEIGHTED:
                    weights[_source_buffer(graph, t)] = elements(graph.tensors[t])
        macs, sizes = [o.macs for o in own], [o.weight_bytes for o in own]
        for name, more in kernel_classes.sums(graph, list(zip(graph.operators, macs, sizes, strict=True))).items():
            kernel_classes.add(sums.setdefault(name, {}), more)
    return Cost(
        macs=sum(o.macs for o in executed),
        params=sum(weights.values()),
        weight_bytes=int(sum(o.weight_bytes for o in executed)),
        activation_bytes=int(sum(o.activation_bytes for o in executed)),
        peak_bytes=int(peak),
        ops=len(executed),
        kernels=sums,
    )


_WEIGHTED = {
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "BATCH_MATMUL",
    "MUL",
    "ADD",
    "SUB",
    "GATHER",
}


def _unpacker(graph: Graph, tensor: int) -> int:
    """The stored tensor behind a constant: itself, or the float16 tensor it is unpacked from."""
    if has_data(graph.tree.buffers[graph.tensors[tensor].buffer]):
        return tensor
    for subgraph in graph.tree.subgraphs:
        if any(t is graph.tensors[tensor] for t in subgraph.tensors):
            for operator in subgraph.operators:
                if tensor in [int(t) for t in operator.outputs]:
                    return int(operator.inputs[0])
    return tensor


def _source_buffer(graph: Graph, tensor: int) -> int:
    return int(graph.tensors[_unpacker(graph, tensor)].buffer)


def _stored_bytes(graph: Graph, tensor: int) -> float:
    return graph.bytes_of(_unpacker(graph, tensor))


def _macs(graph: Graph, operator: Any) -> int:
    """Multiply-accumulates of one operator: output positions times the products behind each."""
    kind = graph.kind(operator)
    if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"):
        return 0
    output = graph.tensors[operator.outputs[0]]
    if kind == "TRANSPOSE_CONV":
        weights, source = graph.tensors[operator.inputs[1]], graph.tensors[operator.inputs[2]]
        return elements(source) * elements(weights) // int(weights.shape[3])
    weights = graph.tensors[operator.inputs[1]]
    if kind == "CONV_2D":  # weights: (out, height, width, in)
        return elements(output) * int(np.prod(weights.shape[1:]))
    if kind == "DEPTHWISE_CONV_2D":  # weights: (1, height, width, out)
        return elements(output) * int(weights.shape[1] * weights.shape[2])
    return elements(output) * int(graph.tensors[operator.inputs[0]].shape[-1])


def _alive_bytes(graph: Graph, subgraph: Any) -> list[float]:
    """The activations alive while each operator runs, in the file's order of operators (an arena without waste)."""
    last_use = {int(t): len(graph.operators) for t in subgraph.outputs}
    for step, operator in enumerate(graph.operators):
        for t in operator.inputs:
            if t >= 0 and not graph.is_constant(t):
                last_use[int(t)] = max(step, last_use.get(int(t), -1))
    alive = {int(t): graph.bytes_of(t) for t in subgraph.inputs}
    peaks = []
    for step, operator in enumerate(graph.operators):
        alive.update({int(t): graph.bytes_of(t) for t in operator.outputs})
        peaks.append(sum(alive.values()))
        alive = {t: size for t, size in alive.items() if last_use.get(t, -1) > step}
    return peaks


_DTYPES = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.INT8: "int8",
    schema.TensorType.UINT8: "uint8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.INT32: "int32",
}


def borders(model: bytes, signature: str) -> tuple[TensorSpec, TensorSpec]:
    """The first input and the first output of a signature, with their quantization."""
    tree = parse(model)
    definition = graphs.definition(tree, signature)
    tensors = tree.subgraphs[definition.subgraphIndex].tensors
    source, output = definition.inputs[0], definition.outputs[0]
    return _spec(tensors[source.tensorIndex], graphs.text(source.name)), _spec(
        tensors[output.tensorIndex], graphs.text(output.name)
    )


def _spec(tensor: Any, name: str) -> TensorSpec:
    shape = tuple(int(n) for n in tensor.shape)
    dtype = _DTYPES.get(tensor.type, "float32")
    quantization = tensor.quantization
    if dtype == "float32" or quantization is None or quantization.scale is None or not len(quantization.scale):
        return TensorSpec(name, shape, dtype)
    return TensorSpec(name, shape, dtype, float(quantization.scale[0]), int(quantization.zeroPoint[0]))
