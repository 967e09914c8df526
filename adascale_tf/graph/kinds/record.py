"""The record of a layer kind, with all that is known about it, and the registry of records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adascale_tf.graph.kinds.groups import Groups, Segments
from adascale_tf.graph.nodes import Node

#: A shape without the batch.
Shape = tuple[Any, ...]
#: ``(groups, node, segments of its inputs, shapes of its inputs)`` -> segments of its output; None if the rule does not
#: cover this node, whose inputs then stay whole.
ChannelRule = Callable[[Groups, Node, list[Segments], list[Shape]], "Segments | None"]
#: ``(node, shapes of its inputs)`` -> shape of its output; None if the size of the input cannot change.
ShapeRule = Callable[[Node, list[Shape]], "Shape | None"]
#: ``(node, shapes of its inputs)`` -> multiply-accumulates of one inference.
MacRule = Callable[[Node, list[Shape]], int]
#: ``(node, number of output channels)`` -> the node's configuration with that many.
WidthRule = Callable[[Node, int], dict[str, Any]]
#: ``(settings, configuration of the original)`` -> settings of the counterpart in ``tf_keras``.
PortRule = Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Axis:
    """Whose channels one axis of a weight counts, which is how it is cut."""

    follows: str = ""
    """``out``: the channels that the layer gives; ``in``: those of an input; empty: neither, the axis stays whole."""

    times: int = 1
    """How many times the channels lie side by side, as the gates of a recurrent layer do."""

    source: int = 0
    """Which input, for ``in``."""


IN, OUT, WHOLE = Axis("in"), Axis("out"), Axis()


def _no_macs(node: Node, inputs: list[Shape]) -> int:
    return 0


@dataclass(frozen=True)
class LayerKind:
    """One kind of layer. A field left out means that the kind lacks it: by default a layer stays whole."""

    name: str
    """The Keras class."""

    width: str | None = None
    """The constructor's argument with the number of output channels."""

    axes: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)
    """For each weight what its axes follow, from the last axis backwards; axes not listed stay whole."""

    channels: ChannelRule | None = None
    """How the channels of the output follow from those of the inputs; None: no channels of the inputs are cut."""

    rewidth: WidthRule | None = None
    """The configuration for another number of output channels, where setting ``width`` does not say it."""

    shape: ShapeRule | None = None
    """The shape of the output; None: the size of the inputs never changes."""

    macs: MacRule = _no_macs
    """Multiply-accumulates of one inference; 0 for kinds that are not counted."""

    gates: int = 0
    """Gates side by side in a recurrent layer's weights; 0: not recurrent."""

    prunable: tuple[str, ...] = ()
    """The weights that hold enough values to be pruned or clustered."""

    thin: str = ""
    """The layer that comes first when a low rank splits this one: ``itself``, followed by a 1x1 convolution, or
    ``dense``, followed by the layer itself. Empty: it cannot be split."""

    quantized_training: bool = True
    """Whether TF-MOT can train it quantized."""

    prepares_input: bool = False
    """Whether it may stand between the network's input and the first layer that computes something."""

    only_resizes: bool = False
    """Whether it hands its input on unchanged if the shape stays the same."""

    joins: bool = False
    """Whether it is called with a list of inputs."""

    ported: PortRule | None = None
    """How its settings read in ``tf_keras``, where the names are not enough."""

    @property
    def filters(self) -> str | None:
        """The weight that makes the output's channels from the input's, None if there is none."""
        for name, axes in self.axes.items():
            if axes[0].follows == "out" and any(axis.follows == "in" for axis in axes):
                return name
        return None

    def config(self, node: Node, width: int) -> dict[str, Any]:
        """A node's configuration with ``width`` output channels."""
        if self.rewidth is not None:
            return self.rewidth(node, width)
        return {**node.config, self.width: width} if self.width else dict(node.config)


#: The records by name.
LAYER_KINDS: dict[str, LayerKind] = {}


def layer_kind(record: LayerKind) -> LayerKind:
    """Register a kind of layer, and give it back."""
    if record.name in LAYER_KINDS:
        raise ValueError(f"the layer kind {record.name} is registered already")
    LAYER_KINDS[record.name] = record
    return record


def of(name: str) -> LayerKind:
    """The record of a kind; one that is not registered stays whole."""
    return LAYER_KINDS.get(name) or LayerKind(name)
