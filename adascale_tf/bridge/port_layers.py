"""The ``tf_keras`` counterpart of each Keras 3 and Keras 2 layer, operation and activation."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_tf.graph import kinds
from adascale_tf.graph.kinds import LayerKind
from adascale_tf.graph.stock import ACTIVATIONS, AUGMENTATIONS, LAYERS
from adascale_tf.graph.stock import bare as bare_name

L = tf_keras.layers
Place = Callable[[str], str]

#: Settings without a meaning after training, or that belong to the original.
_DROPPED = ("regularizer", "constraint", "initializer")
#: Two-tensor operations, by name without module and underscores.
_JOINS = {"add": "Add", "addv2": "Add", "multiply": "Multiply", "mul": "Multiply", "subtract": "Subtract"}
_JOINS |= {"maximum": "Maximum", "minimum": "Minimum"}
#: Activations made of ReLU6.
_RELU6 = ("relu6", "hard_swish", "hard_silu", "hard_sigmoid")
#: Keyword arguments that set an operation up, rather than being an operand.
_SETTINGS = ("alpha", "approximate", "axis", "negative_slope")
#: The end of a sentence about a layer of a kind that is not known.
UNKNOWN = (
    "which cannot be converted to Keras 2; replace it with stock layers (convolution, dense, recurrent, normalization, "
    "pooling, joins) or end the model before it."
)


def plain(name: str) -> str:
    """A layer's name without what TensorFlow or recipes would stumble over."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return safe if re.match(r"[A-Za-z0-9.]", safe) else f"layer{safe}"


def call(layer: Any, tensors: list[Any], place: Place) -> tuple[Any, Any]:
    """Call a layer's counterpart; gives it (None if it has no weights to copy) and the output."""
    kind, name = type(layer).__name__, plain(layer.name)
    if kind == "Normalization":
        return None, _normalize(layer, tensors[0], place)
    if kind in AUGMENTATIONS:  # the training here has its own; whether it does nothing else is compared afterwards
        return None, tensors[0]
    if kind not in LAYERS:
        raise BadInput(f"Layer '{name}' is a {kind}, {UNKNOWN}")
    config = layer.get_config()
    if config.get("data_format") == "channels_first":
        raise BadInput(f"Layer '{name}' uses channels_first; build the model with channels_last.")
    record = kinds.of(kind)
    if record.gates and (len(tensors) > 1 or config.get("return_state") or config.get("stateful")):
        raise BadInput(f"Layer '{name}' uses initial_state, return_state or stateful; build it without them.")
    settings = _settings(record, config)
    after = _split_activation(settings, layer, type(layer).__module__.startswith("keras."))
    counterpart = getattr(L, kind)(name=place(name), **settings)
    output = counterpart(tensors if len(tensors) > 1 or record.joins else tensors[0])
    return counterpart, activate(after, output, name, place) if after else output


def _settings(record: LayerKind, config: dict[str, Any]) -> dict[str, Any]:
    """Those of a layer's settings that its counterpart has, as the counterpart calls them."""
    known: set[str] = set()
    for base in getattr(L, record.name).__mro__:
        if base.__module__.startswith("tf_keras"):
            known |= set(inspect.signature(base.__init__).parameters)
    settings = {
        key: value
        for key, value in config.items()
        if key in known and key not in ("name", "dtype", "trainable", "batch_input_shape", "kwargs", "self")
        and not key.endswith(_DROPPED)
    }  # fmt: skip
    return record.ported(settings, config) if record.ported else settings


def _split_activation(settings: dict[str, Any], layer: Any, keras3: bool) -> str | None:
    """Take out an activation that ``tf_keras`` lacks or defines differently; gives its name."""
    for key in ("recurrent_activation", "activation"):
        if settings.get(key) is None:
            continue
        activation = getattr(layer, key, settings[key])
        name = str(getattr(activation, "__name__", type(activation).__name__))
        if name in ACTIVATIONS or (name == "hard_sigmoid" and not keras3):
            settings[key] = name
            continue
        if kinds.of(type(layer).__name__).gates:
            raise BadInput(
                f"Layer '{layer.name}' has the {key.replace('_', ' ')} {name}, which recurrent layers of tf_keras "
                "lack; use tanh and sigmoid."
            )
        settings[key] = "linear"
        return name
    return None


def activate(name: str, x: Any, where: str, place: Place) -> Any:
    """An activation as stock layers."""
    if name in ACTIVATIONS:
        return L.Activation(name, name=place(f"{where}_{name}"))(x)
    if name == "gelu_tanh":  # x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, Hendrycks and Gimpel, 2016
        root = math.sqrt(2 / math.pi)
        gate = L.Multiply(name=place(f"{where}_square"))([x, x])
        gate = L.Rescaling(0.044715 * root, root, name=place(f"{where}_cubic"))(gate)
        gate = L.Multiply(name=place(f"{where}_inner"))([x, gate])
        gate = L.Activation("tanh", name=place(f"{where}_tanh"))(gate)
        gate = L.Rescaling(0.5, 0.5, name=place(f"{where}_half"))(gate)
        return L.Multiply(name=place(f"{where}_gate"))([x, gate])
    if name == "relu6":
        return L.ReLU(6.0, name=place(f"{where}_relu6"))(x)
    if name == "leaky_relu":
        return L.LeakyReLU(0.2, name=place(f"{where}_leaky_relu"))(x)
    if name in ("hard_sigmoid", "hard_silu", "hard_swish"):  # relu6(x + 3) / 6, Howard et al., MobileNetV3, 2019
        gate = L.Rescaling(1.0, 3.0, name=place(f"{where}_shift"))(x)
        gate = L.ReLU(6.0, name=place(f"{where}_relu6"))(gate)
        gate = L.Rescaling(1 / 6, name=place(f"{where}_scale"))(gate)
        return gate if name == "hard_sigmoid" else L.Multiply(name=place(f"{where}_gate"))([x, gate])
    raise BadInput(
        f"Layer '{where}' has the activation {name}, which cannot be converted to Keras 2; use relu, silu or gelu."
    )


def arithmetic(operation: Any, args: list[Any], kwargs: dict[str, Any], place: Place) -> Any:
    """An operation that is no layer (``x + 3``, ``tf.nn.relu6(x)``) as stock layers."""
    symbol = str(getattr(operation, "symbol", None) or type(operation).__name__)
    name = plain(operation.name)
    bare = bare_name(symbol)
    settings = _attributes(operation) | {key: value for key, value in kwargs.items() if key in _SETTINGS}
    values = [*args, *(value for key, value in kwargs.items() if key not in _SETTINGS)]
    tensors = [value for value in values if hasattr(value, "_keras_history")]
    numbers = [float(np.asarray(value).reshape(())) for value in values if _is_number(value)]
    if len(tensors) == 2 and len(values) == 2 and bare in _JOINS:
        return getattr(L, _JOINS[bare])(name=place(name))(tensors)
    if len(tensors) == 1 and len(values) == 2 and len(numbers) == 1:
        scale, offset = _linear(bare, numbers[0], first=_is_number(values[0]))
        if scale is not None:
            return L.Rescaling(scale, offset, name=place(name))(tensors[0])
    bare = {"hardswish": "hard_swish", "hardsilu": "hard_silu", "hardsigmoid": "hard_sigmoid"}.get(bare, bare)
    if len(tensors) == 1 and len(values) == 1 + len(numbers):
        output = _unary(bare, tensors[0], numbers, settings, name, place)
        if output is not None:
            return output
    raise BadInput(f"Operation '{name}' ({symbol}) cannot be converted to Keras 2; write it with stock layers.")


def _attributes(operation: Any) -> dict[str, Any]:
    """What a Keras 3 operation keeps in itself, such as a slope; ``tf_keras`` keeps it in the call."""
    if hasattr(operation, "symbol"):
        return {}
    return {key: value for key, value in vars(operation).items() if key != "name" and not key.startswith("_")}


def _unary(bare: str, x: Any, numbers: list[float], settings: dict[str, Any], where: str, place: Place) -> Any | None:
    """A function of one tensor with its settings as stock layers, None if there are none for it."""
    if bare in ("negative", "neg") and not numbers and not settings:
        return L.Rescaling(-1.0, name=place(where))(x)
    if bare in ("leakyrelu", "leaky_relu"):
        slope = [*numbers, *settings.values(), 0.2][0]
        return L.LeakyReLU(slope, name=place(where))(x)
    if bare == "relu" and settings:
        return L.ReLU(settings["max_value"], settings["negative_slope"], settings["threshold"], name=place(where))(x)
    if bare == "elu" and settings:
        return L.ELU(settings["alpha"], name=place(where))(x)
    if bare == "gelu" and not numbers:
        return activate("gelu_tanh" if settings.get("approximate") else "gelu", x, where, place)
    if bare == "softmax" and settings.get("axis", -1) in (-1, len(x.shape) - 1) and not numbers:
        return activate(bare, x, where, place)
    if bare in ("clip", "clip_by_value"):
        low, high = [*numbers, *settings.values(), None, None][:2]
        return L.ReLU(float(high), name=place(where))(x) if low == 0 and _is_number(high) else None
    if numbers or settings or (bare not in ACTIVATIONS and bare not in _RELU6):
        return None
    return activate(bare, x, where, place)


def _is_number(value: Any) -> bool:
    if isinstance(value, (bool, str)) or hasattr(value, "_keras_history"):
        return False
    return isinstance(value, (int, float)) or (hasattr(value, "dtype") and np.size(value) == 1)


def _linear(operation: str, number: float, first: bool) -> tuple[float | None, float]:
    """``scale * x + offset`` for an operation with one number, before (``first``) or after the tensor."""
    if operation in ("add", "addv2"):
        return 1.0, number
    if operation in ("multiply", "mul"):
        return number, 0.0
    if operation in ("subtract", "sub"):
        return (-1.0, number) if first else (1.0, -number)
    if operation in ("divide", "truediv", "true_divide", "truedivide") and not first:
        return 1 / number, 0.0
    return None, 0.0


def _normalize(layer: Any, x: Any, place: Place) -> Any:
    """Normalization with its means and variances as a Rescaling, a value per channel where they differ."""
    mean = np.asarray(layer.mean, np.float64).reshape(-1)
    spread = np.maximum(np.sqrt(np.asarray(layer.variance, np.float64).reshape(-1)), 1e-7)
    if layer.get_config().get("invert"):
        raise BadInput(
            f"Layer '{layer.name}' inverts a normalization, which cannot be converted to Keras 2; remove it."
        )
    if mean.size not in (1, x.shape[-1]):
        raise BadInput(f"Layer '{layer.name}' normalizes along an axis other than the last; use axis=-1.")
    scale, offset = 1 / spread, -mean / spread
    if mean.size == 1:
        return L.Rescaling(float(scale[0]), float(offset[0]), name=place(plain(layer.name)))(x)
    return L.Rescaling(scale.tolist(), offset.tolist(), name=place(plain(layer.name)))(x)
