"""The options ``--fleet`` of profile and devices: many phones at many hosts, through Dask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adascale_runtime.errors import BadInput
from adascale_tf.cli import console

if TYPE_CHECKING:
    from adascale_runtime.progress import Tick
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.records import Measurement
    from android_harness.runner import Options

#: Seconds to wait for a phone that went away, where --patience is not given: another phone can do its work.
AWAY_S = 30.0

fleet_option = click.option(
    "--fleet", "lab", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FLEET.yaml",
    help="Hosts and their phones, through Dask (pip install 'adascale-tf[fleet]').",
)  # fmt: skip


def refuse_beside(fleet: Path | None, others: dict[str, Any]) -> None:
    """Refuse, beside a fleet, options that mean something for named phones or for this machine only."""
    for name, value in others.items():
        if fleet is not None and value:
            raise BadInput(f"--fleet takes its phones and keys from {fleet}; leave {name} out.")


def profile(
    path: Path, opened: Bundle, delegates: Sequence[str], threads: Sequence[int], branches: Sequence[str] | None,
    options: Options, out: Path, keep: bool, clean: bool, tick: Tick,
) -> tuple[list[Measurement], list[str]]:  # fmt: skip
    """Profile on a fleet: what is measured, and a sentence for whatever is missing."""
    from android_harness.fleet import hosts, inventory
    from android_harness.fleet.coordinator import Coordinator, FleetJob

    fleet = inventory.load(path)
    given = click.get_current_context().get_parameter_source("patience") == click.core.ParameterSource.COMMANDLINE
    away_s = options.patience_s if given else AWAY_S
    job = FleetJob(opened, delegates, threads, branches, options, out, away_s, keep, clean)
    with hosts.connect(fleet) as connected:
        result = Coordinator(connected, fleet, job, tick).run()
    for note in result.notes:
        console.say(note, err=True)
    return result.measurements, result.missing


def show_devices(path: Path, quiet: bool, as_json: bool) -> None:
    """Say who answers in a fleet."""
    from adascale_tf.cli import phones
    from android_harness.fleet import census, hosts, inventory

    fleet = inventory.load(path)
    with hosts.connect(fleet) as connected:
        found = census.look(connected, fleet)
    if as_json:
        console.emit(found)
    elif not quiet:
        rows = [(f["host"], *phones.row(f["address"], f["state"], f["facts"])) for f in found]
        console.table(f"Devices of {path}", ("host", *phones.COLUMNS), rows)
        for f in found:
            if f["detail"]:
                console.say(f"{f['host']}: {f['detail']}")
    phones.check_ready([(f"{f['address']} at {f['host']}", f["state"]) for f in found])
