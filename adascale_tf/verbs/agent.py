"""The agent that measures on phones: as a file, or in a phone's storage for Termux."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adascale_tf.verbs import given

if TYPE_CHECKING:
    from adascale_runtime.seams.bundle import Bundle


@dataclass(frozen=True)
class Agent:
    """The agent as a file."""

    out: Path
    """A zipapp that a phone's Python runs."""


@dataclass(frozen=True)
class Prepared:
    """What lies in a phone's storage for Termux."""

    address: str
    commands: tuple[str, ...]
    """The lines to paste into Termux, in this order."""


def agent(out: str | Path) -> Agent:
    """Write the agent, an executable zipapp of standard-library Python.

    Args:
        out: Its file, for example ``agent.pyz``.

    Raises:
        BadInput: The file cannot be written.
    """
    from android_harness import package

    package.write(Path(out))
    return Agent(Path(out))


def termux(
    bundle: Bundle | str | Path,
    address: str,
    *,
    delegates: Sequence[str] = ("cpu",),
    threads: Sequence[int] = (1,),
    runs: int = 50,
    energy: bool = False,
    litert: str | Path | None = None,
    key: str | Path | None = None,
) -> Prepared:
    """Bring a bundle, the agent and its plan to a phone whose adb shell has no Python, for Termux.

    Args:
        bundle: A bundle or its path.
        address: ``HOST:PORT``, ``usb`` or ``usb:SERIAL``.
        delegates: Names of the registry of delegates.
        threads: Numbers of threads.
        runs: Timed runs of each branch, delegate and number of threads.
        energy: Measure energy from the battery.
        litert: LiteRT for the phone: ``libLiteRt.so``, the Android package (.aar) or a wheel.
        key: The RSA key that the phone knows. Default: adb's own.

    Returns:
        What to paste into Termux; :func:`adascale_tf.pull` fetches the results.

    Raises:
        BadInput: The bundle, a delegate or a file is wrong.
        AdaScaleError: The phone is not there.
    """
    from android_harness import keys
    from android_harness import termux as export
    from android_harness.adb import connect, parse_address
    from android_harness.runner import Options, check_delegates
    from profiling import cells

    check_delegates("agent", delegates)
    opened, library = given.bundle_of(bundle), given.path_of(litert)
    options = Options(runs=runs, energy=energy, litert=library)
    chosen = cells.choose(opened, delegates, threads, runs)
    files = export.files(opened, chosen, options, library)
    with connect(parse_address(address), keys.load(given.path_of(key))[0]) as adb:
        adb.check(f"mkdir -p {export.SHARED}")
        for name, content in files.items():
            adb.push(content, f"{export.SHARED}/{name}")
    return Prepared(address, tuple(export.commands("libLiteRt.so" in files)))
