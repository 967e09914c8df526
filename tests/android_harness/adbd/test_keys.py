"""Keys, as a phone asks for them: adbkit's authentication in front of AOSP's adbd."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError
from android_harness import keys, store
from android_harness.adb import Address, PhoneGone, connect
from tests.fixtures import adbkit
from tests.fixtures.adb_client import Client
from tests.fixtures.native_phone import NativePhone
from tests.fixtures.profiles import SMALL, Profile

pytestmark = pytest.mark.adbd
Bridge = Callable[..., "AbstractContextManager[tuple[tuple[str, int], Path]]"]


@pytest.fixture(scope="module")
def place() -> Path:
    """Found or fetched before a test enters a network that leads nowhere."""
    return adbkit.installed()


@pytest.fixture()
def bridge(place: Path, phone: NativePhone, client: Client) -> Bridge:
    serial = "{}:{}".format(*phone.address)
    assert f"connected to {serial}" in client("connect", serial).stdout.decode()
    return lambda *words, **more: adbkit.bridge(place, client, serial, *words, **more)


class At:
    """What answers at an address."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address


def asked(log: Path) -> int:
    return log.read_text().count("asked")


def public(key: Path) -> str:
    return Path(f"{key}.pub").read_text()


def test_a_key_is_asked_about_once_and_files_and_profiles_pass(
    bridge: Bridge, key: Path, phone: NativePhone, profile: Profile
) -> None:
    waiting: list[bool] = []
    with bridge() as (address, log):
        for _ in range(2):
            with connect(Address(*address), keys.load(key)[0], waiting=lambda: waiting.append(True)) as adb:
                data = bytes(range(256)) * 3000
                adb.push(data, "/data/local/tmp/x")
                assert adb.pull("/data/local/tmp/x") == data and adb.check("id -u") == "2000"
        assert len(waiting) == 1 and asked(log) == 1
        assert profile.whole(profile(At(address), branches=[SMALL])) and asked(log) == 1
    assert not phone.local(store.FOLDER).exists()


def test_a_known_key_is_let_in_and_another_is_not(bridge: Bridge, key: Path, tmp_path: Path) -> None:
    keys.load(tmp_path / "other")
    with bridge("reject", known=[public(key)]) as (address, log):
        with connect(Address(*address), keys.load(key)[0]) as adb:
            assert adb.check("echo in") == "in" and asked(log) == 0
        with pytest.raises(AdaScaleError, match="refused this computer") as caught:
            connect(Address(*address), keys.load(tmp_path / "other")[0], dialog_s=5)
        assert not isinstance(caught.value, PhoneGone) and asked(log) == 1
        with connect(Address(*address), keys.load(key)[0]) as adb:
            assert adb.check("echo in") == "in"


def test_a_dialog_that_nobody_answers_is_said(bridge: Bridge, key: Path) -> None:
    begun = time.monotonic()
    with bridge("wait") as (address, log):
        with pytest.raises(AdaScaleError, match="waits for its 'Allow USB debugging"):
            connect(Address(*address), keys.load(key)[0], dialog_s=1.0)
        assert asked(log) == 1 and time.monotonic() - begun < 8


def test_a_refused_profile_measures_nothing(bridge: Bridge, profile: Profile, phone: Any) -> None:
    with bridge("reject") as (address, _), pytest.raises(AdaScaleError, match="refused this computer"):
        profile(At(address), branches=[SMALL])
    assert not profile.begun and not profile.out.exists() and not phone.local(store.FOLDER).exists()


def test_the_adb_client_and_the_harness_share_a_key(bridge: Bridge, client: Client, tmp_path: Path) -> None:
    """What the user allowed once with adb counts for the harness, which reads the same file."""
    home = client.home / ".android/adbkey"
    with bridge("reject", known=[public(home)]) as (address, log):
        name = "{}:{}".format(*address)
        client("connect", name)
        assert client("-s", name, "wait-for-device", "shell", "echo in").stdout.split() == [b"in"]
        with connect(Address(*address), keys.load(home)[0]) as adb:
            assert adb.check("echo ours") == "ours"
        assert asked(log) == 0
        client("disconnect", name)
