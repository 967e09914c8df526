"""Commands of the adaptive loop: run, replay, and the demo that walks the whole road."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adascale_tf import bundle
from adascale_tf.cli import console, phases
from adascale_tf.cli.building import data_option

if TYPE_CHECKING:
    from adascale_tf.runtime.events import Event

budget_option = click.option(
    "--budget", "budget_text", required=True, metavar="BUDGET",
    help="latency_ms=5[,energy_mj=..,memory_mb=..,min_accuracy=..]; what is absent is not limited.",
)  # fmt: skip


@click.command(
    epilog="Example: adascale run bundle --data digits --budget latency_ms=5 --seconds 20 --out events.jsonl"
)
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@data_option
@budget_option
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True)
@click.option("--fps", type=click.FloatRange(0.1), default=None, help="Inputs per second. Default: one after another.")
@click.option(
    "--predictors", type=click.Path(path_type=Path), default=None, help="From 'adascale fit': energy, memory."
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write events here.")
@console.output_options
def run(
    path: Path, spec: str, budget_text: str, seconds: float, fps: float | None, predictors: Path | None, threads: int,
    out: Path | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the adaptive loop on the test split: keep the budget, with the best accuracy that is left."""
    from adascale_tf import data
    from adascale_tf import predictors as prediction
    from adascale_tf.runtime import budget as budgets
    from adascale_tf.runtime import loop
    from adascale_tf.runtime.session import Session

    opened = bundle.load(path)
    budget = budgets.parse(budget_text)
    fitted = None if predictors is None else prediction.load(predictors)
    with console.progress(quiet) as tick:
        dataset = data.load(spec, preprocessing=opened.manifest.preprocessing, tick=tick)
        with Session(opened, budget, predictors=fitted, threads=threads) as session, loop.writer(out) as write:
            pace = None if fps is None else 1.0 / fps
            events = loop.run(session, loop.cycle(dataset), seconds, write, pace_s=pace, tick=tick)
    show_summary(events, as_json, quiet, f"Adaptive loop: {path}")


@click.command(epilog="Example: adascale replay bundle --trace events.jsonl --budget latency_ms=3")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--trace", type=click.Path(path_type=Path), required=True, help="Events of an earlier run.")
@budget_option
@click.option("--policy", default="adaptive", show_default=True)
@console.output_options
def replay(path: Path, trace: Path, budget_text: str, policy: str, quiet: bool, as_json: bool) -> None:
    """Run the policy on recorded contexts and latencies: deterministic, without an inference."""
    from adascale_tf.runtime import budget as budgets
    from adascale_tf.runtime import events
    from adascale_tf.runtime import replay as replaying

    opened = bundle.load(path)
    header, recorded = events.read(trace)
    replayed = replaying.replay(opened, header, recorded, budgets.parse(budget_text), policy)
    show_summary(replayed, as_json, quiet, f"Replay of {trace}")


def show_summary(events: list[Event], as_json: bool, quiet: bool, title: str) -> None:
    """What a loop reached: per phase, the share of the budget kept, accuracy, latency, switches, branches."""
    from adascale_tf.runtime.loop import summary

    facts = summary(events)
    if as_json:
        console.emit(facts)
    elif not quiet:
        phases.show({"all": facts, **facts["phases"]}, title)


@click.command(epilog="Example: adascale demo --out build/demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@console.output_options
def demo(out: Path, seed: int, quiet: bool, as_json: bool) -> None:
    """The whole road on scikit-learn's digits: train, convert, verify, measure, predict, adapt under load, report."""
    from adascale_tf.cli import demonstration

    with console.progress(quiet) as tick:
        facts = demonstration.demonstrate(out, seed, tick)
    if as_json:
        console.emit(facts)
    elif not quiet:
        demonstration.show(facts, out)


COMMANDS = (run, replay, demo)
