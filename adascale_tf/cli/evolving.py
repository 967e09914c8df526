"""The command that gets new branches out of a trained network: evolve."""

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


COMMANDS = (evolve,)
