"""The command that makes bundles: build."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_tf.cli import console, options, tables
from adascale_tf.cli.options import data_option, max_loss_option, targets_option
from adascale_tf.verbs import inputs


def _list_backbones() -> str:
    from adascale_tf.verbs import kinds

    return f"One of {', '.join(kinds.names('backbones'))}. Default: depends on the data."


@click.command(
    epilog="Example: adascale build --data photos.zip --recipes 'full,int8,width(0.5)+int8' --epochs 10 --out bundle; "
    "adascale build --model my_model.keras --data photos.zip --out bundle"
)
@data_option
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Your own model, with its weights: Keras 3 .keras, Keras 2 .keras, .h5 or SavedModel.",
)
@click.option("--backbone", cls=options.ListingOption, listing=_list_backbones, default=None)
@click.option("--recipes", default=None, help="Branches, comma-separated ('adascale operators'). Default: about ten.")
@click.option(
    "--epochs", type=click.IntRange(1), default=None, help="Number of epochs. Default: depends on the size of the data."
)
@click.option(
    "--pretrain",
    type=click.FloatRange(0),
    default=None,
    metavar="EPOCHS",
    help="Epochs in which the whole network trains alone. Default: all; 0 for a --model that knows something.",
)
@click.option(
    "--join",
    type=click.FloatRange(0),
    default=None,
    metavar="EPOCHS",
    help="Epochs in which the compressed branches train together. Default: a third of --epochs.",
)
@click.option(
    "--specialise", type=click.FloatRange(0), default=None, metavar="EPOCHS",
    help="Epochs in which each branch trains with weights of its own. Default: half of --epochs.",
)  # fmt: skip
@click.option("--flip", is_flag=True, help="Mirror training images at random (not for digits or text).")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "--input-range",
    type=click.Choice(sorted(inputs.RANGES)),
    default=None,
    help="Pixel range that --model expects. Default: 0,255 if it rescales its input, else 0,1.",
)
@click.option(
    "--input-size",
    default=None,
    metavar="H[xW]",
    help="Size that all images are resized to. Default: the first image's size. Required if the input size of --model "
    "is variable.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FOLDER",
    help="Folder for checkpoints, to resume from and for search and evolve. Default: OUT.checkpoint.",
)
@click.option(
    "--strategy",
    type=click.Choice(["none", "mirrored", "multi-worker"]),
    default="none",
    show_default=True,
    help="Train on all GPUs of this machine, or on several machines (TF_CONFIG); see docs/scale.md.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1),
    default=None,
    help="mirrored: number of GPUs (without GPUs: of parts of the CPU).",
)
@click.option(
    "--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Batches per step from each replica."
)
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "sgd"]),
    default=None,
    help="sgd is AdaScale SGD. Default: adamw, or sgd with --strategy or --accumulate.",
)
@max_loss_option
@targets_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle's folder, new or empty.")
@console.output_options
def build(
    *, spec: str, model: Path | None, backbone: str | None, recipes: str | None, epochs: int | None,
    pretrain: float | None, join: float | None, specialise: float | None, flip: bool,
    seed: int, input_range: str | None, input_size: str | None, checkpoint: Path | None, strategy: str,
    replicas: int | None, accumulate: int, optimizer: str | None, max_loss: float, targets: str, out: Path, quiet: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Train one elastic network, convert and verify its branches, and write a bundle.

    The whole network trains alone first (a --model that knows something stays as it is), then its compressed branches
    together, then each on its own; docs/training.md explains the phases.

    To resume an interrupted build after its last complete epoch, run the same command again; the number of workers
    may differ.
    """
    from adascale_tf.verbs.build import LISTENING, begun
    from adascale_tf.verbs.build import build as verb
    from adascale_tf.verbs.training import Training

    kept = checkpoint or out.with_name(out.name + ".checkpoint")
    training = Training(
        epochs, pretrain, join, specialise, flip=flip, optimizer=optimizer, strategy=strategy, replicas=replicas,
        accumulate=accumulate, checkpoint=kept,
    )  # fmt: skip
    if not quiet and begun(kept):
        console.say(f"Resuming the training in {kept}.", err=True)
    if not quiet and strategy == "multi-worker":
        console.note(LISTENING)
    with console.progress(quiet) as tick:
        built = verb(
            spec, out, model=model, backbone=backbone, recipes=recipes, input_size=inputs.parse_size(input_size),
            input_range=input_range, training=training, seed=seed, max_loss=max_loss, targets=targets, tick=tick,
            say=console.note,
        )  # fmt: skip
    if built.written is None:
        if not quiet:
            console.say("This worker is done; the chief converts the branches and writes the bundle.", err=True)
        return
    tables.built(built, out, quiet, as_json)
    if not (quiet or as_json):
        console.say(
            f"The trained network is kept in {kept}, for 'adascale search', 'evolve' and 'specialise'.",
            err=True,
        )


COMMANDS = (build,)
