"""Creating an elastic network from a Keras model: convert it, add exits, fit their heads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, parse, parse_list
from adascale_tf.bridge import port
from adascale_tf.bridge.functional import build_model, read_graph, slots
from adascale_tf.data import Dataset
from adascale_tf.network import defaults, heads
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.operators import Plan

#: Examples that the early exits' heads are fitted to before training.
_FIT = 2000


def elastic(
    model: Any, recipes: str | Sequence[str | Recipe] | None = None, input_size: Sequence[int] = ()
) -> ElasticNetwork:
    """The elastic network of a model.

    Early exits are added where one node carries everything. The network's last exit gives the model's own logits; its
    weights are the model's.

    Args:
        model: a Keras 3 or ``tf_keras`` model, or the path of a saved one.
        recipes: its branches, as text or :class:`~adascale_runtime.seams.recipe.Recipe`; by default about a dozen that
            its graph allows.
        input_size: what the model leaves open of its input, (height, width) or one number for both.

    Raises:
        BadInput: names a layer that stands in the way, or a recipe that the graph does not allow.
    """
    ported = port.load(Path(model), input_size) if isinstance(model, (str, Path)) else port.port(model, input_size)
    shape = tuple(ported.input_shape[1:])
    if None in shape:
        raise BadInput(
            f"Model '{ported.name}' takes inputs {shape}, which have variable sizes; set them with --input-size, such "
            "as --input-size 224x224 (in Python: input_size=(224, 224))."
        )
    backbone = with_exits(ported)
    if isinstance(recipes, str):
        recipes = parse_list(recipes)
    chosen = [parse(r) if isinstance(r, str) else r for r in recipes] if recipes else default_recipes(backbone)
    return ElasticNetwork(backbone, chosen)


def default_recipes(backbone: tf_keras.Model, built_in: str = "") -> list[Recipe]:
    """The branches of a backbone when the user names none.

    Args:
        backbone: whose graph decides what applies.
        built_in: the name of the built-in backbone that it is; empty for a user's model, whatever its name.
    """
    ranks = {key: len(slot.variable.shape) for key, slot in slots(backbone).items()}
    return defaults.recipes(built_in, Plan(read_graph(backbone), ranks))


def with_exits(model: tf_keras.Model) -> tf_keras.Model:
    """The model with early exits of fresh heads beside its own output, its layers named by stage, its weights kept."""
    graph = read_graph(model)
    extended = heads.add_exits(graph)
    backbone = build_model(extended, model.name)
    source, target = slots(model), slots(backbone)
    renamed = {old.name: new.name for old, new in zip(graph.nodes, extended.nodes, strict=False)}
    for (layer, weight), slot in source.items():
        target[renamed[layer], weight].variable.assign(slot.variable)
    return backbone


def fit_heads(network: ElasticNetwork, data: Dataset) -> None:
    """Fit the early exits' dense layers to the backbone's features by least squares.

    Args:
        network: whose exits are fitted in place; its other weights and its statistics stay as they are.
        data: up to 2,000 of its training examples are used.
    """
    graph = network.whole.graph
    names = [out for out in graph.outputs[:-1] if graph[out].kind == "Dense"]
    if not names:
        return
    backbone = network.backbone
    index = np.linspace(0, len(data.x_train) - 1, min(_FIT, len(data.x_train))).astype(int)
    probe = tf_keras.Model(backbone.input, [backbone.get_layer(name).input for name in names])
    statistics = [(variable, variable.numpy()) for variable in network.trunks[0].statistics]
    batches = [probe(data.inputs(data.x_train[i]), training=True) for i in np.array_split(index, len(index) // 64 + 1)]
    for variable, value in statistics:  # features as training will see them, without leaving a trace
        variable.assign(value)
    for number, name in enumerate(names):
        features = np.concatenate([np.asarray(outputs[number] if len(names) > 1 else outputs) for outputs in batches])
        backbone.get_layer(name).set_weights(heads.least_squares(features, data.y_train[index], network.classes))
