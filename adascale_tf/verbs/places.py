"""Where :func:`adascale_tf.profile` measures: on this machine, on phones, or on a fleet of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds that a fleet waits for a phone that went away, where nothing else is asked for: another can do its work.
AWAY_S = 30.0


@dataclass(frozen=True)
class Host:
    """This machine."""

    calibrate: bool = False
    """Measure the micro-kernels and branches that are most useful for predictors, in the place of all branches."""

    contexts: Sequence[str] = ("idle",)
    """``idle``, and real load beside the branches: ``load50`` (percent of the cores), ``memory50`` (of the free
    memory). Measurements under load go to a file of their own beside ``out``."""


@dataclass(frozen=True, kw_only=True)
class OnPhones:
    """How phones are measured, one by one or in a fleet."""

    litert: str | Path | None = None
    """LiteRT for the phone: ``libLiteRt.so``, the Android package (.aar) or a wheel."""

    energy: bool = False
    """Measure energy from the battery."""

    affinity: str | None = None
    """The cores to run on: ``big``, ``little``, or a hexadecimal mask such as ``f0``. Default: as the system likes."""

    cooldown_c: float | None = None
    """Wait until the chip is at or below this temperature, in degrees Celsius."""

    batch_s: float = 4.0
    """Seconds of continuous inference per energy measurement."""

    runner: str = "agent"
    """What measures there: ``agent``, or ``benchmark_model``, Google's own program."""

    python: str = "python3"
    """The phone's Python that runs the agent; the portable one stands in where there is no ``python3``, and is used
    first for ``portable``."""

    binary: str | Path | None = None
    """The file of ``benchmark_model``, where that is the runner."""

    keep: bool = False
    """Leave the files on the phone for the next time."""

    clean: bool = False
    """Remove first what an earlier time left there."""


@dataclass(frozen=True)
class Phone(OnPhones):
    """A phone over adb, or all phones in reach."""

    address: str | None = None
    """``HOST:PORT``, ``usb`` or ``usb:SERIAL``; None: every phone in reach that is ready (:func:`adascale_tf.devices`).
    """

    key: str | Path | None = None
    """The RSA key that the phone knows. Default: adb's own, ``~/.android/adbkey``; made where there is none."""

    patience_s: float = 300.0
    """Seconds to wait for heat, a charger, or the phone when it went away."""


@dataclass(frozen=True)
class Fleet(OnPhones):
    """Many phones at many hosts, through Dask (``pip install 'adascale-tf[fleet]'``)."""

    path: str | Path
    """The file that names hosts and phones, see docs/fleets.md."""

    patience_s: float = 300.0
    """Seconds to wait for heat or a charger."""

    away_s: float = AWAY_S
    """Seconds to wait for a phone that went away, and for any phone of a kind."""


Place = Host | Phone | Fleet

#: The names that callers use: ``on=host()``, ``on=phone("192.168.1.20:5555")``, ``on=fleet("fleet.yaml")``.
host, phone, fleet = Host, Phone, Fleet
