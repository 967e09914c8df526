"""Rehearsal: convert and run one branch of each precision before training, to find what cannot be built."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.recipe import Recipe
from adascale_tf.data import Dataset
from adascale_tf.verbs.export import calibration, entry

if TYPE_CHECKING:
    from adascale_tf.network.elastic import ElasticNetwork


def rehearse(network: ElasticNetwork, data: Dataset, tick: Tick = silent) -> None:
    """Convert and run the first branch of each precision.

    Raises:
        AdaScaleError: names the branch that cannot be built, with the reason.
    """
    by_precision = {network.plan(recipe).precision: recipe for recipe in network.recipes}
    for number, (recipe, _) in enumerate(trials(network, data, tuple(by_precision.values()), run=True), start=1):
        tick("rehearse conversion", number, len(by_precision), str(recipe))


def trials(
    network: ElasticNetwork,
    data: Dataset,
    recipes: Sequence[Recipe],
    delegates: Sequence[str] = (),
    *,
    run: bool = False,
) -> Iterator[tuple[Recipe, Branch]]:
    """Each recipe with the manifest's entry of its branch, converted alone from the weights that there are.

    Fresh weights hold zeros and ones, as biases and scales, for which the converter leaves operators out that training
    brings back. While a branch is converted they are other numbers.

    Args:
        network: has these recipes.
        data: gives examples for ranges.
        recipes: what is converted.
        delegates: those whose support the entries tell.
        run: run each file once, too.

    Raises:
        AdaScaleError: names the branch that cannot be built, with the reason.
    """
    from adascale_tf.training.quantization import wrap
    from converters import convert, precisions, verify

    examples = calibration(data)[:2]
    with tempfile.TemporaryDirectory() as scratch:
        inputs, file = Path(scratch) / "inputs.npy", Path(scratch) / "model.tflite"
        np.save(inputs, examples)
        for recipe in recipes:
            model, precision = network.trunk(recipe).network(recipe), network.plan(recipe).precision
            with _trained(model):
                networks = {recipe.id: wrap(model) if precisions.lookup(precision).trained else model}
                one = convert.convert(networks, precision, examples, {recipe.id: str(recipe)})[recipe.id]
            branch = entry(network, recipe, one, file.name, delegates)
            if run:
                file.write_bytes(one.model)
                verify.outputs_apart(file, branch, inputs)
            yield recipe, branch


@contextmanager
def _trained(model: Any) -> Iterator[None]:
    """Meanwhile no weight of a Keras network is 0 or 1, as if it had been trained; each is up to 0.001 beside it."""
    rng = np.random.default_rng(0)
    before = {}
    for number, one in enumerate(model.weights):
        values = one.numpy()
        plain = (values == 0) | (values == 1)
        if np.issubdtype(values.dtype, np.floating) and plain.any():
            before[number] = values
            beside = rng.choice((-1, 1), values.shape) * rng.uniform(1e-4, 1e-3, values.shape)
            one.assign(np.where(plain, values + beside, values).astype(values.dtype))
    try:
        yield
    finally:
        for number, values in before.items():
            model.weights[number].assign(values)
