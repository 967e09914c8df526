"""``search``: the branches that offer a device the best accuracy at every latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle, losses, predictors
from adascale_runtime.seams.recipe import Recipe, parse
from adascale_tf.verbs.evolve import derive, open_checkpoint
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.network.search import Candidate

#: Training examples that a candidate's accuracy is measured on.
_EXAMPLES = 1000


@dataclass(frozen=True)
class Searched:
    """What a search found."""

    #: The best branches, from fastest to slowest: recipe, accuracy of the float network in [0, 1], predicted ms.
    chosen: tuple[Candidate, ...]
    #: How many recipes were looked at.
    seen: int
    #: The chosen branches as a bundle; None if none was asked for.
    written: bundle.Bundle | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know before using the bundle; a sentence each."""
        return () if self.written is None else tuple(losses.remarks(self.written.manifest))


def search(
    source: str | Path | bundle.Bundle,
    fitted: str | Path | predictors.Predictors,
    *,
    data: Any = None,
    branches: int = 8,
    trials: int = 40,
    device_name: str | None = None,
    delegate: str = "cpu",
    threads: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    tick: Tick = silent,
    say: Say = unsaid,
) -> Searched:
    """Choose the branches that offer a device the best accuracy at every latency.

    From a bundle, the best of its branches. From a checkpoint, an evolutionary search over recipes: each is derived
    without training, its accuracy measured on 1,000 training examples, its latency predicted.

    Args:
        source: a bundle, or a checkpoint that :func:`adascale_tf.build` kept.
        fitted: what things cost on the device: predictors, or their file.
        data: the data of a checkpoint, as a SPEC or in memory.
        branches: how many to choose.
        trials: new recipes to try.
        device_name: which device, if the predictors are of several: its name, serial, model or processor.
        delegate: the delegate that latency is predicted for.
        threads: the number of threads that latency is predicted for.
        seed: of the recipes that are tried.
        out: write the chosen branches of a checkpoint as a bundle.
        tick: called with "search" for each recipe.
        say: takes a sentence for what was left out of the data.

    Raises:
        BadInput: the predictors know no latency for this cell, or the source lacks what the search needs.
    """
    from adascale_tf.network import search as searching

    known = _predictors(fitted, device_name)
    if known.find("latency_ms", delegate, threads) is None:
        named = fitted if isinstance(fitted, (str, Path)) else "The set of predictors"
        raise BadInput(
            f"{named} predicts no latency for {delegate} with {threads} threads; profile and fit that first."
        )
    opened = _bundle(source)
    if opened is not None:
        if out is not None:
            raise BadInput("--out needs a CHECKPOINT to build from; a BUNDLE's branches exist already.")
        candidates = [
            searching.Candidate(
                parse(b.recipe), b.accuracy.value, known.predict("latency_ms", b, delegate, threads) or 0.0
            )
            for b in opened.manifest.branches
        ]
        return Searched(tuple(searching.choose(candidates, branches)), len(candidates))
    if data is None:
        raise BadInput("A search from a CHECKPOINT measures accuracy; name its data with --data.")
    if out is not None:
        bundle.check_target(Path(out))
    assert not isinstance(source, bundle.Bundle)
    state, network, dataset = open_checkpoint(Path(source), data, tick, say)
    evaluate = _evaluator(network, dataset, known, delegate, threads)
    candidates = searching.search(network.whole, evaluate, network.recipes, trials, seed, tick)
    chosen = searching.choose(candidates, branches)
    written = None
    if out is not None:
        from adascale_tf.verbs.export import write_bundle

        evolved = derive(network, [c.recipe for c in chosen], dataset, tick)
        written = write_bundle(evolved, dataset, state.schedule, Path(out), tick, given=state.given)
    return Searched(tuple(chosen), len(candidates), written)


def _predictors(fitted: str | Path | predictors.Predictors, device_name: str | None) -> predictors.Predictors:
    if not isinstance(fitted, predictors.Predictors):
        return predictors.choose(Path(fitted), device_name, {})
    return fitted.here({}) if device_name is None else fitted.of(device_name)


def _bundle(source: str | Path | bundle.Bundle) -> bundle.Bundle | None:
    """The bundle that a source is, None for anything else."""
    if isinstance(source, bundle.Bundle):
        return source
    path = Path(source)
    return bundle.load(path) if (path / bundle.MANIFEST).is_file() or path.suffix == ".zip" else None


def _evaluator(
    network: ElasticNetwork, dataset: Dataset, fitted: predictors.Predictors, delegate: str, threads: int
) -> Callable[[Recipe], Candidate]:
    """A function that derives a recipe's branch, measures its accuracy and predicts its latency."""
    import numpy as np

    from adascale_tf import operators
    from adascale_tf.network.search import Candidate
    from converters import convert

    index = np.random.default_rng(0).choice(len(dataset.x_train), min(_EXAMPLES, len(dataset.x_train)), replace=False)
    x, y = dataset.inputs(dataset.x_train[index]), dataset.y_train[index]
    exits: dict[str, list[float]] = {}
    predictor = fitted.find("latency_ms", delegate, threads)
    assert predictor is not None

    def evaluate(recipe: Recipe) -> Candidate:
        structure = operators.trunk(recipe)
        evolved = derive(network, [recipe], dataset)
        trunk, plan = evolved.trunk(recipe), evolved.plan(recipe)
        if structure.id not in exits:
            logits = [trunk.call(x[i : i + 250], training=False) for i in range(0, len(x), 250)]
            exits[structure.id] = [
                float(np.mean(np.concatenate([np.argmax(out, -1) for out in outs]) == y))
                for outs in zip(*logits, strict=True)
            ]
        converted = convert.convert({recipe.id: trunk.network(recipe)}, plan.precision, x[:20])[recipe.id]
        predicted = predictor.predict(converted.cost(), plan.precision)
        return Candidate(recipe, exits[structure.id][plan.exit - 1], predicted)

    return evaluate
