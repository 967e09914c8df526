"""Commands that examine: inspect and evaluate a bundle, list the operators."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_runtime.seams import bundle, losses
from adascale_tf.cli import branches as shown
from adascale_tf.cli import console, inputs
from adascale_tf.cli.building import data_option


@click.command(epilog="Example: adascale inspect build/demo/bundle")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@console.json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show a bundle's branches: recipe, exit, precision, size, parameters, MACs, accuracy, verification."""
    manifest = bundle.load(path).manifest
    if as_json:
        console.emit(manifest)
    else:
        shown.show(manifest, str(path))
        for remark in losses.remarks(manifest):
            console.say(f"Note: {remark}")


@click.command(epilog="Example: adascale evaluate bundle --data photos.zip --branch width0.5-int8")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@data_option
@click.option("--branch", "branch_id", default=None, metavar="ID", help="Only this branch. Default: all.")
@console.output_options
def evaluate(path: Path, spec: str, branch_id: str | None, quiet: bool, as_json: bool) -> None:
    """Measure the accuracy of the .tflite files themselves on the test split."""
    from adascale_runtime.engines.delegates import examine, open_branch
    from converters import verify

    opened = bundle.load(path)
    manifest = opened.manifest
    branches = manifest.branches if branch_id is None else (manifest.branch(branch_id),)
    results = []
    with console.progress(quiet) as tick:
        dataset = inputs.load_for_bundle(opened, spec, tick)
        x = dataset.inputs(dataset.x_test)
        examine(opened, branches)
        for number, branch in enumerate(branches):
            run = open_branch(opened, branch)
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


@click.command(epilog="Example: adascale operators --json")
@console.json_option
def operators(as_json: bool) -> None:
    """List the steps that recipes are made of."""
    from adascale_tf.operators import KINDS, OPERATORS

    found = sorted(OPERATORS.values(), key=lambda o: KINDS.index(o.kind))
    if as_json:
        console.emit([{"name": o.name, "kind": o.kind, "example": o.example, "summary": o.summary} for o in found])
    else:
        rows = [(o.example, o.kind, o.summary.replace("``", "")) for o in found]
        console.table("Recipes are steps joined by '+', in the order of these kinds", ("step", "kind", "does"), rows)


COMMANDS = (inspect, evaluate, operators)
