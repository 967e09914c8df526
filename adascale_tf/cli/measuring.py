"""Commands that measure and predict: profile, fit, report, doctor."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_tf import bundle, codec, records
from adascale_tf.cli import console


@click.command(epilog="Example: adascale profile bundle --delegates cpu,reference --runs 100 --out measurements.jsonl")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--delegates", default="cpu", show_default=True, help="Comma-separated: cpu, reference.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--runs", type=click.IntRange(2), default=50, show_default=True, help="Timed runs per branch.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("measurements.jsonl"), show_default=True,
    help="Measurements are appended here; after a kill, the same command continues.",
)  # fmt: skip
@console.output_options
def profile(path: Path, delegates: str, threads: int, runs: int, out: Path, quiet: bool, as_json: bool) -> None:
    """Measure every branch on this machine, in interleaved rounds, with raw samples."""
    from profiling import measure

    opened = bundle.load(path)
    names = [name.strip() for name in delegates.split(",") if name.strip()]
    with console.progress(quiet) as tick:
        measurements = measure.profile(opened, names, [threads], runs, out, tick)
    if as_json:
        console.emit(measurements)
    elif not quiet:
        show_measurements(measurements)


def show_measurements(measurements: list[records.Measurement]) -> None:
    """Latency, memory and energy of measurements as a table, fastest first."""
    rows = []
    for m in sorted(measurements, key=lambda m: m.latency_quantile_ms(0.5)):
        sign = "~" if m.energy.how.startswith("estimated") else ""
        energy = "-" if m.energy.value_mj is None else f"{sign}{m.energy.value_mj:.3g}"
        taken = "-" if m.delegation is None else f"{m.delegation.verdict} {m.delegation.delegated}/{m.delegation.nodes}"
        quantiles = [f"{m.latency_quantile_ms(q):.3f}" for q in (0.5, 0.9, 0.99)]
        memory = "-" if m.memory_mb is None else f"{m.memory_mb:.1f}"
        right = "-" if m.outputs is None else f"{m.outputs.agreement:.0%}"
        rows.append((m.recipe, m.delegate, m.threads, *quantiles, memory, energy, taken, right))
    columns = (
        "recipe", "delegate", "threads", "p50 ms", "p90 ms", "p99 ms", "memory MB", "energy mJ", "delegated", "outputs",
    )  # fmt: skip
    console.table("Measurements (~ is an estimate: no energy meter)", columns, rows)


@click.command(epilog="Example: adascale fit measurements.jsonl --out predictors.json")
@click.argument("paths", metavar="FILE.jsonl...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@console.output_options
def fit(paths: tuple[Path, ...], out: Path, quiet: bool, as_json: bool) -> None:
    """Fit predictors of latency, memory and energy from measurements, with their held-out error."""
    from profiling import fit as fitting

    fitted = fitting.fit(records.read(paths))
    codec.write_text(out, codec.dump(fitted))
    if as_json:
        console.emit(fitted)
    elif not quiet:
        rows = [
            (p.quantity, p.delegate, p.threads, p.samples, "-" if p.error is None else f"{p.error:.1%}", p.how)
            for p in fitted.predictors
        ]
        columns = ("quantity", "delegate", "threads", "branches", "held-out error", "how")
        console.table(f"Predictors: {out}", columns, rows)


@click.command(
    epilog="Example: adascale report bundle measurements.jsonl events.jsonl predictors.json --out report.html"
)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--title", default="adascale report", show_default=True)
@console.quiet_option
def report(paths: tuple[Path, ...], out: Path, title: str, quiet: bool) -> None:
    """Write one self-contained page from a bundle, measurements, events and predictors."""
    from profiling import report as reporting

    inputs = reporting.gather(list(paths))
    reporting.write(out, inputs.manifest, inputs.measurements, inputs.traces, inputs.predictors, title)
    if not quiet:
        click.echo(f"Wrote {out}.")


@click.command(epilog="Example: adascale doctor --json")
@console.json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can do: versions, delegates, meters, adb; what is missing and how to get it."""
    from profiling.doctor import examine

    checks = examine()
    if as_json:
        console.emit(checks)
    else:
        console.table(
            "doctor", ("what", "status", "found", "to do"), [(c.name, c.status, c.detail, c.remedy) for c in checks]
        )


COMMANDS = (profile, fit, report, doctor)
