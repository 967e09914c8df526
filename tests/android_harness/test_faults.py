"""What goes wrong on the way to a phone and on it: the profile goes on, or says why it cannot; nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from adascale_tf import records
from adascale_tf.bundle import Bundle
from adascale_tf.errors import AdaScaleError
from android_harness import harness, keys, store
from android_harness.adb import Adb, Address, PhoneGone
from android_harness.harness import STRIKES, Harness, Outcome, tasks_of
from android_harness.runner import AgentRunner, Message, Options
from profiling import cells
from tests.fixtures.adbd import Access, Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import Phone

FULL, MIDDLE, SMALL = "full", "width0.5", "width0.25-exit1-int8"
QUICK = Options(runs=4, rounds=2, patience_s=20, idle_s=0.6, batch_s=1.2)
Tick = Callable[..., None]


def slow(value: Any) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "adbkey"
    keys.load(path)
    return path


@pytest.fixture()
def pixel(tmp_path: Path) -> Iterator[tuple[Phone, Adbd]]:
    with emulated(tmp_path / "phone", update_s=0.15) as found:
        yield found


class Profile:
    """Profiles with what they did: how often each task was begun, and each fact kept."""

    def __init__(self, bundle: Bundle, key: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle, self.key, self.out = bundle, key, out
        self.begun: Counter[tuple[str, str]] = Counter()
        self.kept: Counter[tuple[str, str]] = Counter()
        self.wanted: set[tuple[str, str]] = set()
        run, add = AgentRunner.run, harness.Journal.add

        def counted_run(*arguments: Any) -> Iterator[Message]:
            for message in run(*arguments):
                if message["say"] == "begin":
                    self.begun[message["kind"], message["key"]] += 1
                yield message

        def counted_add(journal: Any, kind: str, name: str, value: Any) -> None:
            self.kept[kind, name] += 1
            add(journal, kind, name, value)

        monkeypatch.setattr(AgentRunner, "run", counted_run)
        monkeypatch.setattr(harness.Journal, "add", counted_add)

    def __call__(self, adbd: Adbd, tick: Tick = lambda *_: None, **changes: Any) -> Outcome:
        branches = changes.pop("branches", [FULL, SMALL])
        more = {name: changes.pop(name) for name in ("keep", "clean") if name in changes}
        out = changes.pop("out", self.out)
        options = dataclasses.replace(QUICK, **changes)
        chosen = cells.choose(self.bundle, ["cpu"], [1], options.runs, branches)
        self.wanted = {(task.kind, task.key) for task in tasks_of(chosen, options)}
        signer = keys.load(self.key)[0]
        return Harness(self.bundle, Address(*adbd.address), options, out, signer, tick).profile(
            ["cpu"], [1], branches, **more
        )

    def whole(self, outcome: Outcome, interrupted: int = 0) -> bool:
        """All is measured, each fact was kept once, and no more than ``interrupted`` tasks were begun again."""
        kept = {name: count for name, count in self.kept.items() if name in self.wanted}
        assert not outcome.failed and set(kept) == self.wanted
        assert set(kept.values()) == {1}
        assert set(self.begun) == self.wanted and sum(self.begun.values()) <= len(self.wanted) + interrupted
        return all(len(m.latency_ms) == QUICK.runs and m.rounds == QUICK.rounds for m in outcome.measurements)


@pytest.fixture()
def profile(built: Bundle, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    return Profile(built, key, tmp_path / "m.jsonl", monkeypatch)


def once(what: str, act: Callable[[], None], after: int = 0) -> Tick:
    """A tick that acts when a task of this kind or name begins for the first time, or the time after so many."""
    left = [after + 1]

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        if note.startswith(what):
            left[0] -= 1
            if left[0] == 0:
                act()

    return tick


def cut(adbd: Adbd) -> None:
    for connection in list(adbd.connections):
        connection.cut()


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
            facts += message["say"] == "fact"
            if facts == 2:
                cut(pixel[1])
                cuts.append(message["key"])
                raise PhoneGone("cut")

    monkeypatch.setattr(AgentRunner, "run", short)
    assert profile.whole(profile(pixel[1], branches=[SMALL]), interrupted=len(cuts))
    assert len(cuts) == len(profile.wanted) // 2


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
    with pytest.raises(AdaScaleError, match=r"What was measured is kept; the same command continues\.") as caught:
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


@pytest.mark.parametrize("command", ["bench plan.json", slow("sha256sum"), slow("getprop")])
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
    pixel[1].faults.hang = "bench plan.json"
    begun = time.monotonic()
    with pytest.raises(
        AdaScaleError, match=r"cannot be measured: .* does not answer .*Nothing that was done is lost\."
    ):
        profile(pixel[1], branches=[SMALL])
    assert time.monotonic() - begun < 30
    assert not pixel[0].local(store.FOLDER).exists()


def test_full_storage(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    phone, adbd = pixel
    adbd.faults.space = 300_000
    with pytest.raises(AdaScaleError, match=r"did not take .*: write failed: No space left on device\."):
        profile(adbd)
    assert not phone.local(store.FOLDER).exists()
    adbd.faults.space = None
    assert profile.whole(profile(adbd))


def test_a_key_that_nobody_allows(profile: Profile, tmp_path: Path) -> None:
    access = Access(keys={(1 << 2047) + 1}, dialog="wait")
    with emulated(tmp_path / "phone", access=access) as (_, adbd):
        notes: list[str] = []
        with pytest.raises(AdaScaleError, match="unlock the phone, allow this computer, and give the command again"):
            profile(adbd, lambda stage, done, total, note="": notes.append(note), patience_s=0.5)
        assert notes == ["the phone asks: 'Allow USB debugging?'"]
        access.dialog = "allow"
        assert profile.whole(profile(adbd, branches=[SMALL]))


# --- crashes


def python_processes(phone: Phone) -> list[psutil.Process]:
    """The agent that works now, then the process in which it lets work be done, if there is one."""
    for shell in list(phone._shells):
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(shell).children(recursive=True)
            found = [p for p in below if "bench" in p.cmdline()]
            if found:
                return found
    return []


def kill(phone: Phone, index: int, number: signal.Signals) -> Callable[[], None]:
    """Kill the agent (0) or its worker (1), as soon as there is one."""

    def act() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = python_processes(phone)
            if len(found) > index:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[index].send_signal(number)
                    return
        raise AssertionError("nothing to kill")

    return act


@pytest.mark.parametrize("kind", ["block", slow("process"), slow("start"), slow("energy")])
def test_a_delegate_that_crashes_fails_its_cell_alone(profile: Profile, pixel: tuple[Phone, Adbd], kind: str) -> None:
    branches = [MIDDLE, SMALL]
    name = f"{MIDDLE}/cpux1"
    tick = once(f"{kind} {name}", kill(pixel[0], 1, signal.SIGSEGV))
    # The work must last until it is found: a block of many runs takes up to a second.
    runs = 4000 if kind == "block" else 4
    outcome = profile(pixel[1], tick, branches=branches, energy=kind == "energy", runs=runs, rounds=1)
    assert outcome.failed == {name: "its process was killed by SIGSEGV"}
    assert {m.branch for m in outcome.measurements} == set(branches) - {MIDDLE}
    again = profile(pixel[1], branches=[MIDDLE])
    assert not again.failed and again.measurements[0].branch == MIDDLE


@pytest.mark.parametrize("kind", ["block", slow("process"), slow("end")])
def test_an_agent_that_is_killed_goes_on(profile: Profile, pixel: tuple[Phone, Adbd], kind: str) -> None:
    outcome = profile(pixel[1], once(kind, kill(pixel[0], 0, signal.SIGKILL), after=1))
    assert profile.whole(outcome, interrupted=1)


@pytest.mark.slow
def test_an_agent_that_always_dies_of_one_cell(profile: Profile, pixel: tuple[Phone, Adbd]) -> None:
    strike = kill(pixel[0], 0, signal.SIGKILL)

    def tick(stage: str, done: int, total: int, note: str = "") -> None:
        if note.startswith(f"start {MIDDLE}/"):
            strike()

    outcome = profile(pixel[1], tick, branches=[FULL, MIDDLE, SMALL])
    assert outcome.failed == {f"{MIDDLE}/cpux1": f"the runner on the phone died while it did 'start', {STRIKES} times"}
    assert [m.branch for m in outcome.measurements] == [FULL, SMALL]
    assert profile.begun["start", f"{MIDDLE}/cpux1"] == STRIKES


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


# --- the harness itself is killed

SCRIPT = """
import sys
from pathlib import Path
from adascale_tf import bundle
from android_harness import keys
from android_harness.adb import Address
from android_harness.harness import Harness
from android_harness.runner import AgentRunner, Options

root, port, key, out, runs, rounds, *branches = sys.argv[1:]
run = AgentRunner.run

def told(*arguments):
    for message in run(*arguments):
        if message["say"] == "begin":
            print(message["kind"], message["key"], flush=True)
        yield message

AgentRunner.run = told
harness = Harness(
    bundle.load(root), Address("127.0.0.1", int(port)), Options(runs=int(runs), rounds=int(rounds), patience_s=20),
    Path(out), keys.load(Path(key))[0],
)
sys.exit(bool(harness.profile(["cpu"], [1], branches).failed))
"""


def journal_facts(journal: Path) -> dict[tuple[str, str], Any]:
    """The facts in a journal; the last line may be cut off."""
    if not journal.exists():
        return {}
    lines = [json.loads(line) for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {(line["kind"], line["key"]): line["value"] for line in lines[1:]}


@pytest.mark.parametrize(
    ("seed", "most", "branches"),
    [
        pytest.param(1, 8, [FULL, SMALL], marks=pytest.mark.slow),
        pytest.param(2, 4, [FULL, MIDDLE, SMALL], marks=pytest.mark.slow),
        pytest.param(3, 3, [FULL, MIDDLE, SMALL], marks=pytest.mark.slow),
    ],
)
def test_a_harness_that_is_killed_again_and_again(
    built: Bundle, key: Path, tmp_path: Path, pixel: tuple[Phone, Adbd], seed: int, most: int, branches: list[str]
) -> None:
    phone, adbd = pixel
    out, runs, rounds = tmp_path / "m.jsonl", 10, 5
    journal = Path(f"{out}.{phone.props['ro.serialno']}.journal")
    words = [built.root, adbd.address[1], key, out, runs, rounds, *branches]
    chance, kills = random.Random(seed), 0
    seen: dict[tuple[str, str], Any] = {}
    while True:
        known = journal_facts(journal)
        assert set(known) >= set(seen)
        seen = known
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, words)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        more, deadline = chance.randint(1, most), time.monotonic() + 60
        while child.poll() is None and len(journal_facts(journal)) < len(known) + more:
            assert time.monotonic() < deadline
            time.sleep(0.001 * chance.random())
        child.kill()
        told, _ = child.communicate()
        begun = [tuple(line.split(" ", 1)) for line in told.splitlines()]
        assert len(begun) == len(set(begun)) and not set(begun) & set(known)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        kills += 1
    assert kills >= 2 and not journal.exists()
    measured = {m.branch: m for m in records.read([out])}
    assert sorted(measured) == sorted(branches)
    assert all(len(m.latency_ms) == runs and m.rounds == rounds for m in measured.values())
    for (kind, name), value in seen.items():
        if kind == "block":
            branch = measured[name.split("/")[0]]
            assert set(value["latency_ms"]) <= set(branch.latency_ms)
