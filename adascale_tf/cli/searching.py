"""The command that chooses branches for a device: search."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adascale_tf.cli import console
from adascale_tf.verbs.evolve import STEPS

if TYPE_CHECKING:
    from adascale_tf.network.front import Candidate, Objective
    from adascale_tf.verbs.search import Searched


@click.command(
    epilog="Example: adascale search bundle --predictors predictors.json --branches 4; "
    "adascale search bundle.checkpoint --data digits --predictors predictors.json --objectives latency,size --out best"
)
@click.argument("source", metavar="BUNDLE|CHECKPOINT", type=click.Path(path_type=Path))
@click.option(
    "--objectives", default="latency", show_default=True, metavar="NAMES",
    help="What should be small: latency, energy, memory, size; comma-separated. One front is searched in all of them.",
)  # fmt: skip
@click.option(
    "--predictors", "predictors_path", default=None, type=click.Path(path_type=Path),
    help="Predictors of the device, from 'adascale fit'; all objectives but size need them.",
)  # fmt: skip
@click.option(
    "--device-name", default=None, metavar="NAME", help="Device to choose for, if the file has predictors of several."
)
@click.option("--branches", type=click.IntRange(1), default=8, show_default=True, help="Number of branches to choose.")
@click.option(
    "--data", "spec", default=None, metavar="SPEC", help="With a CHECKPOINT: its data, to measure accuracy on."
)
@click.option("--trials", type=click.IntRange(0), default=40, show_default=True, help="Number of new recipes to try.")
@click.option(
    "--steps", type=click.IntRange(0), default=STEPS, show_default=True,
    help="Batches that each new structure trains for before it is judged; 0 is faster.",
)  # fmt: skip
@click.option("--delegate", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--for", "targets", default="", metavar="DELEGATES",
    help="Choose only branches that each of these takes all of, such as gpu,npu.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write the chosen branches as a bundle.")
@console.output_options
def search(
    *, source: Path, objectives: str, predictors_path: Path | None, device_name: str | None, branches: int,
    spec: str | None, trials: int, steps: int, delegate: str, threads: int, seed: int, targets: str, out: Path | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Choose the branches that offer most accuracy for what they cost on a device.

    From a BUNDLE, the best of its branches. From a CHECKPOINT, an evolutionary search over recipes: each is derived
    from the trained network, converted, its accuracy measured on the validation split, its costs predicted. A model of
    the recipes that are known chooses the next one. The checkpoint stays as it is.
    """
    from adascale_tf.verbs.search import search as verb

    with console.progress(quiet) as tick:
        searched = verb(
            source, predictors_path, data=spec, objectives=objectives, branches=branches, trials=trials, steps=steps,
            device_name=device_name, delegate=delegate, threads=threads, seed=seed, targets=targets, out=out, tick=tick,
            say=console.note,
        )  # fmt: skip
    for remark in searched.remarks:
        console.say(f"Note: {remark}", err=True)
    if as_json:
        console.emit(_facts(searched))
    elif not quiet:
        _show(searched)
        recipes = ",".join(str(one.recipe) for one in searched.chosen)
        if spec is None:
            console.say(f"--recipes '{recipes}'")
        else:
            console.say("To give these branches weights of their own:")
            console.say(shlex.join(_next(source, spec, recipes)))


def _next(source: Path, spec: str, recipes: str) -> list[str]:
    """The command that trains what was chosen."""
    command = ["adascale", "specialise", str(source), "--data", spec, "--recipes", recipes]
    return [*command, "--out", "specialised"]


def _facts(searched: Searched) -> dict[str, Any]:
    chosen = [
        {"recipe": str(one.recipe), "accuracy": one.accuracy, "interval": list(one.interval), **one.costs}
        for one in searched.chosen
    ]
    names = [one.name for one in searched.objectives]
    return {"seen": searched.seen, "objectives": names, "split": searched.split, "chosen": chosen}


def _show(searched: Searched) -> None:
    rows = [
        (str(one.recipe), f"{one.accuracy:.2%}", f"{one.interval[0]:.1%} to {one.interval[1]:.1%}",
         *(_cell(one, objective) for objective in searched.objectives))
        for one in searched.chosen
    ]  # fmt: skip
    headings = [objective.heading for objective in searched.objectives]
    columns = ("recipe", f"accuracy ({searched.split})", "95 % interval", *headings)
    console.table(f"The best {len(rows)} of {searched.seen} recipes", columns, rows)


def _cell(candidate: Candidate, objective: Objective) -> str:
    cost = candidate.costs[objective.quantity]
    if not objective.predicted:
        return console.size(int(cost))
    return f"{cost:.3f}" if cost >= 1 else f"{cost:.3g}"


COMMANDS = (search,)
