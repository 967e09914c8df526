"""Commands that measure and predict: profile, fit, report, doctor."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

import click

from adascale_runtime.engines.delegates import DELEGATES
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.progress import Tick
from adascale_runtime.seams import bundle, records
from adascale_tf.cli import console, fleet, phones


@click.command(
    epilog="Example: adascale profile bundle --delegates cpu,reference --runs 100 --out m.jsonl; "
    "adascale profile bundle --device 192.168.1.20:5555 --delegates cpu,gpu --threads 1,4 --energy --out m.jsonl; "
    "adascale profile bundle --fleet fleet.yaml --out m.jsonl"
)
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--delegates",
    default="cpu",
    show_default=True,
    help=f"Comma-separated: {', '.join(sorted(DELEGATES))}; nnapi with --runner benchmark_model only.",
)
@click.option("--threads", default="1", show_default=True, help="Numbers of threads: 1, or 1,4.")
@click.option("--branches", default=None, help="Ids of branches, comma-separated. Default: all.")
@click.option("--runs", type=click.IntRange(2), default=50, show_default=True, help="Timed runs per branch.")
@click.option("--allow-fallback", is_flag=True, help="Measure also what a delegate does not take as a whole.")
@click.option("--op-profile", is_flag=True, help="Also the time of each operator, from a run of its own.")
@click.option("--calibrate", is_flag=True, help="Measure the micro-kernels and branches most useful for predictors.")
@click.option(
    "--contexts",
    default="idle",
    show_default=True,
    help="Also under real load: idle,load50,load100,memory50; each into a file of its own beside --out.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("measurements.jsonl"), show_default=True,
    help="Measurements are appended here; after a kill, the same command continues.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Measure once more what --out holds already, and append it.")
@phones.device_option
@click.option("--all", "every", is_flag=True, help="All phones in reach (see 'adascale devices').")
@fleet.fleet_option
@click.option("--energy", is_flag=True, help="Phones: measure energy from the battery.")
@click.option("--affinity", default=None, metavar="CORES", help="Phones: big, little, or a hexadecimal mask as f0.")
@click.option(
    "--cooldown",
    type=float,
    default=None,
    metavar="C",
    help="Phones: wait until the chip is at or below this temperature, e.g. 35.",
)
@click.option(
    "--patience",
    type=click.FloatRange(1),
    default=300.0,
    show_default=True,
    help="Phones: seconds to wait for heat, a charger, or a phone that went away (in a fleet: 30).",
)
@click.option(
    "--batch",
    type=click.FloatRange(0.5),
    default=4.0,
    show_default=True,
    help="Phones: seconds of running behind each energy.",
)
@click.option(
    "--runner",
    type=click.Choice(["agent", "benchmark_model"]),
    default="agent",
    show_default=True,
    help="Phones: what measures there.",
)
@click.option("--binary", type=click.Path(path_type=Path), default=None, help="Phones: Google's benchmark_model.")
@click.option("--python", default="python3", show_default=True, help="Phones: the Python that runs the agent.")
@phones.litert_option
@phones.key_option
@click.option("--keep", is_flag=True, help="Phones: leave the files there for the next time.")
@click.option("--clean", is_flag=True, help="Phones: remove what an earlier time left, first.")
@console.output_options
def profile(
    path: Path, delegates: str, threads: str, branches: str | None, runs: int, allow_fallback: bool, op_profile: bool,
    calibrate: bool, contexts: str, out: Path, again: bool, devices: tuple[str, ...], every: bool, lab: Path | None,
    energy: bool, affinity: str | None, cooldown: float | None, patience: float, batch: float, runner: str,
    binary: Path | None, python: str, litert: Path | None, key: Path | None, keep: bool, clean: bool, quiet: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure every branch in interleaved rounds, with raw samples: on this machine, on phones, or on a fleet."""
    opened = bundle.load(path)
    wanted, numbers = phones.names(delegates), phones.counts(threads)
    chosen = None if branches is None else phones.names(branches)
    beside = {"--device": devices, "--all": every, "--key": key, "--calibrate": calibrate}
    fleet.refuse_beside(lab, {**beside, "--contexts": contexts != "idle"})
    if lab is not None and again:
        raise BadInput("A fleet measures what --out lacks; leave --again out, or choose another --out.")
    before = _sizes(out)
    if not devices and not every and lab is None:
        with console.progress(quiet) as tick:
            measurements, problems = _here(
                opened, wanted, numbers, runs, out, tick, chosen, allow_fallback, op_profile, calibrate, contexts, again
            )
    else:
        from android_harness.runner import Options

        options = Options(
            runs=runs, energy=energy, affinity=affinity, allow_fallback=allow_fallback, cooldown_c=cooldown,
            batch_s=batch, idle_s=batch / 2, patience_s=patience, runner=runner, litert=litert, python=python,
            binary=binary, op_profile=op_profile,
        )  # fmt: skip
        with console.progress(quiet) as tick:
            if lab is not None:
                measurements, problems = fleet.profile(
                    lab, opened, wanted, numbers, chosen, options, out, keep, clean, tick
                )
            else:
                measurements, problems = phones.profile(
                    opened, devices, every, wanted, numbers, chosen, options, out, key, keep, clean, again, tick
                )
    if as_json:
        console.emit(measurements)
    elif not quiet:
        show_measurements(measurements)
        show_operators(measurements)
    if measurements and not quiet and _sizes(out) == before:
        console.say(_nothing_new(measurements, out), err=True)
    phones.report(problems)


def _sizes(out: Path) -> list[int]:
    """How large the files of measurements are; they only grow."""
    return [path.stat().st_size for path in sorted(out.parent.glob(f"{glob.escape(out.stem)}*{out.suffix}"))]


def _nothing_new(measurements: Sequence[records.Measurement], out: Path) -> str:
    """The sentence for a profile that found everything measured."""
    times = sorted(m.started for m in measurements)
    when = times[0] if times[0] == times[-1] else f"from {times[0]} to {times[-1]}"
    return f"All {len(measurements)} cells are in {out} already (measured {when}); give --again to measure anew."


def _here(
    opened: bundle.Bundle, delegates: list[str], threads: list[int], runs: int, out: Path, tick: Tick,
    branches: list[str] | None, allow_fallback: bool, op_profile: bool, calibrate: bool, contexts: str,
    again: bool,
) -> tuple[list[records.Measurement], list[str]]:  # fmt: skip
    """Measure on this machine: branches, or what calibrates predictors for them; then again in other contexts.

    Gives what was measured, and a sentence for each cell that crashes.
    """
    from profiling import calibration, measure
    from profiling import contexts as others

    names = others.parse(contexts)
    if calibrate and branches is not None:
        raise BadInput("--calibrate chooses the branches itself; leave --branches out.")
    found: list[records.Measurement] = []
    problems: list[str] = []
    if calibrate:
        found = calibration.calibrate(
            opened, delegates, threads, runs=runs, out=out, tick=tick, allow_fallback=allow_fallback, again=again
        )
        branches = list(dict.fromkeys(m.branch for m in found if m.bundle == opened.digest))
    elif others.IDLE in names:
        found = measure.profile(
            opened, delegates, threads, runs=runs, out=out, tick=tick, branches=branches,
            allow_fallback=allow_fallback, op_profile=op_profile, again=again,
            failed=lambda cell, why: problems.append(f"{cell.delegate} with {cell.threads} threads: {why}"),
        )  # fmt: skip
    return found + others.sweep(
        opened, delegates, threads, names, out=out, tick=tick, branches=branches, again=again
    ), problems


def show_measurements(measurements: list[records.Measurement]) -> None:
    """Latency, memory and energy of measurements as a table, fastest first."""
    rows = []
    several = len({str(m.device.get("name")) for m in measurements}) > 1
    branches = [m for m in measurements if not m.settings.get("kernel")]
    for m in sorted(branches, key=lambda m: m.latency_quantile_ms(0.5)):
        sign = "~" if m.energy.how.startswith("estimated") else ""
        energy = "-" if m.energy.value_mj is None else f"{sign}{m.energy.value_mj:.3g}"
        if m.energy.uncertainty_mj is not None:
            energy += f" +-{m.energy.uncertainty_mj:.1g}"
        taken = "-" if m.delegation is None else f"{m.delegation.verdict} {m.delegation.delegated}/{m.delegation.nodes}"
        quantiles = [f"{m.latency_quantile_ms(q):.3f}" for q in (0.5, 0.9, 0.99)]
        memory = "-" if m.memory_mb is None else f"{m.memory_mb:.1f}"
        right = "-" if m.outputs is None else f"{m.outputs.agreement:.0%}"
        where = (str(m.device.get("name")),) if several else ()
        heat = "-" if m.context_after.temperature_c is None else f"{m.context_after.temperature_c:.0f}"
        beside = f" ({m.settings['context']})" if "context" in m.settings else ""
        rows.append((*where, m.recipe + beside, m.delegate, m.threads, *quantiles, memory, energy, taken, right, heat))
    columns = (
        *(("device",) if several else ()), "recipe", "delegate", "threads", "p50 ms", "p90 ms", "p99 ms", "memory MB",
        "energy mJ", "delegated", "outputs", "C",
    )  # fmt: skip
    console.table("Measurements (~ is an estimate: no energy meter)", columns, rows)
    if len(branches) < len(measurements):
        console.say(f"And {len(measurements) - len(branches)} micro-kernels, for 'adascale fit'.")


def show_operators(measurements: list[records.Measurement]) -> None:
    """What the kinds of operators take in each branch, for those whose operators were timed."""
    rows = []
    for m in measurements:
        spent: dict[str, list[float]] = {}
        for operator in m.operators:
            spent.setdefault(operator.kind, []).append(operator.mean_ms)
        total = sum(map(sum, spent.values()))
        for kind, times in sorted(spent.items(), key=lambda item: -sum(item[1])):
            share = f"{sum(times) / total:.0%}" if total else "-"
            rows.append((m.recipe, m.delegate, kind, len(times), f"{sum(times):.3f}", share))
    if rows:
        console.table("Operators", ("recipe", "delegate", "kind", "count", "ms", "share"), rows)


@click.command(epilog="Example: adascale fit measurements.jsonl --out predictors.json")
@click.argument("paths", metavar="FILE.jsonl...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--share",
    type=click.Choice(["none", "model"]),
    default="none",
    show_default=True,
    help="model: phones of a model count as one device, as in a fleet that shares.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@console.output_options
def fit(paths: tuple[Path, ...], share: str, out: Path, quiet: bool, as_json: bool) -> None:
    """Fit predictors of latency, memory and energy from measurements, with their held-out error."""
    from profiling import fit as fitting

    fitted = fitting.fit(records.read(paths), share)
    codec.write_text(out, codec.dump(fitted))
    if as_json:
        console.emit(fitted)
    elif not quiet:
        rows = [
            (p.quantity, p.delegate, p.threads, p.samples, "-" if p.error is None else f"{p.error:.1%}",
             " ".join(f"{ratio - 1:+.0%}" for ratio in p.spread) or "-", p.how)
            for p in fitted.predictors
        ]  # fmt: skip
        columns = ("quantity", "delegate", "threads", "measured", "held-out error", "nine of ten within", "how")
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

    if out.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"The report is an HTML page, but --out is {out}; name it like report.html.")
    inputs = reporting.gather(list(paths))
    reporting.write(out, inputs.manifest, inputs.measurements, inputs.traces, inputs.predictors, title)
    if not quiet:
        console.say(f"Wrote {out}.")


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
