"""A bundle's branches for people: a table, and sentences on what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adascale_runtime.seams import losses
from adascale_runtime.seams.bundle import MAX_LOSS
from adascale_tf.cli import console

if TYPE_CHECKING:
    from pathlib import Path

    from adascale_runtime.seams.bundle import Branch, Manifest
    from adascale_tf.verbs.build import Built

max_loss_option = click.option(
    "--max-loss", type=console.Number(0, 100), default=MAX_LOSS, show_default=True, metavar="POINTS",
    help="Mark a branch whose file loses more points of accuracy than this against its own float network. One that "
    f"loses more than {losses.LEFT_OUT:.0f} (or POINTS, if that is more) is left out of the bundle.",
)  # fmt: skip


def show(manifest: Manifest, where: str) -> None:
    """The branches of a bundle as a table."""
    rows = [
        (
            b.recipe, b.exit, b.precision, console.size(b.size_bytes), f"{b.cost.params:,}", f"{b.cost.macs / 1e6:.2f}",
            accuracy_cell(manifest, b), f"{b.verification.agreement:.1%} of {b.verification.samples}",
            f"{b.verification.max_abs_difference:.3g}",
        )
        for b in manifest.branches
    ]  # fmt: skip
    columns = ("recipe", "exit", "precision", "size", "params", "MMACs", "accuracy", "top-1 as Keras", "max diff")
    console.table(f"{manifest.name}: {where}", columns, rows)
    if manifest.given is not None:
        console.say(f"The model as it was given: {manifest.given.value:.2%} of {manifest.given.samples}.")


def accuracy_cell(manifest: Manifest, branch: Branch) -> str:
    """A branch's accuracy, with what it lost where that is too much: ``76.12% (-8.4)``."""
    return f"{branch.accuracy.value:.2%}" + (f" (-{branch.loss:.1f})" if manifest.lossy(branch) else "")


def show_built(built: Built, out: Path, quiet: bool, as_json: bool) -> None:
    """A bundle that was just written, as a table or JSON; what is wrong with it also for those who asked for quiet."""
    if as_json:
        console.emit(built.bundle.manifest)
    elif not quiet:
        show(built.bundle.manifest, str(out))
    for remark in built.remarks:
        console.say(f"Note: {remark}", err=True)
