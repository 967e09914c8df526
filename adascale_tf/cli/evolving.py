"""Commands that get new branches out of a trained network: evolve, search, specialise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adascale_tf.cli import console, tables
from adascale_tf.cli.options import data_option, max_loss_option
from adascale_tf.verbs.evolve import STEPS

if TYPE_CHECKING:
    from adascale_tf.verbs.search import Searched


@click.command(
    epilog="Example: adascale evolve bundle.checkpoint --data photos.zip --recipes 'width(0.6)+int8' --out evolved"
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@data_option
@click.option("--recipes", required=True, help="The new branches, comma-separated.")
@click.option(
    "--steps", type=click.IntRange(0), default=STEPS, show_default=True,
    help="Batches that each new structure trains for; 0 recomputes BatchNorm statistics only.",
)  # fmt: skip
@max_loss_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle's folder, new or empty.")
@console.output_options
def evolve(
    *, checkpoint: Path, spec: str, recipes: str, steps: int, max_loss: float, out: Path, quiet: bool, as_json: bool
) -> None:
    """Write a bundle of new branches, derived from a trained network in seconds.

    CHECKPOINT is the folder that 'adascale build' kept; it stays as it is. Weights are derived from the shared ones,
    trained for a few steps on the full network's answers, and BatchNorm statistics are recomputed.
    """
    from adascale_tf.verbs.evolve import evolve as verb

    with console.progress(quiet) as tick:
        built = verb(checkpoint, spec, recipes, out, steps=steps, max_loss=max_loss, tick=tick, say=console.note)
    tables.built(built, out, quiet, as_json)


@click.command(
    epilog="Example: adascale specialise bundle.checkpoint --data photos.zip --recipes 'width(0.6)+int8' --out best"
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@data_option
@click.option("--recipes", required=True, help="The branches, comma-separated, such as those that 'search' chose.")
@click.option(
    "--epochs", type=console.Number(0, 1e6, min_open=True), default=None,
    help="Number of epochs; may be a fraction. Default: as many as the build's own branches had.",
)  # fmt: skip
@max_loss_option
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, metavar="BUNDLE",
    help="Write these branches as a bundle: a folder, new or empty.",
)  # fmt: skip
@console.output_options
def specialise(
    *, checkpoint: Path, spec: str, recipes: str, epochs: float | None, max_loss: float, out: Path | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train branches that were chosen after the build, each with weights of its own.

    CHECKPOINT is the folder that 'adascale build' kept; the branches are kept there too, for 'adascale evolve' and
    'adascale search'. To resume an interrupted training after its last complete epoch, run the same command again.
    """
    from adascale_tf.verbs.specialise import specialise as verb

    with console.progress(quiet) as tick:
        done = verb(
            checkpoint, spec, recipes, epochs=epochs, out=out, max_loss=max_loss, tick=tick, say=console.note
        )  # fmt: skip
    if out is not None:
        tables.built(done, out, quiet, as_json)
    elif as_json:
        console.emit({"checkpoint": str(checkpoint), "recipes": [str(recipe) for recipe in done.recipes]})
    if not (quiet or as_json):
        console.say(f"{', '.join(map(str, done.recipes))}: kept in {checkpoint}.", err=True)


@click.command(
    epilog="Example: adascale search bundle --predictors predictors.json --branches 4; "
    "adascale search bundle.checkpoint --data digits --predictors predictors.json --branches 8 --out best"
)
@click.argument("source", metavar="BUNDLE|CHECKPOINT", type=click.Path(path_type=Path))
@click.option(
    "--predictors", "predictors_path", required=True, type=click.Path(path_type=Path),
    help="Predictors of the device, from 'adascale fit'.",
)  # fmt: skip
@click.option(
    "--device-name", default=None, metavar="NAME", help="Device to choose for, if the file has predictors of several."
)
@click.option("--branches", type=click.IntRange(1), default=8, show_default=True, help="Number of branches to choose.")
@click.option(
    "--data", "spec", default=None, metavar="SPEC", help="With a CHECKPOINT: its data, to measure accuracy on."
)
@click.option("--trials", type=click.IntRange(0), default=40, show_default=True, help="Number of new recipes to try.")
@click.option("--delegate", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write the chosen branches as a bundle.")
@console.output_options
def search(
    *, source: Path, predictors_path: Path, device_name: str | None, branches: int, spec: str | None, trials: int,
    delegate: str, threads: int, seed: int, out: Path | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Choose the branches that offer a device the best accuracy at every latency.

    From a BUNDLE, the best of its branches. From a CHECKPOINT, an evolutionary search over recipes: each is derived
    without training, its accuracy measured on 1,000 training examples, its latency predicted.
    """
    from adascale_tf.verbs.search import search as verb

    with console.progress(quiet) as tick:
        searched = verb(
            source, predictors_path, data=spec, branches=branches, trials=trials, device_name=device_name,
            delegate=delegate, threads=threads, seed=seed, out=out, tick=tick, say=console.note,
        )  # fmt: skip
    for remark in searched.remarks:
        console.say(f"Note: {remark}", err=True)
    _show(searched, as_json, quiet)


def _show(searched: Searched, as_json: bool, quiet: bool) -> None:
    chosen = searched.chosen
    if as_json:
        facts = [{"recipe": str(c.recipe), "accuracy": c.accuracy, "latency_ms": c.latency_ms} for c in chosen]
        console.emit({"seen": searched.seen, "chosen": facts})
    elif not quiet:
        rows = [(str(c.recipe), f"{c.accuracy:.2%}", f"{c.latency_ms:.3f}") for c in chosen]
        columns = ("recipe", "accuracy (float)", "predicted ms")
        console.table(f"The best {len(chosen)} of {searched.seen} recipes", columns, rows)
        console.say("--recipes '" + ",".join(str(c.recipe) for c in chosen) + "'")


COMMANDS = (evolve, search, specialise)
