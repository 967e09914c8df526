"""Rehearsal: convert and run one branch of each precision before training, to find what cannot be built."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
            networks = {recipe.id: wrap(model) if precisions.lookup(precision).trained else model}
            one = convert.convert(networks, precision, examples, {recipe.id: str(recipe)})[recipe.id]
            branch = entry(network, recipe, one, file.name, delegates)
            if run:
                file.write_bytes(one.model)
                verify.outputs_apart(file, branch, inputs)
            yield recipe, branch
