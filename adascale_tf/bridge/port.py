"""Conversion of a Keras model to a flat functional ``tf_keras`` model, which TF-MOT and the operators need.

Keras 3 and Keras 2 models alike are walked node by node, each layer is called anew as its ``tf_keras`` counterpart
(:mod:`adascale_tf.bridge.port_layers`) and gets the original's weights; the outputs of both are then compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_tf.bridge import model_files, port_layers

#: Largest difference between the outputs of a model and its port, as a share of the outputs' range; for models that
#: compute in 16 bits, which the port does not.
TOLERANCE, TOLERANCE_16_BITS = 1e-4, 2e-2


def load(path: Path, size: Sequence[int] = ()) -> tf_keras.Model:
    """Open a saved model (:mod:`adascale_tf.bridge.model_files`) and carry it over; ``size`` as for :func:`port`."""
    return port(model_files.opened(path), size)


def port(model: Any, size: Sequence[int] = ()) -> tf_keras.Model:
    """A live Keras 3 or ``tf_keras`` model as a flat functional ``tf_keras`` model that gives logits (N, classes).

    One input, one output, every layer called once, nested models inlined, a softmax at the end removed. ``size``: what
    the model leaves open of its input, such as height and width, or one number for all. :class:`BadInput` names the
    layer that cannot be converted to Keras 2; :class:`AdaScaleError` if the outputs differ.
    """
    graph = _functional(model)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise BadInput(
            f"Model '{model.name}' has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; it needs exactly "
            "one of each."
        )
    source = graph.inputs[0]
    image = tf_keras.Input(_fixed(model.name, tuple(source.shape[1:]), size), name="input")
    walk = _Walk()
    output = walk.model(graph, [image])[0]
    output, softmax = _logits(output)
    if len(output.shape) != 2 or (output.shape[-1] or 0) < 2:
        raise BadInput(f"Model '{model.name}' gives {tuple(output.shape[1:])}; a classifier gives one value per class.")
    ported = tf_keras.Model(image, output, name=port_layers.plain(model.name))
    for new, old in walk.weights:
        values = old.get_weights()
        if [value.shape for value in values] != [tuple(value.shape) for value in new.weights]:
            raise BadInput(
                f"Layer '{old.name}' has different weights from a {type(new).__name__} of tf_keras (adapters, "
                "quantized, rescaled?); replace it with a plain layer."
            )
        new.set_weights(values)
    _verify(model, graph, ported, walk, softmax)
    return ported


def _fixed(name: str, shape: tuple[int | None, ...], size: Sequence[int]) -> tuple[int | None, ...]:
    """An input's shape with its open sizes filled in."""
    if not size:
        return shape
    count = shape.count(None)
    if not count:
        if tuple(size) == shape[:-1] or (len(size) == 1 and set(shape[:-1]) == {size[0]}):
            return shape
        raise BadInput(f"Model '{name}' takes inputs {shape}, which are fixed; remove --input-size.")
    if len(size) not in (1, count):
        raise BadInput(f"Model '{name}' takes inputs {shape}; give {count} sizes, or one for all, not {len(size)}.")
    sizes = iter(size if len(size) == count else [size[0]] * count)
    return tuple(next(sizes) if n is None else n for n in shape)


def _functional(model: Any) -> Any:
    """The functional graph of a model: itself, or what a Sequential model keeps inside."""
    for candidate in (model, getattr(model, "_functional", None)):
        if getattr(candidate, "_nodes_by_depth", None) and getattr(candidate, "inputs", None):
            return candidate
    raise BadInput(
        f"Model '{getattr(model, 'name', model)}' has no graph of layers (subclassed or unbuilt?); build it with "
        "the functional API or Sequential with an Input."
    )


class _Same:
    """A tensor for ``tf_keras``' node arguments, which are popped from a list for each use."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def pop(self) -> Any:
        return self._tensor


@dataclass
class _Walk:
    """One pass over a model: what was called, and which layer has which original's weights."""

    weights: list[tuple[Any, Any]] = field(default_factory=list)
    tensors: list[tuple[str, Any, Any]] = field(default_factory=list)
    names: set[str] = field(default_factory=lambda: {"input"})
    seen: set[int] = field(default_factory=set)
    depth: int = 0

    def model(self, model: Any, inputs: list[Any]) -> list[Any]:
        """Call everything in a functional model on new inputs; gives its outputs."""
        known = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
        needed = _needed(model)
        self.depth += 1
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                operation: Any = node.operation if hasattr(node, "operation") else node.layer
                if node.is_input or id(node) not in needed:
                    continue
                args, kwargs = _arguments(node, known)
                outputs = self._call(operation, args, kwargs)
                for old, new in zip(_outputs(node), outputs, strict=True):
                    known[id(old)] = new
                    if self.depth == 1:
                        self.tensors.append((operation.name, old, new))
        self.depth -= 1
        return [known[id(output)] for output in model.outputs]

    def _call(self, operation: Any, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        if getattr(operation, "_nodes_by_depth", None) or getattr(operation, "_functional", None):
            return self.model(_functional(operation), _flat(args))
        name = port_layers.plain(operation.name)
        if not hasattr(operation, "get_weights") or type(operation).__name__ in ("TFOpLambda", "SlicingOpLambda"):
            return [port_layers.arithmetic(operation, args, kwargs, self.place)]
        if len(operation.get_weights()) and id(operation) in self.seen:
            raise BadInput(f"Layer '{name}' with weights is called more than once; use a separate layer for each call.")
        self.seen.add(id(operation))
        tensors = _flat(args)
        tensors += [value for key, value in kwargs.items() if key != "mask" and hasattr(value, "_keras_history")]
        layer, output = port_layers.call(operation, tensors, self.place)
        if layer is not None and len(layer.weights):
            self.weights.append((layer, operation))
        return [output]

    def place(self, name: str) -> str:
        """A name nobody has yet."""
        base, number = port_layers.plain(name), 1
        unique = base
        while unique in self.names:
            number += 1
            unique = f"{base}_{number}"
        self.names.add(unique)
        return unique


def _needed(model: Any) -> set[int]:
    """The nodes that the outputs depend on otherwise than by a mask, which ``tf_keras`` passes on by itself."""
    nodes = [node for level in model._nodes_by_depth.values() for node in level]
    makers = {id(tensor): node for node in nodes for tensor in _outputs(node)}
    needed: set[int] = set()
    stack = [id(tensor) for tensor in model.outputs]
    while stack:
        node = makers.get(stack.pop())
        if node is None or id(node) in needed:
            continue
        needed.add(id(node))
        if hasattr(node, "arguments"):
            kwargs = {key: value for key, value in node.arguments.kwargs.items() if key != "mask"}
            stack += [id(value) for value in _flat([*node.arguments.args, *kwargs.values()])]
        else:
            stack += [id(value) for value in node.keras_inputs]
    return needed


def _outputs(node: Any) -> list[Any]:
    return _flat(node.output_tensors if hasattr(node, "arguments") else node.outputs)


def _arguments(node: Any, known: dict[int, Any]) -> tuple[list[Any], dict[str, Any]]:
    if hasattr(node, "arguments"):  # Keras 3
        args, kwargs = node.arguments.fill_in(known)
    else:
        args, kwargs = node.map_arguments({str(key): _Same(tensor) for key, tensor in known.items()})
    kwargs = {key: value for key, value in kwargs.items() if value is not None and key not in ("training", "name")}
    return list(args), kwargs


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _flat(item)]
    return [value]


def _logits(output: Any) -> tuple[Any, bool]:
    """The output before a closing softmax, and whether there was one."""
    layer = output._keras_history.layer
    shaping: list[Any] = []
    while type(layer).__name__ in ("Reshape", "Flatten"):
        shaping.insert(0, layer)
        layer = layer.input._keras_history.layer
    kind = type(layer).__name__
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if kind == "Softmax" or activation == "softmax":
        shape = tuple(layer.output.shape)
        if getattr(layer, "axis", -1) not in (-1, len(shape) - 1) or shape[1:] != (1,) * (len(shape) - 2) + shape[-1:]:
            raise BadInput(
                f"Layer '{layer.name}' ends the model in a softmax over a part of {shape[1:]}; end it in a softmax "
                "over all classes."
            )
        if kind not in ("Softmax", "Activation"):
            layer.activation = tf_keras.activations.linear
            return output, True
        logits = layer.input
        for reshaping in shaping:  # anew, since they have been called on the softmax
            logits = type(reshaping).from_config(reshaping.get_config())(logits)
        return logits, True
    if activation == "sigmoid":
        raise BadInput(f"Layer '{layer.name}' ends the model in a sigmoid; end it in a softmax, one value per class.")
    return output, False


def _verify(model: Any, graph: Any, ported: tf_keras.Model, walk: _Walk, softmax: bool) -> None:
    short = any("16" in str(getattr(layer, "compute_dtype", "")) for layer in model.layers)
    for x in _samples(ported, graph.inputs[0].dtype):
        want, logits = np.asarray(model(x, training=False)), np.asarray(ported(x, training=False))
        if _agree(want, _softmax(logits) if softmax else logits, logits, short):
            continue
        keras: Callable[..., Any] = type(graph) if hasattr(graph, "_nodes_by_depth") else tf_keras.Model
        for name, old, new in walk.tensors:
            a = np.asarray(keras(graph.inputs, old)(x, training=False))
            b = np.asarray(tf_keras.Model(ported.input, new)(x, training=False))
            if not _agree(a, b, b, short):
                raise AdaScaleError(
                    f"Layer '{name}' gives different outputs in tf_keras; replace it with a stock layer."
                )
        raise AdaScaleError(f"Model '{model.name}' gives different outputs in tf_keras; please report it.")


def _samples(ported: tf_keras.Model, dtype: Any) -> list[np.ndarray]:
    """Inputs as a model may meet them: whole numbers it has a row for, or values around 0 and between 0 and 1."""
    rng = np.random.default_rng(0)
    shape = (2, *(n or (96 if len(ported.input_shape) == 4 else 16) for n in ported.input_shape[1:]))
    rows = [layer.input_dim for layer in ported.layers if type(layer).__name__ == "Embedding"]
    if rows or "int" in str(dtype):
        return [rng.integers(0, min([*rows, top]), shape).astype(np.float32) for top in (256, 2)]
    return [x.astype(np.float32) for x in (rng.uniform(0, 1, shape), rng.normal(0, 2, shape))]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _agree(want: np.ndarray, got: np.ndarray, logits: np.ndarray, short: bool) -> bool:
    """Whether outputs are the same; what rounding does to probabilities follows the size of the ``logits``."""
    if want.shape != got.shape:
        return False
    span = float(np.ptp(want))
    if short:
        allowed = TOLERANCE_16_BITS * max(1.0, span)
    else:  # the last term: probabilities of an untrained model differ by less than they are rounded
        allowed = TOLERANCE * (span + float(np.abs(logits).max()) / 10 + float(np.abs(want).max()) / 100)
    return float(np.abs(want - got).max()) <= allowed
