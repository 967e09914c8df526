"""Conversion between Keras models and graphs, and calls of a model with other weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import tensorflow as tf
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_tf.graph.nodes import Graph, Node


def read_graph(model: tf_keras.Model) -> Graph:
    """The graph of a functional ``tf_keras`` model whose layers are each called once; its outputs are the exits."""
    config = model.get_config()
    nodes = []
    for entry in config["layers"]:
        calls = entry["inbound_nodes"]
        if len(calls) > 1:
            raise BadInput(f"Layer '{entry['name']}' is called {len(calls)} times; call each layer once.")
        inputs = tuple(call[0] for call in calls[0]) if calls else ()
        shape = model.get_layer(entry["name"]).output_shape
        shape = shape[0] if isinstance(shape, list) else shape
        nodes.append(Node(entry["name"], entry["class_name"], entry["config"], inputs, tuple(shape[1:])))
    return Graph(tuple(nodes), tuple(output[0] for output in config["output_layers"]))


def build_model(graph: Graph, name: str, unroll: bool = False) -> tf_keras.Model:
    """A ``tf_keras`` model of a graph, freshly initialised. ``unroll``: recurrent layers as plain operators."""
    tensors: dict[str, Any] = {}
    for node in graph.nodes:
        config = dict(node.config)
        if node.kind == "InputLayer":
            tensors[node.name] = tf_keras.Input(node.shape, name=node.name, dtype=config.get("dtype"))
            continue
        if unroll and "unroll" in config:
            config["unroll"] = True
        layer = tf_keras.layers.deserialize({"class_name": node.kind, "config": config})
        inputs = [tensors[source] for source in node.inputs]
        tensors[node.name] = layer(inputs if len(inputs) > 1 else inputs[0])
    first = [tensors[node.name] for node in graph.nodes if node.kind == "InputLayer"]
    return tf_keras.Model(first[0] if len(first) == 1 else first, [tensors[out] for out in graph.outputs], name=name)


@dataclass(frozen=True)
class Slot:
    """Where a layer keeps a variable: ``owner.attribute`` (the owner is the layer or, in an RNN, its cell)."""

    owner: Any
    attribute: str
    variable: tf.Variable


def slots(model: tf_keras.Model) -> dict[tuple[str, str], Slot]:
    """All variables of a model's layers by (layer name, attribute)."""
    return {(layer.name, name): slot for layer in model.layers for name, slot in layer_slots(layer).items()}


def layer_slots(layer: Any) -> dict[str, Slot]:
    """The variables of one layer, and of its cell if it is recurrent, by attribute."""
    owners = [owner for owner in (layer, getattr(layer, "cell", None)) if owner is not None]
    return {
        attribute.lstrip("_"): Slot(owner, attribute, value)
        for owner in owners
        for attribute, value in vars(owner).items()
        if isinstance(value, tf.Variable)
    }


@contextmanager
def substituted(pairs: Sequence[tuple[Slot, tf.Tensor]]) -> Iterator[None]:
    """While this lasts, layers see the given tensors in place of their variables: a functional call.

    Written past Keras' attribute tracking, which would otherwise forget the variables.
    """
    for slot, tensor in pairs:
        vars(slot.owner)[slot.attribute] = tensor
    try:
        yield
    finally:
        for slot, _ in pairs:
            vars(slot.owner)[slot.attribute] = slot.variable


@contextmanager
def limited(what: str) -> Iterator[None]:
    """While this lasts, variables of more bytes in all than :func:`archives.limit` allows are refused, before they are
    made; ``what`` asks for them."""
    total = 0

    def creator(create: Any, **settings: Any) -> Any:
        nonlocal total
        shape, dtype = settings.get("shape"), settings.get("dtype")
        if shape is None and callable(settings.get("initial_value")):  # Keras 3: the value has it
            with tf.Graph().as_default():
                value = settings["initial_value"]()
                shape, dtype = value.shape, value.dtype
        if shape is not None:
            total += prod(int(n or 0) for n in tf.TensorShape(shape)) * tf.as_dtype(dtype or tf.float32).size
            archives.check_size(total, what)
        return create(**settings)

    with tf.variable_creator_scope(creator):
        yield
