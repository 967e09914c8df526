"""Commands that examine: inspect and evaluate a bundle, list the operators."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_tf.cli import console, tables
from adascale_tf.cli.options import data_option


@click.command(epilog="Example: adascale inspect build/demo/bundle")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@console.json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show a bundle's branches: recipe, exit, precision, size, parameters, MACs, accuracy, verification."""
    from adascale_tf.verbs.inspect import inspect as verb

    inspection = verb(path)
    if as_json:
        console.emit(inspection.manifest)
        return
    tables.branches(inspection.manifest, str(path))
    for remark in inspection.remarks:
        console.say(f"Note: {remark}")


@click.command(epilog="Example: adascale evaluate bundle --data photos.zip --branch width0.5-int8")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@data_option
@click.option("--branch", "branch_id", default=None, metavar="ID", help="Only this branch. Default: all.")
@console.output_options
def evaluate(path: Path, spec: str, branch_id: str | None, quiet: bool, as_json: bool) -> None:
    """Measure the accuracy of the .tflite files themselves on the test split."""
    from adascale_tf.verbs.evaluate import evaluate as verb

    with console.progress(quiet) as tick:
        evaluations = verb(path, spec, branch=branch_id, tick=tick, say=console.note)
    if as_json:
        console.emit(evaluations)
    elif not quiet:
        rows = [
            (e.recipe, f"{e.accuracy.value:.2%}", f"{e.manifest.value:.2%}", e.accuracy.samples) for e in evaluations
        ]
        console.table(f"Accuracy on {spec}", ("recipe", "measured now", "manifest", "samples"), rows)


@click.command(epilog="Example: adascale operators --json")
@console.json_option
def operators(as_json: bool) -> None:
    """List the steps that recipes are made of."""
    from adascale_tf.verbs.operators import list_operators

    listed = list_operators()
    if as_json:
        console.emit([{"name": o.name, "kind": o.kind, "example": o.example, "summary": o.summary} for o in listed])
    else:
        rows = [(o.example, o.kind, o.summary.replace("``", "")) for o in listed]
        console.table("Recipes are steps joined by '+', in the order of these kinds", ("step", "kind", "does"), rows)


COMMANDS = (inspect, evaluate, operators)
