"""The command of the full pipeline: demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adascale_tf.cli import console, tables

if TYPE_CHECKING:
    from adascale_tf.verbs.demo import Demonstration


@click.command(epilog="Example: adascale demo --out build/demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@console.output_options
def demo(out: Path, seed: int, quiet: bool, as_json: bool) -> None:
    """The full pipeline on scikit-learn's digits: train, convert, verify, measure, predict, adapt, report."""
    from adascale_tf.verbs.demo import demo as verb

    with console.progress(quiet) as tick:
        done = verb(out, seed=seed, tick=tick)
    if as_json:
        console.emit(done)
    elif not quiet:
        show(done, out)


def show(done: Demonstration, out: Path) -> None:
    """The demo's result in the terminal."""
    rows = [
        (
            b.recipe, f"{b.accuracy:.2%}", f"{b.latency_p50_ms:.3f}", f"{b.speedup:.1f}x", console.size(b.size_bytes),
            f"{b.macs / 1e6:.2f}",
        )
        for b in done.branches
    ]  # fmt: skip
    console.table("Branches, one thread", ("recipe", "accuracy", "p50 ms", "speed-up", "size", "MMACs"), rows)
    tables.phases(done.loop["phases"], f"Adaptive loop, budget {done.loop['budget']['latency_ms']} ms")
    console.say(f"Done in {done.seconds:.0f} s. Open {out / 'report.html'}; the bundle is in {out / 'bundle'}.")


COMMANDS = (demo,)
