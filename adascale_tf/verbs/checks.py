"""Checks before a network is trained or written: finite numbers, recipes that change something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.seams.manifest import Accuracy
from adascale_tf import operators
from adascale_tf.data import Dataset

if TYPE_CHECKING:
    from adascale_tf.network.elastic import ElasticNetwork


def check_data(data: Dataset) -> None:
    """Refuse data that is not finite as the network takes it, in float32.

    Raises:
        BadInput: names the data and its split.
    """
    for split, x in (("training", data.x_train), ("test", data.x_test)):
        if x.dtype == np.uint8:
            continue
        for start in range(0, len(x), 1000):
            with np.errstate(over="ignore"):
                finite = bool(np.isfinite(data.inputs(x[start : start + 1000])).all())
            if not finite:
                raise BadInput(
                    f"{data.name} has values in its {split} split that are not finite in float32; scale the data to "
                    "about -1 to 1 and leave out what is not a number."
                )


def check_finite(network: ElasticNetwork) -> None:
    """Refuse a network with a weight or statistic that is not finite.

    Raises:
        AdaScaleError: names the weight.
    """
    for name, value in network.values.items():
        if not np.isfinite(value).all():
            raise AdaScaleError(
                f"The network has values in '{name}' that are not finite, so nothing is built from it; scale the data "
                "to about -1 to 1, or train from a model whose weights are finite, into a new --checkpoint."
            )


def idle_steps(network: ElasticNetwork) -> list[str]:
    """A sentence for each recipe with steps that change nothing in this network."""
    sentences = []
    for recipe in network.recipes:
        idle = operators.idle_steps(network.whole, recipe)
        if idle:
            steps = " and ".join(f"'{step}'" for step in idle)
            sentences.append(f"Recipe '{recipe}': {steps} {'does' if len(idle) == 1 else 'do'} nothing here.")
    return sentences


def knows_something(network: ElasticNetwork, data: Dataset) -> bool:
    """Whether the full trunk does better on the validation split than naming the most frequent class, beyond chance."""
    x, y = data.validation
    frequent = float(np.bincount(y).max() / len(y))
    right = float(np.mean(_logits(network, data, x).argmax(-1) == y))
    return right - 2 * np.sqrt(right * (1 - right) / len(y)) > frequent


def given_accuracy(network: ElasticNetwork, data: Dataset) -> Accuracy:
    """The accuracy on the test split of the model that a network was made from; to be asked before its training."""
    from converters import verify

    return verify.accuracy(_logits(network, data, data.x_test), data.y_test, "test")


def _logits(network: ElasticNetwork, data: Dataset, x: np.ndarray) -> np.ndarray:
    """What the full trunk's last exit gives for raw examples, (N, classes)."""
    parts = (data.inputs(x[i : i + 256]) for i in range(0, len(x), 256))
    return np.concatenate([network.trunks[0].call(part, training=False)[-1].numpy() for part in parts])
