"""Judging recipes: what a branch would answer and cost if it shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files.disk import Unwritable
from adascale_runtime.seams.recipe import Recipe
from adascale_tf import operators
from adascale_tf.network.front import Candidate
from adascale_tf.verbs import export
from adascale_tf.verbs.evolve import derive
from adascale_tf.verbs.saying import Say
from converters import convert, precisions, verify

if TYPE_CHECKING:
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.training import Schedule
    from adascale_tf.verbs.costs import Costs

#: Derived networks that are kept, for recipes that differ in their precision only.
_KEPT = 8
_SIGNATURE = "branch"


class Judge:
    """Gives a recipe's candidate: call it. Close it, as its examples lie in a file.

    A branch is derived from the network, and converted. Where the precision is exact the Keras network answers, else
    the file. A precision that is trained is judged as it is before that.

    Args:
        network: the trained network; it stays as it is.
        dataset: accuracy is measured on its validation split.
        costs: the objectives.
        schedule: strength, batch and seed of the steps.
        steps: batches that each new structure trains for.
        say: takes a sentence for each recipe that cannot be judged.
        targets: delegates that must take all of a branch; one that they do not take is no candidate.
    """

    def __init__(
        self, network: ElasticNetwork, dataset: Dataset, costs: Costs, schedule: Schedule, steps: int, say: Say, *,
        targets: Sequence[str] = (),
    ) -> None:  # fmt: skip
        examples, self._labels = dataset.validation
        self._examples = dataset.inputs(examples)
        self._calibration = export.calibration(dataset)
        self._costs, self._say, self._targets = costs, say, tuple(targets)
        self._derived = lru_cache(_KEPT)(lambda r: derive(network, [r], dataset, steps=steps, schedule=schedule))
        self._folder = tempfile.TemporaryDirectory()
        self._inputs = Path(self._folder.name) / "inputs.npy"
        np.save(self._inputs, self._examples)
        if any(precisions.lookup(network.plan(recipe).precision).trained for recipe in network.recipes):
            say("Branches that train quantized (qat) are judged before that training, and may do better than shown.")

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def __call__(self, recipe: Recipe) -> Candidate | None:
        """What is known of a recipe's branch; None, with the reason said, if there can be no such file."""
        try:
            return self._judged(recipe)
        except Unwritable:
            raise
        except AdaScaleError as error:
            self._say(str(error))
            return None

    def _judged(self, recipe: Recipe) -> Candidate | None:
        float_steps = (step for step in recipe.steps if operators.lookup(step).kind != "precision")
        evolved = self._derived(Recipe(tuple(float_steps)))
        model, precision = evolved.trunk(recipe).network(recipe), evolved.plan(recipe).precision
        # The same signature for all: its name is in the file, and a longer one would count as size.
        finish = convert.begin({_SIGNATURE: model}, precision, self._calibration, {_SIGNATURE: str(recipe)})
        exact = precisions.lookup(precision).exact
        answers = model.predict(self._examples, batch_size=256, verbose=0) if exact else None
        converted = finish()[_SIGNATURE]
        branch = export.entry(evolved, recipe, converted, "branch.tflite", {*self._targets, *self._costs.support})
        if not all(one.sound for one in branch.support if one.delegate in self._targets):
            return None
        if answers is None:
            file = self._inputs.with_name(branch.file)
            file.write_bytes(converted.model)
            answers = verify.outputs_apart(file, branch, self._inputs)
        accuracy = verify.accuracy(answers, self._labels, "validation")
        costs = self._costs.of(branch)
        return Candidate(recipe, accuracy.value, costs, accuracy.interval)
