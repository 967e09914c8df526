"""Commands that get new branches out of a trained network: evolve, specialise."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_tf.cli import console, tables
from adascale_tf.cli.options import data_option, max_loss_option
from adascale_tf.verbs.evolve import STEPS


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


COMMANDS = (evolve, specialise)
