"""Commands that examine: inspect and evaluate a bundle, list the operators."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_runtime.errors import BadInput
from adascale_tf.cli import console, options, support, tables
from adascale_tf.cli.options import data_option


@click.command(
    epilog="Example: adascale inspect build/demo/bundle --delegates gpu,npu; "
    "adascale inspect build/demo/bundle --delegates gpu --ops --branch int8"
)
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--delegates", default="", metavar="NAMES", help="What these will take of each branch, by its file alone."
)
@click.option("--ops", is_flag=True, help="With --delegates: operator by operator, with the reasons.")
@click.option("--branch", "branch_id", default=None, metavar="ID", help="With --ops: only this branch. Default: all.")
@console.json_option
def inspect(path: Path, delegates: str, ops: bool, branch_id: str | None, as_json: bool) -> None:
    """Show a bundle's branches: recipe, exit, precision, size, parameters, MACs, accuracy, verification.

    With --delegates: which operators of each branch a delegate takes, in how many parts, and why not the others. Each
    part that a delegate takes costs copies to it and back.
    """
    from adascale_tf.verbs.inspect import inspect as verb
    from adascale_tf.verbs.inspect import operators_of

    if (ops or branch_id) and not delegates:
        raise BadInput("--ops and --branch say more of --delegates; name some, such as --delegates gpu.")
    inspection = verb(path, delegates=delegates)
    if not delegates:
        if as_json:
            console.emit(inspection.manifest)
            return
        tables.branches(inspection.manifest, str(path))
        for remark in inspection.remarks:
            console.say(f"Note: {remark}")
    elif ops or branch_id:
        chosen = [branch_id] if branch_id else list(inspection.support)
        names = options.names(delegates)
        found = {branch: {name: operators_of(path, branch, name) for name in names} for branch in chosen}
        support.show_operators(found, as_json)
    else:
        support.show(inspection, str(path), as_json)


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
