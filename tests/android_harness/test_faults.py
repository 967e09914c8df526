"""What goes wrong on the way to a phone and on it: the profile goes on, or says why it cannot; nothing is lost."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.jobs import Finished, Message
from android_harness import store, strikes
from android_harness.adb import Adb, PhoneGone
from android_harness.harness import Harness
from android_harness.runner import AgentRunner
from tests.fixtures.adbd import Access, Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import Phone
from tests.fixtures.profiles import (
    FULL,
    SMALL,
    Profile,
    cut,
    once,
    slow,
)

# --- the connection breaks


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 15])
def test_cuts_anywhere_in_the_first_push(
    profile: Profile, built: Bundle, pixel: tuple[Phone, Adbd], count: int
) -> None:
    phone, adbd = pixel
    files = store.bundle_files(built)
    everything = adbd.received
    profile(adbd, branches=[SMALL], keep=True, out=profile.out.with_name("whole.jsonl"))
    everything = adbd.received - everything
    chance = random.Random(11)
    cuts = [600, *(chance.randrange(2000, everything) for _ in range(count)), everything - 1500]
    for number, after in enumerate(cuts):
        profile.kept.clear()
        profile.begun.clear()
        adbd.faults.cut_after = after
        out = profile.out.with_name(f"{number}.jsonl")
        outcome = profile(adbd, branches=[SMALL], clean=True, keep=True, out=out)
        assert adbd.faults.cut_after is None, "it was cut"
        assert profile.whole(outcome, interrupted=1) and len(records.read([out])) == 1
        for name, content in files.items():
            assert store.digest(phone.local(f"{store.FOLDER}/{name}")) == store.digest(content), (after, name)


@pytest.mark.parametrize("kind", ["start", slow("process"), slow("block"), slow("energy"), slow("end")])
def test_a_cut_while_measuring(profile: Profile, pixel: tuple[Phone, Adbd], kind: str) -> None:
    phone, adbd = pixel
    outcome = profile(adbd, once(kind, lambda: cut(adbd)), energy=kind == "energy", branches=[SMALL])
    assert profile.whole(outcome, interrupted=1)
    assert not phone.local(store.FOLDER).exists()


@pytest.mark.slow
def test_many_cuts_each_after_some_progress(
    profile: Profile, pixel: tuple[Phone, Adbd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad network is no reason to give up as long as work gets done: here every other fact is the last."""
    run, cuts = AgentRunner.run, []

    def short(*arguments: Any) -> Iterator[Message]:
        facts = 0
        for message in run(*arguments):
            yield message
            facts += isinstance(message, Finished)
            if facts == 2:
                cut(pixel[1])
                cuts.append(message.key)
                raise PhoneGone("cut")

    monkeypatch.setattr(AgentRunner, "run", short)
    assert profile.whole(profile(pixel[1], branches=[SMALL]), interrupted=len(cuts))
    assert len(cuts) == len(profile.wanted) // 2


def journal(profile: Profile, phone: Phone) -> Path:
    return Path(f"{profile.out}.{phone.props['ro.serialno']}.journal")


def test_a_network_that_is_lost_again_and_again_within_a_task(
    profile: Profile, pixel: tuple[Phone, Adbd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cell is not to blame before the connection was lost often; what was done of it waits for the same command."""
    monkeypatch.setattr(strikes, "LOSSES", 3)
    phone, adbd = pixel
    lost: list[str] = []

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        if note.startswith("block") and len(lost) < 3:
            lost.append(note)
            cut(adbd)

    outcome = profile(adbd, tick, branches=[SMALL])
    assert outcome.failed.keys() == outcome.given_up == {f"{SMALL}/cpux1"} and len(lost) == 3
    assert "broke" in outcome.failed[f"{SMALL}/cpux1"] and outcome.failed[f"{SMALL}/cpux1"].endswith("'block', 3 times")
    kept = set(profile.kept)
    assert {kind for kind, _ in kept} == {"process", "start"} and journal(profile, phone).exists()
    lost.clear()
    lost.append("at most twice")
    profile.begun.clear()
    outcome = profile(adbd, tick, branches=[SMALL])
    assert not outcome.failed and not journal(profile, phone).exists()
    assert set(profile.begun) == profile.wanted - kept and all(profile.kept[name] == 1 for name in profile.wanted)


def test_a_cell_that_reboots_the_phone_is_given_up_soon(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    phone, adbd = pixel

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        if note.startswith(f"start {SMALL}"):
            phone.reboot()
            cut(adbd)

    outcome = profile(adbd, tick)
    assert outcome.failed == {f"{SMALL}/cpux1": "the phone rebooted while it did 'start', 2 times"}
    assert [m.branch for m in outcome.measurements] == [FULL]


def test_a_cut_after_few_bytes_received_while_measuring(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    def soon() -> None:
        pixel[1].faults.cut_after = 100

    assert profile.whole(profile(pixel[1], once("start", soon)), interrupted=1)
    assert pixel[1].faults.cut_after is None


def test_a_phone_that_reboots(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    phone, adbd = pixel
    rebooting: list[threading.Thread] = []

    def reboot() -> None:
        rebooting.append(threading.Thread(target=adbd.reboot, args=(0.8,)))
        rebooting[0].start()
        while adbd.connections:
            time.sleep(0.001)
        phone.reboot()

    outcome = profile(adbd, once("block", reboot, after=2))
    rebooting[0].join()
    assert profile.whole(outcome, interrupted=1)


def test_a_phone_that_stays_away_keeps_what_was_measured(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    _, adbd = pixel
    with pytest.raises(
        AdaScaleError, match=r"What was measured is kept; run the same command again to resume\."
    ) as caught:
        profile(adbd, once("block", adbd.stop, after=2), patience_s=1)
    assert not isinstance(caught.value, PhoneGone) and not profile.out.exists()
    kept = set(profile.kept)
    assert len(kept) > 4
    adbd.reboot(0)
    profile.begun.clear()
    outcome = profile(adbd)
    assert set(profile.begun) == profile.wanted - kept and set(profile.kept.values()) <= {1, 2}
    assert not outcome.failed and len(outcome.measurements) == 2
    assert all(profile.kept[name] == 1 for name in profile.wanted)


def test_another_phone_at_the_same_address_is_not_measured(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    phone, adbd = pixel

    def exchange() -> None:
        prop = phone.local("/system/build.prop")
        prop.write_text(prop.read_text().replace(f"ro.serialno={phone.props['ro.serialno']}", "ro.serialno=OTHER"))
        cut(adbd)

    with pytest.raises(AdaScaleError, match=r"is another phone now \(Google Pixel 8 OTHER\)"):
        profile(adbd, once("block", exchange))
    assert not profile.out.exists()


# --- the phone does not do what it should


@pytest.fixture()
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence of more than 1.5 seconds is too much."""
    stream = Adb.stream

    def hurried(adb: Adb, command: str, silence_s: float, timeout_s: float | None = None) -> Iterator[str]:
        return stream(adb, command, min(1.5, silence_s), timeout_s)

    monkeypatch.setattr(Adb, "stream", hurried)


@pytest.mark.parametrize("command", ["/plan.json", slow("sha256sum"), slow("getprop")])
def test_a_shell_that_hangs_once(
    profile: Profile, pixel: tuple[Phone, Adbd], command: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, adbd = pixel
    adbd.faults.hang = command
    hang_up = Harness._hang_up

    def recovered(self: Harness) -> None:
        adbd.faults.hang = None
        hang_up(self)

    monkeypatch.setattr(Harness, "_hang_up", recovered)
    assert profile.whole(profile(adbd, branches=[SMALL]))


def test_a_shell_that_always_hangs_is_given_up(profile: Profile, pixel: tuple[Phone, Adbd], impatient: None) -> None:
    pixel[1].faults.hang = "/plan.json"
    begun = time.monotonic()
    with pytest.raises(AdaScaleError, match=r"cannot be measured: .* does not answer .*Finished work is kept\."):
        profile(pixel[1], branches=[SMALL])
    assert time.monotonic() - begun < 30
    assert not pixel[0].local(store.FOLDER).exists()


def test_full_storage(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    phone, adbd = pixel
    adbd.faults.space = 300_000
    with pytest.raises(AdaScaleError, match=r"rejected the file .*: write failed: No space left on device\."):
        profile(adbd)
    assert not phone.local(store.FOLDER).exists()
    adbd.faults.space = None
    assert profile.whole(profile(adbd))


def test_a_key_that_nobody_allows(profile: Profile, tmp_path: Path) -> None:
    access = Access(keys={(1 << 2047) + 1}, dialog="wait")
    with emulated(tmp_path / "phone", access=access) as (_, adbd):
        notes: list[str] = []
        with pytest.raises(AdaScaleError, match="unlock the phone, allow this computer, and run the command again"):
            profile(adbd, lambda stage, done, total, note="": notes.append(note), patience_s=0.5)
        assert notes == ["the phone asks: 'Allow USB debugging?'"]
        access.dialog = "allow"
        assert profile.whole(profile(adbd, branches=[SMALL]))


# --- what should do no harm


@pytest.mark.parametrize(
    "noise",
    [b"WARNING: linker: unused DT entry\n", b"\xff\xfe\0 no end of line ", slow(b"{\n"), slow(b'{"say": "done"}\r\n')],
)
def test_what_logs_put_into_the_output(profile: Profile, pixel: tuple[Phone, Adbd], noise: bytes) -> None:
    pixel[1].faults.noise = noise
    outcome = profile(pixel[1], branches=[SMALL])
    assert profile.whole(outcome)
    assert outcome.device["model"] == "Pixel 8"
    assert outcome.measurements[0].versions["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize("jump_s", [-86_400.0, slow(86_400.0), slow(1e9)])
def test_a_clock_that_is_set(
    profile: Profile, pixel: tuple[Phone, Adbd], monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """At every look the clock has been set: by so much, and back."""
    real, looks = time.time, [0]

    def jumping() -> float:
        looks[0] += 1
        return real() + jump_s * (looks[0] % 2)

    monkeypatch.setattr(time, "time", jumping)
    outcome = profile(pixel[1], once("block", lambda: cut(pixel[1])))
    assert looks[0] > 0 and profile.whole(outcome, interrupted=1)
