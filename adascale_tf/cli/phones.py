"""Commands for phones: devices, pair, agent, pull."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_tf.cli import console, ending, options, speeds, tables


@click.command(
    epilog="Example: adascale devices; adascale devices 192.168.1.20:5555 --json; adascale devices --fleet fleet.yaml"
)
@click.argument("named", metavar="[HOST:PORT]...", nargs=-1)
@options.fleet_option
@options.key_option
@console.output_options
def devices(named: tuple[str, ...], lab: Path | None, key: Path | None, quiet: bool, as_json: bool) -> None:
    """List reachable phones: on USB, emulated on this machine and previously used, or those of a fleet."""
    from adascale_tf.verbs.phones import devices as look

    options.refuse_beside(lab, {"addresses": named, "--key": key})
    reached = look(named, key=key, fleet=lab)
    if as_json:
        console.emit([tables.device_facts(device) for device in reached.devices])
    elif not quiet and not reached.devices:
        console.say("No phone was found; give its address as HOST:PORT, or plug it in (pip install adb-shell[usb]).")
    elif not quiet:
        tables.devices(reached.devices, "Devices" if lab is None else f"Devices of {lab}")
    if (named or lab is not None) and reached.unusable:
        raise AdaScaleError(tables.unusable(reached))


@click.command(epilog="Example: adascale pair 192.168.1.20:5555")
@click.argument("named", metavar="PHONE")
@options.key_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(1),
    default=60.0,
    show_default=True,
    help="Seconds to wait for permission.",
)
def pair(named: str, key: Path | None, wait_s: float) -> None:
    """Pair a phone with this computer: it asks "Allow USB debugging?" on its screen."""
    from adascale_tf.verbs.phones import pair as introduce

    paired = introduce(named, key=key, wait_s=wait_s, say=console.remark)
    console.say(f"{paired.name} at {paired.address} is paired with this computer.")


@click.command(
    epilog="Example: adascale agent --out agent.pyz; adascale agent bundle --termux --litert litert.aar --device usb"
)
@click.argument("path", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write the agent to this file (a zipapp).")
@click.option(
    "--termux", is_flag=True, help="Copy BUNDLE, agent and plan to the phone's storage and print what to paste."
)
@options.device_option
@click.option(
    "--delegates", cls=options.ListingOption, listing=options.list_delegates_of_agents, default="cpu", show_default=True
)
@click.option("--threads", default="1", show_default=True)
@click.option("--runs", type=click.IntRange(2), default=50, show_default=True)
@click.option("--energy", is_flag=True)
@options.litert_option
@options.key_option
def agent(
    *, path: Path | None, out: Path | None, termux: bool, devices: tuple[str, ...], delegates: str, threads: str,
    runs: int, energy: bool, litert: Path | None, key: Path | None,
) -> None:  # fmt: skip
    """Write the agent that runs on phones, or prepare it for Termux."""
    from adascale_tf.verbs import agent as verb

    if not termux:
        if out is None:
            raise BadInput("Choose where the agent goes: --out agent.pyz, or --termux with a bundle and a phone.")
        written = verb.agent(out)
        console.say(f"Wrote {written.out}; 'python3 {written.out} --help' shows its options.")
        return
    if path is None or len(devices) != 1:
        raise BadInput("--termux needs a BUNDLE and one --device to copy the files to.")
    prepared = verb.termux(
        path, devices[0], delegates=options.names(delegates), threads=options.counts(threads), runs=runs,
        energy=energy, litert=litert, key=key,
    )  # fmt: skip
    console.say("Paste into Termux, line by line:", err=True)
    for line in prepared.commands:
        console.say(line)
    console.say(f"Then: adascale pull {path} --device {devices[0]} --out m.jsonl", err=True)


@click.command(epilog="Example: adascale pull bundle --device 192.168.1.20:5555 --out m.jsonl")
@options.bundle_argument
@options.one_device_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@options.key_option
@click.option(
    "--clean", is_flag=True, help="Afterwards remove results, plan, bundle and agent from the phone's storage."
)
@console.output_options
def pull(*, path: Path, address: str, out: Path, key: Path | None, clean: bool, quiet: bool, as_json: bool) -> None:
    """Fetch what the agent measured in Termux and append what is new to a file of measurements."""
    from adascale_tf.verbs.pull import pull as fetch

    pulled = fetch(path, address, out=out, key=key, clean=clean)
    if as_json:
        console.emit(speeds.plain(pulled.measurements, pulled.usual))
    elif not quiet:
        tables.measurements(pulled.measurements, pulled.usual)
        speeds.wandering(pulled.measurements, pulled.usual)
    if not pulled.fresh and not quiet:
        console.say(f"All {len(pulled.measurements)} measurements are already in {out}.", err=True)
    for note in pulled.notes:
        console.remark(note)
    ending.incomplete(pulled.problems)


COMMANDS = (devices, pair, agent, pull)
