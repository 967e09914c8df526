"""Rehearsal: convert and run one branch of each precision before training, to find what cannot be built."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adascale_runtime.progress import Tick, silent
from adascale_tf.data import Dataset
from adascale_tf.verbs.export import calibration, entry

if TYPE_CHECKING:
    from adascale_tf.network.elastic import ElasticNetwork


def rehearse(network: ElasticNetwork, data: Dataset, tick: Tick = silent) -> None:
    """Convert and run the first branch of each precision.

    Raises:
        AdaScaleError: names the branch that cannot be built, with the reason.
    """
    from adascale_tf.training.quantization import wrap
    from converters import convert, precisions, verify

    by_precision = {network.plan(recipe).precision: recipe for recipe in network.recipes}
    examples = calibration(data)[:2]
    with tempfile.TemporaryDirectory() as scratch:
        inputs, file = Path(scratch) / "inputs.npy", Path(scratch) / "model.tflite"
        np.save(inputs, examples)
        for number, (precision, recipe) in enumerate(by_precision.items(), start=1):
            model = network.trunk(recipe).network(recipe)
            networks = {recipe.id: wrap(model) if precisions.lookup(precision).trained else model}
            one = convert.convert(networks, precision, examples, {recipe.id: str(recipe)})[recipe.id]
            file.write_bytes(one.model)
            verify.outputs_apart(file, entry(network, recipe, one, file.name), inputs)
            tick("rehearse conversion", number, len(by_precision), str(recipe))
