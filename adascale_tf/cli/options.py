"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from adascale_runtime.errors import BadInput
from adascale_runtime.seams import losses
from adascale_runtime.seams.manifest import MAX_LOSS
from adascale_runtime.seams.speed import PRECISE
from adascale_tf.cli import console

bundle_argument = click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
data_option = click.option(
    "--data", "spec", required=True, metavar="SPEC",
    help="'digits', a folder or .zip of train/<class>/* and test/<class>/* (images, wav), or a .npz.",
)  # fmt: skip
budget_option = click.option(
    "--budget", "budget_text", required=True, metavar="BUDGET",
    help="latency_ms=5[,energy_mj, memory_mb, min_accuracy, power_mw, lifetime_h, temperature_c]; others: no limit.",
)  # fmt: skip
max_loss_option = click.option(
    "--max-loss", type=console.Number(0, 100), default=MAX_LOSS, show_default=True, metavar="POINTS",
    help="Mark a branch whose file loses more points of accuracy than this against its own float network. One that "
    f"loses more than {losses.LEFT_OUT:.0f} (or POINTS, if that is more) is left out of the bundle.",
)  # fmt: skip
targets_option = click.option(
    "--for", "targets", default="", metavar="DELEGATES",
    help="Choose precisions, operators and files so that each of these takes all of at least half of the branches: "
    "cpu, gpu, npu, nnapi, comma-separated; a variant such as gpu:classic, too.",
)  # fmt: skip
precise_option = click.option(
    "--precise", type=click.FloatRange(0, 100), default=PRECISE, show_default=True, metavar="PERCENT",
    help="Take more rounds of what is not known this well at usual speed: as many again, more of short runs; 0: never.",
)  # fmt: skip
key_option = click.option(
    "--key", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="RSA key for adb. Default: ~/.android/adbkey, created if missing.",
)  # fmt: skip
litert_option = click.option(
    "--litert", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="LiteRT for the phone: libLiteRt.so, the Android package (.aar) or a wheel. Default: the portable one.",
)  # fmt: skip
device_option = click.option(
    "--device", "devices", multiple=True, metavar="PHONE", help="HOST:PORT, usb or usb:SERIAL; can be repeated."
)
one_device_option = click.option(
    "--device", "address", required=True, metavar="PHONE", help="HOST:PORT, usb or usb:SERIAL."
)
fleet_option = click.option(
    "--fleet", "lab", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FLEET.yaml",
    help="File of hosts and their phones; needs Dask (pip install 'adascale-tf[fleet]').",
)  # fmt: skip


class ListingOption(click.Option):
    """An option whose help names what a registry holds, plug-ins included, when the help is asked for."""

    def __init__(self, *words: Any, listing: Callable[[], str], **more: Any) -> None:
        super().__init__(*words, **more)
        self._listing = listing

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = self._listing()
        return super().get_help_record(ctx)


def list_delegates() -> str:
    """What ``--delegates`` takes."""
    from adascale_runtime.engines import registry

    here, agent, tool = (", ".join(registry.names(runner)) for runner in registry.RUNNERS)
    return f"Comma-separated. This machine: {here}. Phones: {agent}; with --runner benchmark_model: {tool}."


def list_delegates_here() -> str:
    """What ``--delegates`` of a loop on this machine takes."""
    from adascale_runtime.engines import registry

    return f"Delegates that the policy chooses from, comma-separated: {', '.join(registry.names('host'))}."


def list_delegates_of_agents() -> str:
    """What ``--delegates`` of the agent on phones takes."""
    from adascale_runtime.engines import registry

    return f"Comma-separated: {', '.join(registry.names('agent'))}."


def list_policies() -> str:
    """What ``--policy`` of a loop takes."""
    from adascale_runtime.policies import policy, rivals

    live = [name for name in policy.names() if name not in rivals.REPLAY_ONLY]
    return f"One of {', '.join(live)}."


def names(text: str) -> list[str]:
    """The words of a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def counts(text: str) -> list[int]:
    """Numbers of threads: ``1`` or ``1,4``.

    Raises:
        BadInput: It is not a list of numbers from 1 to 64.
    """
    try:
        numbers = [int(word) for word in names(text)]
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number <= 64 for number in numbers):
        raise BadInput(f"'{text}' is not a list of thread counts; write 1, or 1,4.")
    return numbers


def refuse_beside(fleet: Path | None, others: dict[str, Any]) -> None:
    """Refuse, beside a fleet, options that mean something for named phones or for this machine only.

    Args:
        fleet: The fleet's file; None where no fleet is meant, so that nothing is refused.
        others: Each option's name, with its value as it was given; a false one was not given.

    Raises:
        BadInput: Names the first that was given.
    """
    for name, value in others.items():
        if fleet is not None and value:
            raise BadInput(f"--fleet takes its phones and keys from {fleet}; leave {name} out.")
