"""Commands of the adaptive loop: run, replay, compare-policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adascale_runtime.seams import bundle
from adascale_tf.cli import console, options, phases
from adascale_tf.cli.options import budget_option, data_option
from adascale_tf.verbs import inputs

if TYPE_CHECKING:
    from adascale_runtime.cascade_session import CascadeSession
    from adascale_runtime.seams.events import Event

#: Training inputs on which a cascade's confidence is calibrated.
CALIBRATION = 500


@click.command(
    epilog="Example: adascale run bundle --data digits --budget latency_ms=5 --seconds 20 --trace-out events.jsonl"
)
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@data_option
@budget_option
@click.option("--seconds", type=console.Number(0.1), default=10.0, show_default=True)
@click.option("--fps", type=console.Number(0.1), default=None, help="Inputs per second. Default: one after another.")
@click.option(
    "--predictors", type=click.Path(path_type=Path), default=None, help="From 'adascale fit': energy, memory."
)
@click.option(
    "--device-name", default=None, metavar="NAME", help="Whose predictors: a device's name, serial, model or processor."
)
@click.option(
    "--best-effort", is_flag=True, help="Ignore limits on what this device does not tell (temperature, battery)."
)
@click.option("--threads", default="1", show_default=True, help="Numbers of threads, of which the policy chooses: 2,1.")
@click.option("--delegates", default="cpu", show_default=True, help="Comma-separated; the policy chooses among them.")
@click.option(
    "--policy", default="adaptive", show_default=True, help="Also: static-full, static-smallest, threshold, ..."
)
@click.option("--cascade", is_flag=True, help="A cheap branch answers first; a better one is asked when it is unsure.")
@click.option("--warm-mb", type=console.Number(0.1), default=None, help="Memory for branches that are kept ready.")
@click.option(
    "--trace-out", "--out", "out", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="Write events here: a trace for 'replay' and 'compare-policies'.",
)  # fmt: skip
@console.output_options
def run(
    path: Path, spec: str, budget_text: str, seconds: float, fps: float | None, predictors: Path | None,
    device_name: str | None, best_effort: bool, threads: str, delegates: str, policy: str, cascade: bool,
    warm_mb: float | None, out: Path | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the adaptive loop on the test split: keep the budget, with the best accuracy that is left."""
    from adascale_runtime import loop
    from adascale_runtime.cascade_session import CascadeSession
    from adascale_runtime.device import identity
    from adascale_runtime.seams import budget as budgets
    from adascale_runtime.seams import predictors as prediction
    from adascale_runtime.session import Session
    from adascale_tf.cli import live

    opened = bundle.load(path)
    budget = budgets.parse(budget_text)
    how: dict[str, Any] = {
        "predictors": None if predictors is None else prediction.choose(predictors, device_name, identity.facts()),
        "delegates": options.names(delegates),
        "threads": options.counts(threads),
        "policy": policy,
        "warm_mb": warm_mb,
        "best_effort": best_effort,
    }
    with console.progress(quiet) as tick:
        dataset = inputs.load_for_bundle(opened, spec, tick=tick, say=console.note)
    kind = CascadeSession if cascade else Session
    pace = None if fps is None else 1.0 / fps
    with kind(opened, budget, **how) as session, loop.writer(out) as write, live.view(budget.latency_ms) as watch:
        if isinstance(session, CascadeSession):
            calibrate(session, dataset)
        for sentence in session.warnings():
            console.say(f"adascale: {sentence}", err=True)
        watching = None if quiet else watch
        events = loop.run(session, loop.cycle(dataset), seconds, write, pace_s=pace, watch=watching)
    show_summary(events, as_json, quiet, f"Adaptive loop: {path}")
    if isinstance(session, CascadeSession) and not (as_json or quiet):
        show_cascade(session, events)


def calibrate(session: CascadeSession, dataset: Any) -> None:
    """Fit the temperature of the first branch on training inputs, which the loop does not see."""
    from adascale_runtime.engines.delegates import open_branch
    from adascale_runtime.policies import cascade

    x = dataset.inputs(dataset.x_train[:CALIBRATION])
    first = session.bundle.manifest.branch(session.pair.first.id.partition("@")[0])
    runner = open_branch(session.bundle, first)
    logits = [runner(image[None]).reshape(-1).tolist() for image in x]
    session.temperature = cascade.fit_temperature(logits, [int(label) for label in dataset.y_train[:CALIBRATION]])


def show_cascade(session: CascadeSession, events: list[Event]) -> None:
    """What the cascade buys: accuracy, mean latency and energy against each of its branches alone."""
    first, second = session.pair.first, session.pair.second
    asked = sum(event.switched for event in events) / max(1, len(events))
    judged = [event.correct for event in events if event.correct is not None]
    mean_ms = sum(event.latency_ms for event in events) / max(1, len(events))

    def energy(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    both = None if first.energy_mj is None or second.energy_mj is None else first.energy_mj + asked * second.energy_mj
    accuracy = sum(judged) / len(judged) if judged else 0.0
    rows = [
        (f"cascade, {asked:.0%} asked again", f"{accuracy:.2%}", f"{mean_ms:.3f}", energy(both)),
        (f"{first.id} alone", f"{first.accuracy:.2%}", f"{first.latency_ms:.3f}", energy(first.energy_mj)),
        (f"{second.id} alone", f"{second.accuracy:.2%}", f"{second.latency_ms:.3f}", energy(second.energy_mj)),
    ][: 2 if first is second else 3]
    console.table(f"Cascade, temperature {session.temperature:.2f}", ("branches", "accuracy", "mean ms", "mJ"), rows)


@click.command(epilog="Example: adascale replay bundle --trace events.jsonl --budget latency_ms=3")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--trace", type=click.Path(path_type=Path), required=True, help="Events of an earlier run.")
@budget_option
@click.option("--policy", default="adaptive", show_default=True)
@console.output_options
def replay(path: Path, trace: Path, budget_text: str, policy: str, quiet: bool, as_json: bool) -> None:
    """Run the policy on recorded contexts and latencies: deterministic, without an inference."""
    from adascale_runtime.policies import replay as replaying
    from adascale_runtime.seams import budget as budgets
    from adascale_runtime.seams import events

    opened = bundle.load(path)
    header, recorded = events.read(trace)
    replayed = replaying.replay(opened, header, recorded, budgets.parse(budget_text), policy)
    show_summary(replayed, as_json, quiet, f"Replay of {trace}")


@click.command(
    "compare-policies",
    epilog="Example: adascale compare-policies bundle --trace events.jsonl --budget latency_ms=3",
)
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--trace", type=click.Path(path_type=Path), required=True, help="Events of 'adascale run --trace-out'.")
@budget_option
@click.option("--policies", default=None, help="Comma-separated. Default: all, with the oracle.")
@console.output_options
def compare(path: Path, trace: Path, budget_text: str, policies: str | None, quiet: bool, as_json: bool) -> None:
    """Run several policies on the same recorded contexts and latencies, and show them side by side."""
    from adascale_runtime.loop import summary
    from adascale_runtime.policies import policy as known
    from adascale_runtime.policies import replay as replaying
    from adascale_runtime.seams import budget as budgets
    from adascale_runtime.seams import events

    opened = bundle.load(path)
    header, recorded = events.read(trace)
    budget = budgets.parse(budget_text)
    names = sorted(known.POLICIES) if policies is None else [name.strip() for name in policies.split(",")]
    for name in names:
        known.check_policy(name)
    accuracy = {branch.id: branch.accuracy.value for branch in opened.manifest.branches}
    found = {}
    for name in names:
        replayed = replaying.replay(opened, header, recorded, budget, name)
        expected = [accuracy[event.branch.partition("@")[0]] for event in replayed]
        found[name] = {**summary(replayed), "expected_accuracy": sum(expected) / max(1, len(expected))}
    if as_json:
        console.emit(found)
    elif not quiet:
        rows = [
            (
                name, f"{facts['kept']:.2%}", f"{facts['expected_accuracy']:.2%}", f"{facts['mean_ms']:.3f}",
                facts["switches"], ", ".join(f"{b} {share:.0%}" for b, share in
                                             sorted(facts["branches"].items(), key=lambda i: -i[1])[:3]),
            )
            for name, facts in found.items()
        ]  # fmt: skip
        columns = ("policy", "budget kept", "expected accuracy", "mean ms", "switches", "branches")
        console.table(f"{len(recorded):,} recorded inferences of {trace}", columns, rows)


def show_summary(events: list[Event], as_json: bool, quiet: bool, title: str) -> None:
    """What a loop reached: per phase, the share of the budget kept, accuracy, latency, switches, branches."""
    from adascale_runtime.loop import summary

    facts = summary(events)
    if as_json:
        console.emit(facts)
    elif not quiet:
        phases.show({"all": facts, **facts["phases"]}, title)


COMMANDS = (run, replay, compare)
