"""adbd and the network fail while a phone is measured: all is measured, nothing twice, by one agent at a time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError
from android_harness import keys, store, transport
from android_harness.adb import Address, connect
from tests.fixtures.native_phone import NativePhone
from tests.fixtures.profiles import FULL, SMALL, Profile, once

pytestmark = pytest.mark.adbd
#: Blocks of some seconds on plain kernels: long enough for an outage within one.
LONG: dict[str, Any] = {"branches": [FULL], "delegates": ["builtin"], "runs": 3000, "rounds": 3}


def later(seconds: float, act: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def clean(phone: NativePhone) -> bool:
    """Nothing is left on the phone, a moment after the command's end."""
    deadline = time.monotonic() + 10
    while phone.left():
        assert time.monotonic() < deadline, phone.left()
        time.sleep(0.05)
    return not phone.local(store.FOLDER).exists()


# --- adbd


@pytest.mark.parametrize(("what", "away_s"), [("block", 0.0), ("start", 1.5)])
def test_adbd_is_killed_and_starts_again(profile: Profile, phone: NativePhone, what: str, away_s: float) -> None:
    def restart() -> None:
        phone.end()
        later(away_s, phone.begin)

    outcome = profile(phone, once(what, restart, after=1))
    assert profile.whole(outcome, interrupted=1) and clean(phone)


def test_adbd_is_killed_while_files_are_sent(profile: Profile, phone: NativePhone) -> None:
    ended: list[str] = []

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        if stage.startswith("push") and 0 < done < total and note not in ended and len(ended) < 3:
            ended.append(note)
            phone.end()
            phone.begin()

    assert profile.whole(profile(phone, tick)) and len(ended) == 3 and clean(phone)


def test_adbd_is_stopped_for_a_while(profile: Profile, phone: NativePhone) -> None:
    def stop() -> None:
        phone.pause()
        later(4.0, phone.resume)

    begun = time.monotonic()
    outcome = profile(phone, once("block", stop, after=1))
    assert profile.whole(outcome) and time.monotonic() - begun > 4.0 and clean(phone)


# --- the network


def lose(remote: Any, seconds: float) -> Callable[[], None]:
    def act() -> None:
        remote.wire.up = False

        def back() -> None:
            remote.wire.up = True

        later(seconds, back)

    return act


def test_a_short_outage_costs_nothing(profile: Profile, remote: Any) -> None:
    outcome = profile(remote, once("block", lose(remote, 2.0), after=1))
    assert profile.whole(outcome) and clean(remote.phone)


@pytest.fixture()
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes three seconds to find that a phone has left the network, in the place of thirty."""
    monkeypatch.setattr(transport, "KEEPALIVE", {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 2})


@contextmanager
def watched(phone: NativePhone) -> Iterator[list[tuple[float, set[int]]]]:
    """The agents on a phone, looked at all the time."""
    seen: list[tuple[float, set[int]]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.03):
            seen.append((time.monotonic(), phone.agents()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("forgotten", [False, True])
def test_after_an_outage_no_agent_measures_beside_another(
    profile: Profile, remote: Any, impatient: None, forgotten: bool
) -> None:
    """adbd learns of the loss long after the computer, or, where the network has forgotten the connection, never."""
    phone, wire = remote.phone, remote.wire
    before: set[int] = set()
    beside: list[set[int]] = []

    def loss() -> None:
        before.update(phone.agents())
        if forgotten:
            wire.forgotten |= phone.connections()
        lose(remote, 6.5)()

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        lost(stage, done, total, note)
        if before and note.startswith("block"):
            beside.append(phone.agents())

    lost = once("block", loss)
    with watched(phone) as seen:
        outcome = profile(remote, tick, **LONG)
    assert len(before) == 1 and not outcome.failed
    assert beside[1:] and all(len(found) <= 1 and not found & before for found in beside[1:])
    both = [when for when, found in seen if len(found) > 1]
    assert not both or both[-1] - both[0] < 3.0, "the newer one waits for the end of the older"
    assert set.union(*(found for _, found in seen)) > before
    assert set(profile.kept.values()) == {1} and sum(profile.begun.values()) <= len(profile.wanted) + 1
    if forgotten:
        assert wire.forgotten <= phone.connections(), "adbd believes in the first connection to this day"
    assert clean(phone)


def test_a_network_that_does_not_come_back_is_said_and_the_same_command_goes_on(
    profile: Profile, remote: Any, impatient: None
) -> None:
    """Also where an answer of ours is on its way when the network goes: the system then sends no keep-alives."""
    lost: list[float] = []

    def away() -> None:
        lost.append(time.monotonic())
        remote.wire.up = False

    remote.wire.shape(delay_s=0.05)
    with pytest.raises(AdaScaleError, match="What was measured is kept; run the same command again"):
        profile(remote, once("block", away, after=2), patience_s=3)
    assert time.monotonic() - lost[0] < 25, "it is found after seconds, whatever a job may take"
    kept = dict(profile.kept)
    assert kept and set(kept.values()) == {1}
    remote.wire.up = True
    assert profile.whole(profile(remote), interrupted=1) and clean(remote.phone)


BAD: dict[str, Any] = {"bits_per_s": 1e6, "delay_s": 0.1, "loss": 0.05}


def test_files_cross_a_bad_network_whole(remote: Any, key: Path) -> None:
    data = random.Random(2).randbytes(100_000)
    with connect(Address(*remote.address), keys.load(key)[0]) as adb:
        remote.wire.shape(**BAD)
        begun = time.monotonic()
        adb.push(data, "/data/local/tmp/x")
        assert time.monotonic() - begun > 0.8, "the network is bad"
        assert adb.pull("/data/local/tmp/x") == data


def test_a_profile_crosses_a_bad_network(profile: Profile, remote: Any) -> None:
    """The files of a first one are there, as on a phone that was measured before."""
    profile(remote, branches=[SMALL], keep=True)
    profile.begun.clear()
    profile.kept.clear()
    remote.wire.shape(**BAD)
    outcome = profile(remote, branches=[SMALL], out=profile.out.with_name("second.jsonl"))
    assert profile.whole(outcome) and clean(remote.phone)
