"""Slow and broken networks between the harness and a phone: what moves is alive, and what is silent is not."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from android_harness import keys, sync, transport
from android_harness.adb import Adb, Address, PhoneGone, Silent, connect
from android_harness.sync import Pace
from tests.fixtures.adbd import Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.link import Link

MB = 1 << 20
#: 0.3 Mbit/s against a limit of 10 s is the same as these: what takes 28 s there takes one here.
SLOW, SILENCE_S = 1_000_000, 0.35
TARGET = "/data/local/tmp/x"


@pytest.fixture()
def signer(tmp_path: Path) -> Any:
    return keys.load(tmp_path / "adbkey")[0]


@pytest.fixture()
def linked(signer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Adbd, Link, Adb]]:
    """A phone behind a link, and little patience with silence."""
    monkeypatch.setattr(sync, "SILENCE_S", SILENCE_S)
    with (
        emulated(tmp_path / "phone") as (_, adbd),
        Link(adbd.address) as link,
        connect(Address(*link.address), signer) as adb,
    ):
        yield adbd, link, adb


@pytest.mark.parametrize("told", [True, False])
def test_files_cross_a_link_that_is_too_slow_for_whole_messages(
    linked: tuple[Adbd, Link, Adb], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Also where the system does not report how much is still on its way: then messages must be small."""
    _, link, adb = linked
    if not told:
        monkeypatch.setattr(transport, "_queued", lambda sock: 0)
        monkeypatch.setattr(Pace, "FAST_S", SILENCE_S / 10)
        monkeypatch.setattr(Pace, "SLOW_S", SILENCE_S / 2.5)
    data = random.Random(0).randbytes(MB)
    link.bytes_per_s = SLOW
    begun = time.monotonic()
    adb.push(data, TARGET)
    assert time.monotonic() - begun > 2 * SILENCE_S, "the link is slow"
    assert adb.pull(TARGET) == data


def test_a_link_may_become_slow_within_a_large_message(linked: tuple[Adbd, Link, Adb]) -> None:
    _, link, adb = linked
    data = random.Random(1).randbytes(3 * MB)
    adb.push(data, TARGET)
    assert adb._pace.size == MB
    link.bytes_per_s = SLOW
    adb.push(data[: MB + 1], TARGET)
    link.bytes_per_s = None
    assert adb.pull(TARGET) == data[: MB + 1]


def test_a_link_that_is_silent_ends_a_transfer_soon(linked: tuple[Adbd, Link, Adb]) -> None:
    _, link, adb = linked
    link.bytes_per_s = 1000  # nothing for 16 s at a time
    begun = time.monotonic()
    with pytest.raises(PhoneGone, match=r"broke .*no data was accepted for") as caught:
        adb.push(bytes(3 * MB), TARGET)
    assert time.monotonic() - begun < 10 and not isinstance(caught.value, Silent)


def test_a_command_that_says_nothing_on_a_good_link_is_silent(linked: tuple[Adbd, Link, Adb]) -> None:
    with pytest.raises(Silent, match="does not answer"):
        linked[2].shell("sleep 30", timeout_s=0.3)


def test_a_lost_connection_is_no_silence(linked: tuple[Adbd, Link, Adb]) -> None:
    adbd, link, adb = linked
    lines = adb.stream("echo begun; sleep 30", 20)
    assert next(lines) == "begun"
    link.lose()
    with pytest.raises(PhoneGone, match="broke") as caught:
        next(lines)
    assert not isinstance(caught.value, Silent) and len(adbd.connections) == 1, "the phone knows nothing of it"


def test_messages_grow_on_fast_links_and_shrink_on_slow_ones() -> None:
    pace = Pace(MB)
    sizes = []
    for seconds in (0.1, 0.1, 0.1, 2.0, 0.1, 0.1, 0.1, 0.1, *[5.0] * 9):
        sizes.append(pace.size >> 10)
        pace.took(seconds)
    assert sizes == [16, 32, 64, 128, 128, 256, 512, 1024, 1024, 512, 256, 128, 64, 32, 16, 16, 16]
    assert Pace(4096).size == 4096
