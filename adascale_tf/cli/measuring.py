"""Commands that measure and predict: profile, compare-delegates, fit, report, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adascale_runtime.errors import BadInput
from adascale_tf.cli import console, ending, options, speeds, tables

if TYPE_CHECKING:
    from adascale_tf.verbs.places import Place


def _list_runners() -> str:
    from adascale_tf.verbs import kinds

    return f"Phones: program that measures, {' or '.join(kinds.names('runners'))}."


@click.command(
    epilog="Example: adascale profile bundle --delegates cpu,reference --runs 100 --out m.jsonl; "
    "adascale profile bundle --device 192.168.1.20:5555 --delegates cpu,gpu --threads 1,4 --energy --out m.jsonl; "
    "adascale profile bundle --fleet fleet.yaml --out m.jsonl"
)
@options.bundle_argument
@click.option(
    "--delegates", cls=options.ListingOption, listing=options.list_delegates, default="cpu", show_default=True
)
@click.option("--threads", default="1", show_default=True, help="Numbers of threads: 1, or 1,4.")
@click.option("--branches", default=None, help="Ids of branches, comma-separated. Default: all.")
@click.option("--runs", type=click.IntRange(2), default=50, show_default=True, help="Timed runs per branch.")
@click.option("--allow-fallback", is_flag=True, help="Also measure branches that a delegate runs only in part.")
@click.option("--op-profile", is_flag=True, help="Also measure the time of each operator, in a separate run.")
@click.option("--calibrate", is_flag=True, help="Measure the micro-kernels and branches most useful for predictors.")
@click.option(
    "--contexts",
    default="idle",
    show_default=True,
    help="Also measure under real load: idle,load50,load100,memory50; each goes to a separate file beside --out.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("measurements.jsonl"), show_default=True,
    help="File to append measurements to; to resume, run the same command again.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Measure again what --out already holds, and append the results.")
@options.precise_option
@click.option("--no-anchors", is_flag=True, help="Run no anchors beside the branches, for comparisons.")
@options.device_option
@click.option("--all", "every", is_flag=True, help="All reachable phones (see 'adascale devices').")
@options.fleet_option
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
    help="Phones: seconds to wait for cooling, unplugging or a lost phone (in a fleet: 30).",
)
@click.option(
    "--batch",
    type=click.FloatRange(0.5),
    default=4.0,
    show_default=True,
    help="Phones: seconds of continuous inference per energy measurement.",
)
@click.option("--runner", cls=options.ListingOption, listing=_list_runners, default="agent", show_default=True)
@click.option(
    "--binary", type=click.Path(path_type=Path), default=None, help="Phones: path of Google's benchmark_model."
)
@click.option(
    "--python",
    default="python3",
    show_default=True,
    help="Phones: the Python that runs the agent. 'portable': that of 'make portable', also used where there is none.",
)
@options.litert_option
@options.key_option
@click.option("--keep", is_flag=True, help="Phones: keep the files on the phone for the next run.")
@click.option("--clean", is_flag=True, help="Phones: first remove files that an earlier run left.")
@console.output_options
def profile(
    *, path: Path, delegates: str, threads: str, branches: str | None, runs: int, allow_fallback: bool,
    op_profile: bool,
    calibrate: bool, contexts: str, out: Path, again: bool, precise: float,
    no_anchors: bool, devices: tuple[str, ...], every: bool, lab: Path | None,
    energy: bool, affinity: str | None, cooldown: float | None, patience: float, batch: float, runner: str,
    binary: Path | None, python: str, litert: Path | None, key: Path | None, keep: bool, clean: bool, quiet: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure every branch in interleaved rounds, with raw samples: on this machine, on phones, or on a fleet."""
    from adascale_tf.verbs import places
    from adascale_tf.verbs.profile import profile as measure

    beside = {"--device": devices, "--all": every, "--key": key, "--calibrate": calibrate}
    options.refuse_beside(lab, {**beside, "--contexts": contexts != "idle"})
    if lab is not None and again:
        raise BadInput("A fleet measures what --out lacks; leave --again out, or choose another --out.")
    if calibrate and branches is not None:
        raise BadInput("--calibrate chooses the branches itself; leave --branches out.")
    how: dict[str, Any] = {
        "litert": litert, "energy": energy, "affinity": affinity, "cooldown_c": cooldown, "batch_s": batch,
        "runner": runner, "python": python, "binary": binary, "keep": keep, "clean": clean, "patience_s": patience,
    }  # fmt: skip
    on: list[Place] = [places.phone(address, key=key, **how) for address in devices]
    if every:
        on.append(places.phone(key=key, **how))
    if lab is not None:
        given = click.get_current_context().get_parameter_source("patience") == click.core.ParameterSource.COMMANDLINE
        on.append(places.fleet(lab, away_s=patience if given else places.AWAY_S, **how))
    if not on:
        on.append(places.host(calibrate, options.names(contexts)))
    with console.progress(quiet) as tick:
        measured = measure(
            path, options.names(delegates), options.counts(threads), on=on, out=out,
            branches=None if branches is None else options.names(branches), runs=runs, allow_fallback=allow_fallback,
            op_profile=op_profile, again=again, anchors=not no_anchors, precise=precise, tick=tick,
            say=console.remark,
        )  # fmt: skip
    if as_json:
        console.emit(speeds.plain(measured.measurements, measured.usual))
    elif not quiet:
        tables.measurements(measured.measurements, measured.usual)
        speeds.wandering(measured.measurements, measured.usual)
        tables.operator_times(measured.measurements)
    if not measured.fresh and not quiet:
        console.say(tables.nothing_new(measured), err=True)
    ending.incomplete(measured.problems)


@click.command(
    "compare-delegates",
    epilog="Example: adascale compare-delegates measurements.jsonl --bundle bundle; "
    "adascale compare-delegates measurements.jsonl --device 'Google Pixel 8 12345678' --json",
)
@click.argument("paths", metavar="FILE.jsonl...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--bundle", type=click.Path(path_type=Path), default=None, metavar="BUNDLE",
    help="What was measured: compare its support tables with what delegates took.",
)  # fmt: skip
@click.option("--device", default=None, metavar="NAME", help="Only this device: its name, serial, model or processor.")
@console.output_options
def compare_delegates(
    paths: tuple[Path, ...], bundle: Path | None, device: str | None, quiet: bool, as_json: bool
) -> None:
    """Show the best delegate of each branch: speed against the CPU with its interval, outputs, memory, crossovers."""
    from adascale_tf.verbs.compare_delegates import compare_delegates as compare

    compared = compare(list(paths), bundle=bundle, device=device)
    if as_json:
        console.emit(compared)
    elif not quiet:
        tables.delegates(compared)


@click.command(epilog="Example: adascale fit measurements.jsonl --out predictors.json")
@click.argument("paths", metavar="FILE.jsonl...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--share",
    type=click.Choice(["none", "model"]),
    default="none",
    show_default=True,
    help="model: treat phones of one model as one device, as a fleet that shares work does.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@console.output_options
def fit(paths: tuple[Path, ...], share: str, out: Path, quiet: bool, as_json: bool) -> None:
    """Fit predictors of latency, memory and energy from measurements, with their held-out error."""
    from adascale_tf.verbs.fit import fit as fit_predictors

    fitted = fit_predictors(list(paths), share=share, out=out)
    if as_json:
        console.emit(fitted)
    elif not quiet:
        tables.predictors(fitted, str(out))


@click.command(
    epilog="Example: adascale report bundle measurements.jsonl events.jsonl predictors.json --out report.html"
)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--title", default="adascale report", show_default=True)
@console.quiet_option
def report(paths: tuple[Path, ...], out: Path, title: str, quiet: bool) -> None:
    """Write one self-contained page from a bundle, measurements, events and predictors."""
    from adascale_tf.verbs.report import report as write_report

    written = write_report(list(paths), out, title=title)
    if not quiet:
        console.say(f"Wrote {written.out}.")


@click.command(epilog="Example: adascale doctor --json; adascale doctor --device 192.168.1.20:5555")
@options.device_option
@options.key_option
@console.json_option
def doctor(devices: tuple[str, ...], key: Path | None, as_json: bool) -> None:
    """Show what this machine, and phones, support: versions, delegates, meters, adb; what is missing and what to do."""
    from adascale_tf.verbs.doctor import doctor as examine

    checks = examine(devices, key=key).checks
    if as_json:
        console.emit(checks)
    else:
        rows = [(check.name, check.status, check.detail, check.remedy) for check in checks]
        console.table("doctor", ("what", "status", "found", "to do"), rows)


COMMANDS = (profile, compare_delegates, fit, report, doctor)
