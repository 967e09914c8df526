"""Commands that make and examine bundles: build, inspect, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adascale_tf import bundle
from adascale_tf.cli import console
from adascale_tf.recipe import parse_list

if TYPE_CHECKING:
    from adascale_tf.bundle import Manifest
    from adascale_tf.data import Dataset
    from adascale_tf.progress import Tick

data_option = click.option(
    "--data", "spec", required=True, metavar="SPEC",
    help="'digits', a folder or .zip of train/<class>/* and test/<class>/* (jpg, png, wav), or a .npz.",
)  # fmt: skip


@click.command(
    epilog="Example: adascale build --data photos.zip --recipes 'full,int8,width(0.5)+int8' --epochs 10 --out bundle"
)
@data_option
@click.option("--backbone", default=None, help="resnet (images) or gru (sequences). Default: what suits the data.")
@click.option("--recipes", default=None, help="Branches, comma-separated. Default: about ten, from full to tiny.")
@click.option("--epochs", type=click.IntRange(1), default=None, help="Passes over the data. Default: by its size.")
@click.option("--flip", is_flag=True, help="Mirror training images at random (not for digits or text).")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle's folder, new or empty.")
@console.output_options
def build(
    spec: str, backbone: str | None, recipes: str | None, epochs: int | None, flip: bool, seed: int, out: Path,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train one elastic network, convert and verify its branches, and write a bundle."""
    from adascale_tf import data

    bundle.check_target(out)
    if recipes is not None:
        parse_list(recipes)
    with console.progress(quiet) as tick:
        dataset = data.load(spec, tick=tick)
        built = build_bundle(dataset, backbone, recipes, epochs, seed, out, tick, flip=flip)
    if as_json:
        console.emit(built.manifest)
    elif not quiet:
        show_branches(built.manifest, str(out))


def build_bundle(
    dataset: Dataset, backbone: str | None, recipes: str | None, epochs: int | None, seed: int, out: Path, tick: Tick,
    flip: bool = False,
) -> bundle.Bundle:  # fmt: skip
    """Train and write a bundle from loaded data, with defaults for what is None."""
    from adascale_tf.cli import pipeline
    from adascale_tf.quiet import quiet_stderr

    with quiet_stderr():  # TensorFlow reports on GPUs and oneDNN while it is imported
        import tensorflow as tf
        import tf_keras

        from adascale_tf import backbones
        from adascale_tf.elastic import ElasticNetwork
        from adascale_tf.training import Schedule, train

    tf.get_logger().setLevel("ERROR")  # every branch is a new model: Keras' advice against retracing does not apply
    name = backbone or backbones.default_for(dataset.input_shape)
    tf_keras.utils.set_random_seed(seed)
    model = backbones.build(name, dataset.input_shape, len(dataset.labels))
    network = ElasticNetwork(model, parse_list(recipes or pipeline.DEFAULT_RECIPES[name]))
    schedule = Schedule(epochs=epochs or pipeline.default_epochs(len(dataset.x_train)), flip=flip, seed=seed)
    train(network, dataset, schedule, tick)
    return pipeline.write_bundle(network, dataset, schedule, out, tick)


@click.command(epilog="Example: adascale inspect build/demo/bundle")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@console.json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show a bundle's branches: recipe, exit, precision, size, parameters, MACs, accuracy, verification."""
    manifest = bundle.load(path).manifest
    if as_json:
        console.emit(manifest)
    else:
        show_branches(manifest, str(path))


def show_branches(manifest: Manifest, where: str) -> None:
    """The branches of a bundle as a table."""
    rows = [
        (
            b.recipe, b.exit, b.precision, console.size(b.size_bytes), f"{b.cost.params:,}", f"{b.cost.macs / 1e6:.2f}",
            f"{b.accuracy.value:.2%}", f"{b.verification.agreement:.1%} of {b.verification.samples}",
            f"{b.verification.max_abs_difference:.3g}",
        )
        for b in manifest.branches
    ]  # fmt: skip
    columns = ("recipe", "exit", "precision", "size", "params", "MMACs", "accuracy", "top-1 as Keras", "max diff")
    console.table(f"{manifest.name}: {where}", columns, rows)


@click.command(epilog="Example: adascale evaluate bundle --data photos.zip --branch width0.5-int8")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@data_option
@click.option("--branch", "branch_id", default=None, metavar="ID", help="Only this branch. Default: all.")
@console.output_options
def evaluate(path: Path, spec: str, branch_id: str | None, quiet: bool, as_json: bool) -> None:
    """Measure the accuracy of the .tflite files themselves on the test split."""
    from adascale_tf import data
    from adascale_tf.errors import BadInput
    from adascale_tf.runtime.delegates import open_runner
    from converters import verify

    opened = bundle.load(path)
    manifest = opened.manifest
    branches = manifest.branches if branch_id is None else (manifest.branch(branch_id),)
    results = []
    with console.progress(quiet) as tick:
        dataset = data.load(spec, preprocessing=manifest.preprocessing, tick=tick)
        if dataset.labels != manifest.labels:
            raise BadInput(
                f"{spec} has the classes {', '.join(dataset.labels)[:80]}, but the bundle was trained for "
                f"{', '.join(manifest.labels)[:80]}; give the data it was built for."
            )
        x = dataset.inputs(dataset.x_test)
        for number, branch in enumerate(branches):
            run = open_runner(opened, branch)
            logits = verify.outputs(
                run,
                x,
                lambda n, base=number: tick("evaluate", base * len(x) + n, len(branches) * len(x), ""),  # type: ignore[misc]
            )
            results.append((branch, verify.accuracy(logits, dataset.y_test, "test")))
    if as_json:
        console.emit([{"branch": b.id, "accuracy": a, "manifest": b.accuracy} for b, a in results])
    elif not quiet:
        rows = [(b.recipe, f"{a.value:.2%}", f"{b.accuracy.value:.2%}", a.samples) for b, a in results]
        console.table(f"Accuracy on {spec}", ("recipe", "measured now", "manifest", "samples"), rows)


COMMANDS = (build, inspect, evaluate)
