"""Commands for phones: devices, pair, agent, pull; and the phones' part of profile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.seams import bundle
from adascale_tf.cli import console, fleet

if TYPE_CHECKING:
    from adascale_runtime.progress import Tick
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.records import Measurement
    from android_harness.adb import Address
    from android_harness.harness import Outcome
    from android_harness.runner import Options

key_option = click.option(
    "--key", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="RSA key that phones know. Default: adb's own, ~/.android/adbkey; made where there is none.",
)  # fmt: skip
litert_option = click.option(
    "--litert", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="LiteRT for the phone: libLiteRt.so, the Android package (.aar) or a wheel.",
)  # fmt: skip
device_option = click.option(
    "--device", "devices", multiple=True, metavar="PHONE", help="HOST:PORT, usb or usb:SERIAL; may be given again."
)


@click.command(
    epilog="Example: adascale devices; adascale devices 192.168.1.20:5555 --json; adascale devices --fleet fleet.yaml"
)
@click.argument("named", metavar="[HOST:PORT]...", nargs=-1)
@fleet.fleet_option
@key_option
@console.output_options
def devices(named: tuple[str, ...], lab: Path | None, key: Path | None, quiet: bool, as_json: bool) -> None:
    """List the phones that can be reached: on cables, on this machine, and those met before, or those of a fleet."""
    from android_harness import discovery, keys
    from android_harness.adb import parse_address

    fleet.refuse_beside(lab, {"addresses": named, "--key": key})
    if lab is not None:
        fleet.show_devices(lab, quiet, as_json)
        return
    signer, _ = keys.load(key)
    found = discovery.look(discovery.candidates([parse_address(text) for text in named]), signer)
    if as_json:
        console.emit(found)
    elif not quiet:
        if not found:
            console.say("No phone is in reach; name one as HOST:PORT, or plug it in (pip install adb-shell[usb]).")
            return
        console.table("Devices", COLUMNS, [row(f.address, f.state, f.facts) for f in found])
        for f in found:
            if f.detail:
                console.say(f.detail)
    check_ready([(f.address, f.state) for f in found if named])


def check_ready(phones: Sequence[tuple[str, str]]) -> None:
    """Fail with code 1 if a phone that was named (address, state) cannot be used now."""
    missing = [f"{address} is {state}" for address, state in phones if state != "ready"]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise AdaScaleError(f"{len(missing)} of {len(phones)} phones cannot be used: {', '.join(missing[:5])}{more}.")


COLUMNS = ("address", "state", "phone", "SoC", "Android", "ABI", "battery", "temperature", "thermal")


def row(address: str, state: str, facts: dict[str, Any]) -> tuple[str, ...]:
    if not facts:
        return (address, state, *["-"] * 7)
    battery = "-" if facts["battery"] is None else f"{facts['battery']:.0%}{' charging' if facts['charging'] else ''}"
    celsius = "-" if facts["temperature_c"] is None else f"{facts['temperature_c']:.1f} C"
    shown = (facts["name"], facts["soc"] or facts["board"], facts["android"], facts["abi"])
    return (address, state, *[str(v or "-") for v in shown], battery, celsius, facts["thermal"] or "-")


@click.command(epilog="Example: adascale pair 192.168.1.20:5555")
@click.argument("named", metavar="PHONE")
@key_option
@click.option(
    "--wait", "wait_s", type=click.FloatRange(1), default=60.0, show_default=True, help="Seconds to allow it."
)
def pair(named: str, key: Path | None, wait_s: float) -> None:
    """Pair a phone with this computer: it asks "Allow USB debugging?" on its screen."""
    from android_harness import discovery, keys, phone_facts
    from android_harness.adb import connect, parse_address

    address = parse_address(named)
    signer, made = keys.load(key)
    if made:
        console.say(f"Made a key: {key or keys.default_path()}", err=True)

    def waiting() -> None:
        console.say("The phone asks 'Allow USB debugging?': unlock it and allow this computer.", err=True)

    with connect(address, signer, dialog_s=wait_s, waiting=waiting) as adb:
        name = phone_facts.read(adb)["name"]
    discovery.remember(address)
    console.say(f"{name} at {address} knows this computer.")


def profile(
    opened: Bundle, named: Sequence[str], every: bool, delegates: Sequence[str], threads: Sequence[int],
    branches: Sequence[str] | None, options: Options, out: Path, key: Path | None, keep: bool, clean: bool,
    again: bool, tick: Tick,
) -> tuple[list[Measurement], list[str]]:  # fmt: skip
    """Profile on one or several phones, one worker each: what was measured, and a sentence for what could not be."""
    from android_harness import keys
    from android_harness.harness import Harness, Outcome

    signer, _ = keys.load(key)
    addresses, notes = different(named, every, signer)
    for note in notes:
        console.say(note, err=True)
    lock = threading.Lock()

    def locked(what: str, done: int, total: int, note: str = "") -> None:
        with lock:
            tick(what, done, total, note)

    def one(address: Any) -> Outcome | AdaScaleError:
        try:
            harness = Harness(opened, address, options, out, signer=signer, tick=locked)
            return harness.profile(delegates, threads, branches, keep=keep, clean=clean, again=again)
        except AdaScaleError as error:
            if len(addresses) == 1:
                raise
            return error

    with ThreadPoolExecutor(max_workers=len(addresses)) as pool:
        found = list(pool.map(one, addresses))
    outcomes = [outcome for outcome in found if isinstance(outcome, Outcome)]
    problems = [f"{o.device['name']} {cell}: {why}" for o in outcomes for cell, why in o.failed.items()]
    problems += [str(error) for error in found if not isinstance(error, Outcome)]
    return [m for outcome in outcomes for m in outcome.measurements], problems


def different(named: Sequence[str], every: bool, signer: Any) -> tuple[list[Address], list[str]]:
    """The addresses to measure at: one for each phone, which a cable and the network may both lead to.

    Phones are told by their serial numbers; the first address counts. The sentences say which others are left out.
    """
    from android_harness import discovery
    from android_harness.adb import parse_address

    addresses = [parse_address(text) for text in dict.fromkeys(named)]
    if every:
        addresses += [a for a in discovery.candidates() if a not in addresses]
    if not addresses:
        raise BadInput("No phone is in reach; name one with --device HOST:PORT.")
    if len(addresses) == 1 and not every:
        return addresses, []
    chosen: list[Address] = []
    first: dict[str, str] = {}
    notes: list[str] = []
    for address, met in zip(addresses, discovery.look(addresses, signer), strict=True):
        if met.state != "ready" and str(address) not in named:
            continue
        serial = str(met.facts.get("serial") or address)
        if serial in first:
            notes.append(f"{address} is the phone {met.facts['name']} once more; it is measured at {first[serial]}.")
        else:
            first[serial] = str(address)
            chosen.append(address)
    if not chosen:
        raise BadInput("No phone is in reach; name one with --device HOST:PORT.")
    return chosen, notes


@click.command(
    epilog="Example: adascale agent --out agent.pyz; adascale agent bundle --termux --litert litert.aar --device usb"
)
@click.argument("path", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write the agent here (a zipapp).")
@click.option(
    "--termux", is_flag=True, help="Bring BUNDLE, agent and plan to the phone's storage; prints what to paste."
)
@device_option
@click.option("--delegates", default="cpu", show_default=True)
@click.option("--threads", default="1", show_default=True)
@click.option("--runs", type=click.IntRange(2), default=50, show_default=True)
@click.option("--energy", is_flag=True)
@litert_option
@key_option
def agent(
    path: Path | None, out: Path | None, termux: bool, devices: tuple[str, ...], delegates: str, threads: str,
    runs: int, energy: bool, litert: Path | None, key: Path | None,
) -> None:  # fmt: skip
    """Write the agent that runs on phones, or prepare it for Termux."""
    from android_harness import package

    if not termux:
        if out is None:
            raise BadInput("Say where the agent goes: --out agent.pyz, or --termux with a bundle and a phone.")
        package.write(out)
        console.say(f"Wrote {out}; 'python3 {out} --help' says what it does.")
        return
    if path is None or len(devices) != 1:
        raise BadInput("--termux needs a BUNDLE and one --device whose storage the files go to.")
    from android_harness import keys
    from android_harness import termux as export
    from android_harness.adb import connect, parse_address
    from android_harness.runner import Options
    from profiling import cells

    opened = bundle.load(path)
    options = Options(runs=runs, energy=energy, litert=litert)
    chosen = cells.choose(opened, names(delegates), counts(threads), runs)
    content = export.files(opened, chosen, options, litert)
    with connect(parse_address(devices[0]), keys.load(key)[0]) as adb:
        adb.check(f"mkdir -p {export.SHARED}")
        for name, data in content.items():
            adb.push(data, f"{export.SHARED}/{name}")
    console.say("Paste into Termux, line by line:", err=True)
    for line in export.commands("libLiteRt.so" in content):
        console.say(line)
    console.say(f"Then: adascale pull {path} --device {devices[0]} --out m.jsonl", err=True)


@click.command(epilog="Example: adascale pull bundle --device 192.168.1.20:5555 --out m.jsonl")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--device", "named", required=True, metavar="PHONE", help="HOST:PORT, usb or usb:SERIAL.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@key_option
@click.option("--clean", is_flag=True, help="Then remove results, plan, bundle and agent from the phone's storage.")
@console.output_options
def pull(path: Path, named: str, out: Path, key: Path | None, clean: bool, quiet: bool, as_json: bool) -> None:
    """Fetch what the agent measured in Termux and append it to a file of measurements, once."""
    from adascale_tf.cli.measuring import show_measurements
    from android_harness import keys, phone_facts, termux
    from android_harness.adb import connect, parse_address
    from profiling import cells

    opened = bundle.load(path)
    with connect(parse_address(named), keys.load(key)[0]) as adb:
        pulled = termux.pull(adb, phone_facts.identity(phone_facts.read(adb)), opened)
        new = termux.new(pulled.measurements, out)
        if new:
            cells.append(out, new)
        if clean and not pulled.unfinished:
            termux.clean(adb)
    if as_json:
        console.emit(pulled.measurements)
    elif not quiet:
        show_measurements(pulled.measurements)
    if pulled.measurements and not new and not quiet:
        console.say(f"All {len(pulled.measurements)} measurements are in {out} already.", err=True)
    if clean and pulled.unfinished:
        console.say("The work in Termux is not finished, so its files stay; pull again when it is.", err=True)
    report(pulled.missing)


def report(problems: Sequence[str]) -> None:
    """Say what was not measured; the command then fails with code 1."""
    if problems:
        raise AdaScaleError(f"{len(problems)} not measured:\n  " + "\n  ".join(problems))


def names(text: str) -> list[str]:
    """The words of a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def counts(text: str) -> list[int]:
    """Numbers of threads: ``1`` or ``1,4``."""
    try:
        found = [int(word) for word in names(text)]
    except ValueError:
        found = []
    if not found or not all(1 <= count <= 64 for count in found):
        raise BadInput(f"'{text}' is not a list of thread counts; write 1, or 1,4.")
    return found


Command = Callable[..., Any]
COMMANDS = (devices, pair, agent, pull)
