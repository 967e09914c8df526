"""Discovery of phones: named ones, remembered ones, emulators on this machine, and those on USB."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from android_harness import phone_facts, pythons
from android_harness.adb import Address, PhoneGone, connect, parse_address

#: Ports on which Android's emulators listen for adb: odd ones, two for each emulator.
LOCAL_PORTS = range(5555, 5587, 2)
#: How long a listing waits for a phone that asks whether to allow this computer.
DIALOG_S = 3.0


@dataclass(frozen=True)
class Found:
    """A phone, or an address that should have one: ``state`` is ready, waiting (for its dialog) or absent."""

    address: str
    state: str
    detail: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def memory_path() -> Path:
    """Where addresses of phones are remembered: ``$XDG_CONFIG_HOME/adascale/phones.json``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "adascale" / "phones.json"


def remembered() -> list[Address]:
    """The phones that were connected to before; a damaged file is as good as none."""
    try:
        data = codec.read_json(memory_path())
        return [parse_address(str(text)) for text in data]
    except (BadInput, TypeError):
        return []


def remember(address: Address) -> None:
    """Keep a phone's address for the next listing."""
    known = [str(a) for a in remembered()]
    if str(address) not in known:
        codec.write_text(memory_path(), codec.dump([*known, str(address)]))


def candidates(named: Sequence[Address] = ()) -> list[Address]:
    """Where to look: at the named phones only, if there are any."""
    if named:
        return list(dict.fromkeys(named))
    local = [Address("127.0.0.1", port) for port in LOCAL_PORTS if _listens(port)]
    return list(dict.fromkeys([*_usb(), *remembered(), *local]))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _usb() -> list[Address]:
    """Phones on cables; none where libusb is not installed."""
    try:
        from adb_shell.transport.usb_transport import UsbTransport

        return [Address(None, serial=device.serial_number) for device in UsbTransport.find_all_adb_devices(1000)]
    except Exception:  # without libusb, or without the right to use it, in ways that differ from system to system
        return []


def look(addresses: Sequence[Address], signer: Any, timeout_s: float = 5.0) -> list[Found]:
    """Ask all at once who they are."""

    def one(address: Address) -> Found:
        try:
            with connect(address, signer, timeout_s, DIALOG_S) as adb:
                facts = phone_facts.read(adb)
                facts["python"] = pythons.described(adb, facts)
                remember(address) if address.host not in (None, "127.0.0.1") else None
                return Found(str(address), "ready", facts=facts)
        except PhoneGone as error:
            return Found(str(address), "absent", str(error))
        except AdaScaleError as error:
            return Found(str(address), "waiting", str(error))

    with ThreadPoolExecutor(max_workers=max(1, min(16, len(addresses)))) as pool:
        return list(pool.map(one, addresses))
