"""Several commands on one phone, and several agents of one command: one measures at a time, and no files are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from android_harness import keys, store
from android_harness.adb import Adb, Address, connect
from android_harness.agent.alone import Owner, Taken
from android_harness.harness import file_name
from tests.fixtures.adbd import Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.link import Link
from tests.fixtures.phones import Phone
from tests.fixtures.profiles import FULL, SCRIPT, SMALL, Profile, once

FIRST, SECOND = Owner("aaaaaaaaaaaa", "process 1 on lab"), Owner("bbbbbbbbbbbb", "process 2 on desk")


def agents(phone: Phone) -> set[int]:
    """The agents that measure on a phone, without the processes that they start."""
    parents: dict[int, int] = {}
    for shell in list(phone._shells):
        try:
            children = psutil.Process(shell).children(recursive=True)
            parents.update({p.pid: p.ppid() for p in children if "bench" in p.cmdline()})
        except psutil.Error:  # one of them ends meanwhile
            continue
    return {pid for pid, parent in parents.items() if parent not in parents}


# --- one command


def test_an_agent_that_outlives_its_connection_measures_beside_no_other(
    profile: Profile, pixel: tuple[Phone, Adbd]
) -> None:
    """The computer notices that the network was lost, the phone does not: its agent goes on."""
    phone, adbd = pixel
    before: set[int] = set()
    beside: list[set[int]] = []

    def lose() -> None:
        before.update(agents(phone))
        link.lose()

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        lost(stage, done, total, note)
        if before and note.startswith("block"):
            beside.append(agents(phone))

    lost = once("block", lose)
    with Link(adbd.address) as link:
        # Blocks last a second on plain kernels, so the first agent would not be done when the second begins.
        chosen = {"branches": [FULL], "delegates": ["builtin"], "runs": 3000, "rounds": 3}
        outcome = profile(link, tick, **chosen)
        assert adbd.connections, "the phone has not noticed that the first connection is lost"
    assert len(before) == 1 and not outcome.failed
    assert beside[1:] and all(len(found) <= 1 and not found & before for found in beside[1:])


# --- several commands


def test_a_second_command_is_told_who_measures_and_the_first_is_whole(
    profile: Profile, pixel: tuple[Phone, Adbd], built: Bundle, key: Path, tmp_path: Path
) -> None:
    phone, adbd = pixel
    out = tmp_path / "first.jsonl"
    words = [built.root, f"127.0.0.1:{adbd.address[1]}", key, out, 400, 4, FULL, SMALL]
    first = subprocess.Popen([sys.executable, "-c", SCRIPT, *map(str, words)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    while not first.stdout.readline().startswith("block"):
        assert first.poll() is None
    with pytest.raises(
        AdaScaleError, match=rf"is being measured by process {first.pid} on .*; wait for its end"
    ) as told:
        profile(adbd, branches=[SMALL])
    assert told.value.exit_code == 1 and not profile.kept and list(tmp_path.glob("m.jsonl*")) == []
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert sorted(m.branch for m in records.read([out])) == sorted([FULL, SMALL])
    assert not phone.local(store.FOLDER).exists()
    assert profile.whole(profile(adbd, branches=[SMALL]))


def test_a_command_that_was_killed_keeps_nobody_out(
    profile: Profile, pixel: tuple[Phone, Adbd], built: Bundle, key: Path, tmp_path: Path
) -> None:
    phone, adbd = pixel
    words = [built.root, f"127.0.0.1:{adbd.address[1]}", key, tmp_path / "first.jsonl", 400, 4, FULL]
    first = subprocess.Popen([sys.executable, "-c", SCRIPT, *map(str, words)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    while not first.stdout.readline().startswith("block"):
        assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    deadline = time.monotonic() + 20
    while agents(phone):  # adbd ends it as soon as it learns that the connection is gone
        assert time.monotonic() < deadline
    assert profile.whole(profile(adbd, branches=[SMALL]))
    assert phone.local(store.FOLDER).exists(), "the killed command may be given again"
    profile.begun.clear()
    profile.kept.clear()
    assert profile.whole(profile(adbd, branches=[SMALL], clean=True, out=tmp_path / "third.jsonl"))
    assert not phone.local(store.FOLDER).exists()


# --- files


@pytest.fixture()
def adb(pixel: tuple[Phone, Adbd], key: Path) -> Iterator[Adb]:
    with connect(Address(*pixel[1].address), keys.load(key)[0]) as found:
        yield found


def names(phone: Phone) -> set[str]:
    folder = phone.local(store.FOLDER)
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


ONE: dict[str, Any] = {"bundle-1/manifest.json": b"1", "bundle-1/a": b"x" * 1000}
TWO: dict[str, Any] = {"bundle-2/manifest.json": b"2"}
AGENT: dict[str, Any] = {"agent-1/agent.pyz": b"3"}


def test_what_another_command_uses_stays(pixel: tuple[Phone, Adbd], adb: Adb) -> None:
    for owner, files in ((FIRST, ONE), (FIRST, AGENT), (SECOND, TWO), (SECOND, AGENT)):
        store.bring(adb, files, owner=owner)
    store.bring(adb, {"left/by somebody": b"4"})
    store.remove(adb, SECOND)
    assert names(pixel[0]) == {f"run-{FIRST.token}", "bundle-1", "agent-1"}
    assert store.bring(adb, ONE, owner=FIRST) == 0
    store.remove(adb, FIRST)
    assert not pixel[0].local(store.FOLDER).exists()
    store.remove(adb, FIRST)


def test_what_is_kept_is_nobodys(pixel: tuple[Phone, Adbd], adb: Adb) -> None:
    store.bring(adb, ONE, owner=FIRST)
    store.release(adb, FIRST)
    assert names(pixel[0]) == {"bundle-1"} and store.bring(adb, ONE) == 0
    store.remove(adb)
    assert names(pixel[0]) == set()


def test_a_claim_ends_after_a_day(pixel: tuple[Phone, Adbd], adb: Adb) -> None:
    store.bring(adb, ONE, owner=FIRST)
    run = pixel[0].local(f"{store.FOLDER}/{store.run_folder(FIRST)}")
    day = time.time() - 86_500
    os.utime(run, (day, day))
    store.bring(adb, ONE, owner=FIRST)
    store.remove(adb, SECOND)
    assert names(pixel[0]) == {run.name, "bundle-1"}, "it was used since"
    os.utime(run, (day, day))
    store.remove(adb, SECOND)
    assert names(pixel[0]) == set()


HOLD = """
import sys, time
from pathlib import Path
from android_harness.agent.alone import Owner, alone
with alone(Owner(sys.argv[2], "process 1 on \\x1b[31mlab"), Path(sys.argv[1])):
    print("holds", flush=True)
    time.sleep(60)
"""


def test_nothing_is_removed_while_somebody_measures(pixel: tuple[Phone, Adbd], adb: Adb) -> None:
    store.bring(adb, ONE, owner=FIRST)
    store.refuse_others(adb, SECOND)
    lock = pixel[0].local(f"{store.FOLDER}/lock")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, lock, FIRST.token], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "holds\n"
    store.refuse_others(adb, FIRST)
    with pytest.raises(Taken, match=rf"measured by process 1 on \\x1b\[31mlab .*process {holder.pid}") as caught:
        store.refuse_others(adb, SECOND)
    assert "\x1b" not in str(caught.value)
    for act in (store.remove, store.clear):
        act(adb, SECOND)
        act(adb)
        assert names(pixel[0]) == {f"run-{FIRST.token}", "bundle-1", "lock"}
    holder.kill()
    holder.communicate()
    store.refuse_others(adb, SECOND)
    store.clear(adb, SECOND)
    assert names(pixel[0]) == set()


def test_a_phone_without_flock_is_shared_as_well_as_can_be(pixel: tuple[Phone, Adbd], adb: Adb) -> None:
    """As before Android 8: only the agent's own lock keeps others out."""
    store.bring(adb, ONE, owner=FIRST)
    lock = pixel[0].local(f"{store.FOLDER}/lock")
    lock.write_text("{}")
    shell = adb.shell

    def lacking(command: str, timeout_s: float = 30.0) -> tuple[int, str]:
        return shell(command.replace("command -v flock", "command -v no-flock"), timeout_s)

    adb.shell = lacking  # type: ignore[method-assign]
    store.refuse_others(adb, SECOND)
    store.remove(adb, SECOND)
    assert names(pixel[0]) == {f"run-{FIRST.token}", "bundle-1", "lock"}
    store.remove(adb, FIRST)
    assert names(pixel[0]) == set()


# --- names


def test_a_command_has_the_same_token_when_it_is_given_again(tmp_path: Path) -> None:
    assert store.owner(tmp_path / "a") == store.owner(tmp_path / "x/../a") != store.owner(tmp_path / "b")
    assert store.owner(tmp_path / "a").who.startswith(f"process {os.getpid()} on ")


def test_long_names_of_phones_are_cut_and_stay_distinct() -> None:
    long = ["x" * 300, "x" * 299 + "y", "電" * 100, "x" * 81]
    found = {file_name(text) for text in long}
    assert len(found) == len(long) and all(len(name.encode()) <= 80 for name in found)
    assert file_name("x" * 80) == "x" * 80


def test_a_serial_of_300_characters_is_no_obstacle(built: Bundle, key: Path, profile: Profile, tmp_path: Path) -> None:
    with emulated(tmp_path / "phone", serial="S" * 300) as (_, adbd):
        outcome = profile(adbd, branches=[SMALL])
    assert not outcome.failed and [m.branch for m in records.read([profile.out])] == [SMALL]
