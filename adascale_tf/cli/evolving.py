"""Commands that get new branches out of a trained network: evolve, search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adascale_runtime.errors import BadInput
from adascale_runtime.seams import bundle, predictors
from adascale_runtime.seams.recipe import Recipe, parse, parse_list
from adascale_tf.cli import branches as shown
from adascale_tf.cli import console, inputs
from adascale_tf.cli.building import data_option

if TYPE_CHECKING:
    from adascale_runtime.progress import Tick
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.network.search import Candidate

#: Training examples that a candidate's accuracy is measured on.
_EXAMPLES = 1000


@click.command(
    epilog="Example: adascale evolve bundle.checkpoint --data photos.zip --recipes 'width(0.6)+int8' --out evolved"
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@data_option
@click.option("--recipes", required=True, help="The new branches, comma-separated; none needs to have been trained.")
@shown.max_loss_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle's folder, new or empty.")
@console.output_options
def evolve(checkpoint: Path, spec: str, recipes: str, max_loss: float, out: Path, quiet: bool, as_json: bool) -> None:
    """Write a bundle of new branches, derived from a trained network without training.

    CHECKPOINT is the folder that 'adascale build' kept. Weights are derived from the shared ones, BatchNorm statistics
    measured anew.
    """
    from adascale_tf.cli import pipeline

    bundle.check_target(out)
    wanted = parse_list(recipes)
    with console.progress(quiet) as tick:
        network, dataset, schedule = _open(checkpoint, spec, tick)
        evolved = derive(network, wanted, dataset, tick)
        for sentence in pipeline.idle_steps(evolved):
            console.say(sentence, err=True)
        built = pipeline.write_bundle(evolved, dataset, schedule, out, tick, max_loss=max_loss)
    if as_json:
        console.emit(built.manifest)
    elif not quiet:
        shown.show(built.manifest, str(out))
    shown.say_remarks(built.manifest)


def derive(network: ElasticNetwork, recipes: list[Recipe], dataset: Dataset, tick: Tick) -> ElasticNetwork:
    """The network with other branches: trained structures as they are, new ones with their statistics measured."""
    from adascale_tf.training import recalibrate

    evolved = network.evolved(recipes)
    recalibrate([trunk for trunk in evolved.trunks if trunk not in network.trunks], dataset, tick=tick)
    return evolved


def _open(checkpoint: Path, spec: str, tick: Tick) -> tuple[ElasticNetwork, Dataset, Any]:
    from adascale_runtime.quiet import quiet_stderr
    from adascale_tf.training.checkpoint import read_state

    with quiet_stderr():
        import tensorflow as tf

        from adascale_tf.training import checkpoint as checkpoints

    tf.get_logger().setLevel("ERROR")
    state = read_state(checkpoint)
    dataset = inputs.load(spec, tick, state.preprocessing)
    if dataset.labels != state.labels:
        raise BadInput(f"{spec} has other classes than the data that {checkpoint} was trained on ({state.data}).")
    _, network = checkpoints.load(checkpoint)
    shape = tuple(network.backbone.input_shape[1:])
    if dataset.input_shape != shape:
        raise BadInput(
            f"{spec} has examples of the shape {dataset.input_shape}, but {checkpoint} was trained on {shape}."
        )
    return network, dataset, state.schedule


@click.command(
    epilog="Example: adascale search bundle --predictors predictors.json --branches 4; "
    "adascale search bundle.checkpoint --data digits --predictors predictors.json --branches 8 --out best"
)
@click.argument("source", metavar="BUNDLE|CHECKPOINT", type=click.Path(path_type=Path))
@click.option(
    "--predictors", "predictors_path", required=True, type=click.Path(path_type=Path),
    help="What things cost on the device, from 'adascale fit'.",
)  # fmt: skip
@click.option("--device-name", default=None, metavar="NAME", help="Which device, if the predictors are of several.")
@click.option("--branches", type=click.IntRange(1), default=8, show_default=True, help="How many to choose.")
@click.option("--data", "spec", default=None, metavar="SPEC", help="The data of a CHECKPOINT, to measure accuracy on.")
@click.option("--trials", type=click.IntRange(0), default=40, show_default=True, help="New recipes to try.")
@click.option("--delegate", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write the chosen branches as a bundle.")
@console.output_options
def search(
    source: Path, predictors_path: Path, device_name: str | None, branches: int, spec: str | None, trials: int,
    delegate: str, threads: int, seed: int, out: Path | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Choose the branches that offer a device the best accuracy at every latency.

    From a BUNDLE, the best of its branches. From a CHECKPOINT, an evolutionary search over recipes: each is derived
    without training, its accuracy measured on 1,000 training examples, its latency predicted.
    """
    from adascale_tf.network import search as searching

    fitted = predictors.choose(predictors_path, device_name, {})
    if fitted.find("latency_ms", delegate, threads) is None:
        raise BadInput(
            f"{predictors_path} predicts no latency for {delegate} with {threads} threads; profile and fit that first."
        )
    if (source / bundle.MANIFEST).is_file() or source.suffix == ".zip":
        if out is not None:
            raise BadInput("--out needs a CHECKPOINT to build from; a BUNDLE's branches exist already.")
        manifest = bundle.load(source).manifest
        seen = [
            searching.Candidate(
                parse(b.recipe), b.accuracy.value, fitted.predict("latency_ms", b, delegate, threads) or 0.0
            )
            for b in manifest.branches
        ]
        chosen = searching.choose(seen, branches)
    else:
        if spec is None:
            raise BadInput("A search from a CHECKPOINT measures accuracy; name its data with --data.")
        if out is not None:
            bundle.check_target(out)
        with console.progress(quiet) as tick:
            network, dataset, schedule = _open(source, spec, tick)
            evaluate = _evaluator(network, dataset, fitted, delegate, threads)
            seen = searching.search(network.whole, evaluate, network.recipes, trials, seed, tick)
            chosen = searching.choose(seen, branches)
            if out is not None:
                from adascale_tf.cli import pipeline

                evolved = derive(network, [c.recipe for c in chosen], dataset, tick)
                shown.say_remarks(pipeline.write_bundle(evolved, dataset, schedule, out, tick).manifest)
    _show(chosen, len(seen), as_json, quiet)


def _evaluator(
    network: ElasticNetwork, dataset: Dataset, fitted: predictors.Predictors, delegate: str, threads: int
) -> Callable[[Recipe], Candidate]:
    import numpy as np

    from adascale_runtime.progress import silent
    from adascale_tf import operators
    from adascale_tf.network.search import Candidate
    from converters import convert, flatbuffer

    index = np.random.default_rng(0).choice(len(dataset.x_train), min(_EXAMPLES, len(dataset.x_train)), replace=False)
    x, y = dataset.inputs(dataset.x_train[index]), dataset.y_train[index]
    exits: dict[str, list[float]] = {}
    predictor = fitted.find("latency_ms", delegate, threads)
    assert predictor is not None

    def evaluate(recipe: Recipe) -> Candidate:
        structure = operators.trunk(recipe)
        evolved = derive(network, [recipe], dataset, silent)
        trunk, plan = evolved.trunk(recipe), evolved.plan(recipe)
        if structure.id not in exits:
            logits = [trunk.call(x[i : i + 250], training=False) for i in range(0, len(x), 250)]
            exits[structure.id] = [
                float(np.mean(np.concatenate([np.argmax(out, -1) for out in outs]) == y))
                for outs in zip(*logits, strict=True)
            ]
        converted = convert.convert({recipe.id: trunk.network(recipe)}, plan.precision, x[:20])[recipe.id]
        cost = flatbuffer.cost(converted.model, converted.signature)
        return Candidate(recipe, exits[structure.id][plan.exit - 1], predictor.predict(cost, plan.precision))

    return evaluate


def _show(chosen: list[Candidate], seen: int, as_json: bool, quiet: bool) -> None:
    if as_json:
        facts = [{"recipe": str(c.recipe), "accuracy": c.accuracy, "latency_ms": c.latency_ms} for c in chosen]
        console.emit({"seen": seen, "chosen": facts})
    elif not quiet:
        rows = [(str(c.recipe), f"{c.accuracy:.2%}", f"{c.latency_ms:.3f}") for c in chosen]
        console.table(f"The best {len(chosen)} of {seen} recipes", ("recipe", "accuracy (float)", "predicted ms"), rows)
        console.say("--recipes '" + ",".join(str(c.recipe) for c in chosen) + "'")


COMMANDS = (evolve, search)
