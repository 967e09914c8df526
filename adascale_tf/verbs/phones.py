"""``devices`` and ``pair``: which phones are reachable, and pairing them with this computer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_tf.verbs import given
from adascale_tf.verbs.places import Phone
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from android_harness.adb import Address


NONE = "No phone was found; give its address as HOST:PORT, or plug it in."


@dataclass(frozen=True)
class Device:
    """A phone, or an address that should have one."""

    address: str
    """``HOST:PORT``, ``usb`` or ``usb:SERIAL``."""

    state: str
    """``ready``, ``waiting`` (for its dialog "Allow USB debugging?") or ``absent``."""

    detail: str = ""
    """Why it is not ready."""

    facts: dict[str, Any] = field(default_factory=dict)
    """What a ready phone tells: name, chip, Android, ABI, battery, temperature and more."""

    host: str | None = None
    """The host that it is at, for a phone of a fleet."""


@dataclass(frozen=True)
class Devices:
    """The phones that were looked for, in order."""

    devices: tuple[Device, ...]

    @property
    def unusable(self) -> tuple[Device, ...]:
        """Those that cannot be used now."""
        return tuple(device for device in self.devices if device.state != "ready")


@dataclass(frozen=True)
class Paired:
    """A phone that is paired with this computer."""

    address: str
    name: str
    key: Path
    """The file of the key that it knows."""


def devices(
    addresses: Sequence[str] = (), *, key: str | Path | None = None, fleet: str | Path | None = None
) -> Devices:
    """Ask phones who they are.

    Args:
        addresses: Phones to ask. Default: those on cables, emulators on this machine, and those met before.
        key: The RSA key that phones know. Default: adb's own; made where there is none.
        fleet: The file of a fleet whose phones are asked, in the place of ``addresses``.

    Raises:
        BadInput: An address, the key or the fleet's file is wrong.
    """
    if fleet is not None:
        return _of_fleet(Path(fleet))
    from android_harness import discovery, keys
    from android_harness.adb import parse_address

    signer, _ = keys.load(given.path_of(key))
    met = discovery.look(discovery.candidates([parse_address(text) for text in addresses]), signer)
    return Devices(tuple(Device(one.address, one.state, one.detail, one.facts) for one in met))


def _of_fleet(path: Path) -> Devices:
    from android_harness.fleet import census, hosts, inventory

    lab = inventory.load(path)
    with hosts.connect(lab) as connected:
        met = census.look(connected, lab)
    return Devices(tuple(Device(m["address"], m["state"], m["detail"], m["facts"], m["host"]) for m in met))


def pair(
    address: str,
    *,
    key: str | Path | None = None,
    wait_s: float = 60.0,
    say: Say = unsaid,
) -> Paired:
    """Pair a phone with this computer: it asks "Allow USB debugging?" on its screen.

    Args:
        address: ``HOST:PORT``, ``usb`` or ``usb:SERIAL``.
        key: The RSA key. Default: adb's own; made where there is none.
        wait_s: Seconds for somebody to allow it.
        say: Is given a sentence when the key was made, and when the phone asks.

    Raises:
        AdaScaleError: The phone is not there, or nobody allowed it.
    """
    from android_harness import discovery, keys, phone_facts
    from android_harness.adb import connect, parse_address

    parsed = parse_address(address)
    path = given.path_of(key)
    signer, made = keys.load(path)
    path = path or keys.default_path()
    if made:
        say(f"Made a key: {path}")

    def waiting() -> None:
        say("The phone asks 'Allow USB debugging?': unlock it and allow this computer.")

    with connect(parsed, signer, dialog_s=wait_s, waiting=waiting) as adb:
        name = phone_facts.read(adb)["name"]
    discovery.remember(parsed)
    return Paired(str(parsed), name, path)


@dataclass(frozen=True)
class Reached:
    """A phone to measure on, with the address that was chosen and the key's signer."""

    phone: Phone
    address: Address
    signer: Any


@dataclass(frozen=True)
class Chosen:
    """The phones to measure on, each once; ``notes`` say which other ways to them are left out."""

    phones: tuple[Reached, ...]
    notes: tuple[str, ...] = ()


def distinct(called: Sequence[Phone]) -> Chosen:
    """One way to each phone, which a cable and the network may both lead to.

    Phones are told apart by their serial numbers, and the first way to one counts. A phone that was named counts also
    if it is not ready; of all that are in reach, only those that are.

    Raises:
        BadInput: No phone is in reach.
    """
    from android_harness import discovery, keys
    from android_harness.adb import parse_address

    signers = {phone.key: keys.load(given.path_of(phone.key))[0] for phone in called}
    ways: dict[Address, Reached] = {}
    for phone in called:
        if phone.address is not None:
            address = parse_address(phone.address)
            ways.setdefault(address, Reached(phone, address, signers[phone.key]))
    named = set(ways)
    for phone in called:
        if phone.address is None:
            for address in discovery.candidates():
                ways.setdefault(address, Reached(phone, address, signers[phone.key]))
    if not ways:
        raise BadInput(NONE)
    if len(ways) == 1 and all(phone.address is not None for phone in called):
        return Chosen(tuple(ways.values()))
    return _told_apart(list(ways.values()), named)


def _told_apart(ways: Sequence[Reached], named: set[Address]) -> Chosen:
    """One way to each phone, after asking all who they are."""
    from android_harness import discovery

    met = {}
    for key in dict.fromkeys(way.phone.key for way in ways):
        same = [way for way in ways if way.phone.key == key]
        met.update({one.address: one for one in discovery.look([way.address for way in same], same[0].signer)})
    first: dict[str, Reached] = {}
    notes = []
    for way in ways:
        one = met[str(way.address)]
        if one.state != "ready" and way.address not in named:
            continue
        serial = str(one.facts.get("serial") or way.address)
        if serial in first:
            chosen = first[serial].address
            notes.append(
                f"{way.address} is the same phone as {chosen} ({one.facts['name']}); it is measured at {chosen}."
            )
        else:
            first[serial] = way
    if not first:
        raise BadInput(NONE)
    return Chosen(tuple(first.values()), tuple(notes))
