"""A room for the computer and phones behind AOSP's adbd, joined by cables or by a bad network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures import namespaces, real_adbd
from tests.fixtures.adb_client import Client
from tests.fixtures.namespaces import Room
from tests.fixtures.native_phone import PORT, NativePhone, native
from tests.fixtures.wire import Wire

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Remote:
    """A phone at the other end of a bad network."""

    phone: NativePhone
    wire: Wire
    address: tuple[str, int]


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    reason = namespaces.missing()
    if reason is not None:
        pytest.skip(reason)
    real_adbd.get(NativePhone.ABI)  # from the network of this machine, before a test enters its own
    with Room() as found:
        yield found


@pytest.fixture()
def lab(room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Room]:
    """The test, and what it starts, stand in a network that holds its phones only."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with room.inside():
        yield room


@pytest.fixture()
def phone(lab: Room, tmp_path: Path) -> Iterator[NativePhone]:
    """A phone on a good network."""
    number = next(_numbers)
    with native(tmp_path / "phone", f"10.77.{number}.2", update_s=0.15) as made:
        namespaces.cable(
            lab, made.room, (f"10.77.{number}.1/24", f"10.77.{number}.2/24"), (f"good{number}", "good")
        )  # fmt: skip
        yield made


@pytest.fixture()
def remote(lab: Room, phone: NativePhone) -> Iterator[Remote]:
    """The same phone on a network that can become bad."""
    number = next(_numbers)
    addresses = (f"10.78.{number}.1/24", f"10.78.{number}.2/24")
    with Wire(lab, phone.room, addresses, (f"bad{number}", "bad")) as wire:
        yield Remote(phone, wire, (f"10.78.{number}.2", PORT))


@pytest.fixture()
def client(lab: Room, tmp_path: Path) -> Iterator[Client]:
    """Google's adb client with a server in the same network; the test is skipped where it is not installed."""
    reason = Client.missing()
    if reason is not None:
        pytest.skip(reason)
    found = Client(tmp_path)
    assert found("start-server").returncode == 0
    yield found
    found("kill-server")
