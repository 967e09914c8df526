"""Commands of the adaptive loop: run, replay, compare-policies."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_tf.cli import console, options, tables


@click.command(
    epilog="Example: adascale run bundle --data digits --budget latency_ms=5 --seconds 20 --trace-out events.jsonl"
)
@options.bundle_argument
@options.data_option
@options.budget_option
@click.option("--seconds", type=console.Number(0.1), default=10.0, show_default=True)
@click.option("--fps", type=console.Number(0.1), default=None, help="Inputs per second. Default: no pauses.")
@click.option(
    "--predictors",
    type=click.Path(path_type=Path),
    default=None,
    help="Predictors from 'adascale fit', for limits on energy and memory.",
)
@click.option(
    "--device-name",
    default=None,
    metavar="NAME",
    help="Device whose predictors to use: its name, serial, model or processor.",
)
@click.option(
    "--best-effort", is_flag=True, help="Ignore limits on what this device does not report (temperature, battery)."
)
@click.option("--threads", default="1", show_default=True, help="Thread counts that the policy chooses from: 2,1.")
@click.option(
    "--delegates", cls=options.ListingOption, listing=options.list_delegates_here, default="cpu", show_default=True
)
@click.option(
    "--policy", cls=options.ListingOption, listing=options.list_policies, default="adaptive", show_default=True
)
@click.option("--cascade", is_flag=True, help="Run a cheap branch first, and a better one if it is unsure.")
@click.option(
    "--warm-mb", type=console.Number(0.1), default=None, help="Memory limit for branches that are kept ready."
)
@click.option(
    "--trace-out", "--out", "out", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="Write events here: a trace for 'replay' and 'compare-policies'.",
)  # fmt: skip
@console.output_options
def run(
    *, path: Path, spec: str, budget_text: str, seconds: float, fps: float | None, predictors: Path | None,
    device_name: str | None, best_effort: bool, threads: str, delegates: str, policy: str, cascade: bool,
    warm_mb: float | None, out: Path | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the adaptive loop on the test split: the best accuracy within the budget."""
    from adascale_tf.cli import live
    from adascale_tf.verbs import given, inputs
    from adascale_tf.verbs.run import run as adapt

    opened, budget = given.bundle_of(path), given.budget_of(budget_text)
    wanted, numbers = options.names(delegates), options.counts(threads)
    with console.progress(quiet) as tick:
        dataset = inputs.load_for_bundle(opened, spec, tick=tick, say=console.note)
    with live.view(budget.latency_ms) as watch:
        ran = adapt(
            opened, dataset, budget, seconds=seconds, fps=fps, delegates=wanted, threads=numbers, policy=policy,
            cascade=cascade, predictors=predictors, device_name=device_name, warm_mb=warm_mb, best_effort=best_effort,
            out=out, say=console.warn, watch=None if quiet else watch,
        )  # fmt: skip
    if as_json:
        console.emit(ran.summary)
    elif not quiet:
        tables.summary(ran.summary, f"Adaptive loop: {path}")
        if ran.cascade is not None:
            tables.cascade(ran.cascade)


@click.command(epilog="Example: adascale replay bundle --trace events.jsonl --budget latency_ms=3")
@options.bundle_argument
@click.option("--trace", type=click.Path(path_type=Path), required=True, help="Events of an earlier run.")
@options.budget_option
@click.option("--policy", default="adaptive", show_default=True)
@console.output_options
def replay(path: Path, trace: Path, budget_text: str, policy: str, quiet: bool, as_json: bool) -> None:
    """Run the policy on recorded contexts and latencies: deterministic, without an inference."""
    from adascale_tf.verbs.replay import replay as decide_again

    replayed = decide_again(path, trace, budget_text, policy=policy)
    if as_json:
        console.emit(replayed.summary)
    elif not quiet:
        tables.summary(replayed.summary, f"Replay of {trace}")
    for note in replayed.notes:
        console.note(note)


@click.command(
    "compare-policies",
    epilog="Example: adascale compare-policies bundle --trace events.jsonl --budget latency_ms=3",
)
@options.bundle_argument
@click.option("--trace", type=click.Path(path_type=Path), required=True, help="Events of 'adascale run --trace-out'.")
@options.budget_option
@click.option("--policies", default=None, help="Comma-separated. Default: all, with the oracle.")
@console.output_options
def compare(path: Path, trace: Path, budget_text: str, policies: str | None, quiet: bool, as_json: bool) -> None:
    """Run several policies on the same recorded contexts and latencies, and show them side by side."""
    from adascale_tf.verbs.replay import compare_policies

    named = None if policies is None else [name.strip() for name in policies.split(",")]
    compared = compare_policies(path, trace, budget_text, policies=named)
    if as_json:
        console.emit(compared.policies)
    elif not quiet:
        tables.policies(compared, str(trace))
    for note in compared.notes:
        console.note(note)


COMMANDS = (run, replay, compare)
