"""The command that makes bundles: build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle
from adascale_runtime.seams.recipe import parse_list
from adascale_tf.cli import branches, console, inputs
from adascale_tf.cli.options import data_option

if TYPE_CHECKING:
    from adascale_runtime.progress import Tick
    from adascale_tf.data import Dataset

#: TensorFlow's server of a worker has no option for an address to listen on.
LISTENING = (
    "note: TensorFlow will listen on all network interfaces, and whoever reaches its port needs no password; see "
    "'Who can reach a worker' in docs/scale.md."
)


@dataclass(frozen=True)
class Job:
    """What is to be built: None stands for the default that suits the data or the model."""

    spec: str
    out: Path
    model: Path | None = None
    backbone: str | None = None
    recipes: str | None = None
    epochs: int | None = None
    flip: bool = False
    seed: int = 0
    input_range: str | None = None
    input_size: str | None = None
    checkpoint: Path | None = None
    strategy: str = "none"
    replicas: int | None = None
    accumulate: int = 1
    optimizer: str | None = None
    max_loss: float = bundle.MAX_LOSS

    @property
    def rule(self) -> str:
        """The optimizer: AdaScale SGD wherever more than one batch may make a step."""
        return self.optimizer or ("adamw" if self.strategy == "none" and self.accumulate == 1 else "sgd")


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
@click.option("--backbone", default=None, help="resnet (images) or gru (sequences). Default: what suits the data.")
@click.option("--recipes", default=None, help="Branches, comma-separated ('adascale operators'). Default: about ten.")
@click.option("--epochs", type=click.IntRange(1), default=None, help="Passes over the data. Default: by its size.")
@click.option("--flip", is_flag=True, help="Mirror training images at random (not for digits or text).")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "--input-range",
    type=click.Choice(sorted(inputs.RANGES)),
    default=None,
    help="What --model expects of pixels. Default: 0,255 if it rescales by itself, else 0,1.",
)
@click.option(
    "--input-size",
    default=None,
    metavar="H[xW]",
    help="The size that all images are brought to. Default: that of the first one. With --model: what it leaves open.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FOLDER",
    help="Where training is kept after every epoch, for going on, search and evolve. Default: OUT.checkpoint.",
)
@click.option(
    "--strategy",
    type=click.Choice(["none", "mirrored", "multi-worker"]),
    default="none",
    show_default=True,
    help="Train on all GPUs of this machine, or on several machines (TF_CONFIG); see docs/scale.md.",
)
@click.option(
    "--replicas", type=click.IntRange(1), default=None, help="mirrored: so many GPUs; without GPUs, parts of the CPU."
)
@click.option(
    "--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Batches a step takes from each replica."
)
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "sgd"]),
    default=None,
    help="sgd is AdaScale SGD. Default: adamw, or sgd with --strategy or --accumulate.",
)
@branches.max_loss_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle's folder, new or empty.")
@console.output_options
def build(
    spec: str, model: Path | None, backbone: str | None, recipes: str | None, epochs: int | None, flip: bool, seed: int,
    input_range: str | None, input_size: str | None, checkpoint: Path | None, strategy: str, replicas: int | None,
    accumulate: int, optimizer: str | None, max_loss: float, out: Path, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train one elastic network, convert and verify its branches, and write a bundle.

    A build that was killed goes on at its last whole epoch when the same command is given again, with as many
    workers as there are then.
    """
    bundle.check_target(out)
    if recipes is not None:
        parse_list(recipes)
    if model is not None and backbone is not None:
        raise BadInput("--model brings its own network and --backbone names another one; give one of them.")
    inputs.parse_size(input_size)
    kept = checkpoint or out.with_name(out.name + ".checkpoint")
    if not quiet and _begun(kept):
        console.say(f"Going on with the training in {kept}.", err=True)
    job = Job(
        spec, out, model, backbone, recipes, epochs, flip, seed, input_range, input_size, kept,
        strategy, replicas, accumulate, optimizer, max_loss,
    )  # fmt: skip
    if strategy == "multi-worker" and not quiet:
        console.say(LISTENING, err=True)
    with console.progress(quiet) as tick:
        built = work(job, tick, say=lambda text: console.say(text, err=True))
    if built is None:
        if not quiet:
            console.say("This worker is done; the chief converts the branches and writes the bundle.", err=True)
    elif as_json:
        console.emit(built.manifest)
    elif not quiet:
        branches.show(built.manifest, str(out))
    if built is not None:
        branches.say_remarks(built.manifest)
    if built is not None and not (quiet or as_json):
        console.say(f"The trained network is kept in {kept}, for 'adascale search' and 'adascale evolve'.", err=True)


def _begun(checkpoint: Path) -> bool:
    """Whether a folder keeps a training that has an epoch to go on from."""
    try:
        state = codec.read_json(checkpoint / "checkpoint.json")
    except BadInput:
        return False
    return isinstance(state, dict) and bool(state.get("epochs_done"))


def build_bundle(job: Job, tick: Tick, dataset: Dataset | None = None) -> bundle.Bundle:
    """Train and write a bundle in this process alone; ``dataset`` where the data is loaded already."""
    built = work(job, tick, dataset)
    assert built is not None  # who works alone is the chief
    return built


def work(
    job: Job, tick: Tick, dataset: Dataset | None = None, say: Callable[[str], None] = lambda text: None
) -> bundle.Bundle | None:
    """This worker's part of a job: train, and as the chief write the bundle.

    ``say`` is given a sentence for each step of a recipe that does nothing here.
    """
    from adascale_runtime.quiet import quiet_stderr
    from adascale_tf.cli import pipeline
    from converters import process

    if job.model is None and dataset is None:  # a wrong SPEC should not wait for TensorFlow
        dataset = inputs.load(job.spec, tick, size=inputs.parse_size(job.input_size))
    process.start()  # it imports TensorFlow while this process does the same and trains
    with quiet_stderr():  # TensorFlow reports on GPUs and oneDNN while it is imported
        import tensorflow as tf
        import tf_keras

        from adascale_tf.bridge import backbones
        from adascale_tf.network import create
        from adascale_tf.network.elastic import ElasticNetwork
        from adascale_tf.training import RATES, Schedule, default_epochs, open_workers, train
        from adascale_tf.training.checkpoint import Checkpoint

    tf.get_logger().setLevel("ERROR")  # every branch is a new model: Keras' advice against retracing does not apply
    cluster = open_workers(job.strategy, job.replicas, tick=tick)
    tf_keras.utils.set_random_seed(job.seed)
    wanted = parse_list(job.recipes) if job.recipes else None
    given = None
    if job.model is not None:
        network = create.elastic(job.model, wanted, inputs.parse_size(job.input_size))
        dataset = inputs.load_for(network, job.model, job.spec, job.input_range, tick)
        pipeline.check_data(dataset)
        pipeline.check_finite(network)
        pipeline.rehearse(network, dataset, tick)
        given = pipeline.given_accuracy(network, dataset)
        create.fit_heads(network, dataset)
        rate = RATES[job.rule][1]
    else:
        assert dataset is not None
        pipeline.check_data(dataset)
        name = job.backbone or backbones.default_for(dataset.input_shape)
        backbone = backbones.build(name, dataset.input_shape, len(dataset.labels))
        network = ElasticNetwork(backbone, wanted or create.default_recipes(backbone))
        rate = RATES[job.rule][0]
    for sentence in pipeline.idle_steps(network):
        say(sentence)
    epochs = job.epochs or default_epochs(len(dataset.x_train))
    schedule = Schedule(epochs=epochs, learning_rate=rate, optimizer=job.rule, flip=job.flip, seed=job.seed)
    kept = Checkpoint(job.checkpoint, network, dataset, schedule) if job.checkpoint else None
    effort = train(network, dataset, schedule, tick, kept, cluster, job.accumulate)
    if effort.iterations > effort.steps:
        tick("steps", effort.steps, effort.steps, f"worth {effort.iterations:.0f} steps of one batch")
    if not cluster.chief:
        process.stop()
        return None
    return pipeline.write_bundle(network, dataset, schedule, job.out, tick, given, job.max_loss)


COMMANDS = (build,)
