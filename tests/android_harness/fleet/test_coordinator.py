"""Fleets of emulated phones behind Dask workers: whoever dies meanwhile, every cell is measured and written once."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from adascale_runtime.files import codec
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from android_harness import keys, store
from android_harness.fleet.census import look
from android_harness.fleet.coordinator import Coordinator, FleetJob, Result
from android_harness.fleet.hosts import connect
from android_harness.fleet.ledger import kind_of
from android_harness.runner import Options
from tests.fixtures.shelf import Unit, inventory, scheduler, shelf, wait_for

QUICK = Options(runs=4, rounds=2)
PIXEL, XIAOMI = "Google Pixel 8, Android 14, x86_64", "Xiaomi 2211133G, Android 13, x86_64"
HOSTS = ("lab-a", "lab-b")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "adbkey"
    keys.load(path)
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers, whose caches are their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        with scheduler(HOSTS, 4) as address:
            yield address


@dataclasses.dataclass
class Fleet:
    """Runs jobs on hosts with phones, and checks what came of them."""

    built: Bundle
    key: Path
    lab: str
    out: Path

    def run(
        self, hosts: Mapping[str, Sequence[Unit]], tick: Callable[..., None] = lambda *_: None, count: int = 3,
        delegates: Sequence[str] = ("cpu",), share: str = "model", keep: bool = False,
        away_s: float = 2.0, **options: Any,
    ) -> Result:  # fmt: skip
        fleet = inventory(hosts, self.key, scheduler=self.lab, share=share, cells_per_lease=2)
        branches = [branch.id for branch in self.built.manifest.branches[:count]]
        job = FleetJob(
            self.built, delegates, [1], branches, dataclasses.replace(QUICK, **options), self.out, away_s, keep
        )
        with connect(fleet) as connected:
            return Coordinator(connected, fleet, job, tick).run()

    def whole(
        self, result: Result, kinds: Sequence[str], count: int = 3, delegates: Sequence[str] = ("cpu",),
        share: str = "model",
    ) -> Counter[str]:  # fmt: skip
        """The output holds every cell of every kind exactly once; gives how many each phone measured."""
        assert result.missing == []
        lines = list(codec.read_lines(self.out))
        found = Counter((kind_of(m["device"], share), m["branch"], m["delegate"]) for m in lines)
        wanted = {(k, b.id, d) for k in kinds for b in self.built.manifest.branches[:count] for d in delegates}
        assert set(found) == wanted and set(found.values()) == {1}
        assert {(m.branch, m.device["name"]) for m in result.measurements} == {
            (m["branch"], m["device"]["name"]) for m in lines
        }
        for m in records.read([self.out]):
            assert len(m.latency_ms) == QUICK.runs and m.rounds == QUICK.rounds
            assert str(m.device["name"]).endswith(str(m.device["serial"]))
        assert [p.name for p in self.out.parent.glob(f"{self.out.name}*")] == [self.out.name]
        return Counter(str(m["device"]["serial"]) for m in lines)


@pytest.fixture()
def fleet(built: Bundle, key: Path, lab: str, tmp_path: Path) -> Fleet:
    return Fleet(built, key, lab, tmp_path / "m.jsonl")


def when_busy(unit: Unit, act: Callable[[], None]) -> threading.Thread:
    """Do something in the middle of a phone's first lease."""

    def wait() -> None:
        wait_for(lambda: unit.busy, 60)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_phone_that_dies_midway(fleet: Fleet, tmp_path: Path) -> None:
    """The acceptance: four phones on two workers, one dies in the middle of a lease; nothing lost, nothing twice."""
    with shelf(tmp_path, {"P1": "pixel", "P2": "pixel", "X1": "xiaomi", "X2": "xiaomi"}) as units:
        p1, p2, x1, x2 = units.values()
        dying = when_busy(p2, p2.die)
        told: list[tuple[int, int]] = []
        result = fleet.run(
            {"lab-a": [p1, x1], "lab-b": [p2, x2]}, lambda what, done, total, note: told.append((done, total)), 6,
            ["cpu", "builtin"],
        )  # fmt: skip
        dying.join(1)
        assert not dying.is_alive()
        by_phone = fleet.whole(result, [PIXEL, XIAOMI], 6, ["cpu", "builtin"])
        assert by_phone["P1"] + by_phone["P2"] == 12 == by_phone["X1"] + by_phone["X2"]
        assert min(by_phone["P1"], by_phone["X1"], by_phone["X2"]) > 0
        assert len(result.notes) == 1 and result.notes[0].startswith("Google Pixel 8 P2 at lab-b: No phone answers")
        assert told == sorted(told) and told[-1] == (24, 24)
        for unit in (p1, x1, x2):
            assert not unit.phone.local(store.FOLDER).exists()


@pytest.mark.slow
def test_a_host_that_is_killed_midway(fleet: Fleet, lab: str, tmp_path: Path) -> None:
    with shelf(tmp_path, {"P1": "pixel", "P2": "pixel", "X1": "xiaomi"}) as units:
        p1, p2, x1 = units.values()

        def kill() -> None:
            import distributed

            with distributed.Client(lab, set_as_default=False) as client:
                names = {worker["name"]: address for address, worker in client.scheduler_info()["workers"].items()}
                os.kill(client.run(os.getpid, workers=[names["lab-b"]])[names["lab-b"]], signal.SIGKILL)

        dying = when_busy(x1, kill)
        result = fleet.run({"lab-a": [p1], "lab-b": [p2, x1]}, count=5, away_s=20.0)
        assert not dying.is_alive()
        by_phone = fleet.whole(result, [PIXEL, XIAOMI], 5)
        assert by_phone["X1"] == 5, "the only one of its kind went on when its host was back"


def test_when_all_phones_of_a_kind_die_the_same_command_continues(fleet: Fleet, tmp_path: Path) -> None:
    with shelf(tmp_path, {"P1": "pixel"}) as units:
        (p1,) = units.values()
        hosts = {"lab-a": [p1]}

        def tick(what: str, done: int, total: int, note: str = "") -> None:
            if done:
                p1.die()

        result = fleet.run(hosts, tick)
        assert len(result.measurements) == 2
        assert result.missing == [
            f"{PIXEL}: 1 of 3 cells wait for a phone (Google Pixel 8 P1: No phone answers at {p1.address} (Connection "
            "refused); is it on, in this network, and was 'adb tcpip "
            f"{p1.address.split(':')[1]}' given over a cable?)."
        ]
        text = fleet.out.read_text()
        p1.revive()
        fleet.whole(fleet.run(hosts), [PIXEL])
        assert fleet.out.read_text().startswith(text)
        again = fleet.out.read_text()
        fleet.whole(fleet.run(hosts), [PIXEL])
        assert fleet.out.read_text() == again


@pytest.mark.slow
def test_phones_that_share_nothing_each_measure_all(fleet: Fleet, tmp_path: Path) -> None:
    with shelf(tmp_path, {"P1": "pixel", "P2": "pixel", "P3": "pixel"}) as units:
        p1, p2, p3 = units.values()
        p3.die()  # and comes later
        dying = when_busy(p2, lambda: (p2.die(), p2.revive(), p3.revive()))  # type: ignore[arg-type, return-value]
        result = fleet.run({"lab-a": [p1, p3], "lab-b": [p2]}, share="none", away_s=6.0)
        assert not dying.is_alive()
        by_phone = fleet.whole(result, [f"Google Pixel 8 {n}" for n in units], share="none")
        assert by_phone == {"P1": 3, "P2": 3, "P3": 3}


def test_a_phone_that_lacks_what_is_needed_leaves_the_work_to_others(fleet: Fleet, tmp_path: Path) -> None:
    with shelf(tmp_path, {"P1": "pixel", "P2": "pixel"}) as units:
        p1, p2 = units.values()
        python = p1.phone.local("/data/local/tmp/python")
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        result = fleet.run({"lab-a": [p2], "lab-b": [p1]}, python="/data/local/tmp/python")
        assert fleet.whole(result, [PIXEL]) == {"P1": 3}
        assert "P2 at lab-a" in result.notes[0] and "of version 3.8 or later" in result.notes[0]
        python.unlink()
        fleet.out.unlink()
        result = fleet.run({"lab-a": [p2], "lab-b": [p1]}, python="/data/local/tmp/python")
        (line,) = result.missing
        assert result.measurements == [] and "3 of 3 cells wait" in line and "P1: " in line and "P2: " in line


def test_a_delegate_that_no_phone_has_is_given_up_with_its_reason(fleet: Fleet, tmp_path: Path) -> None:
    with shelf(tmp_path, {"P1": "pixel", "X1": "xiaomi"}) as units:
        p1, x1 = units.values()
        result = fleet.run({"lab-a": [p1], "lab-b": [x1]}, count=1, delegates=["npx", "cpu"])
        full = fleet.built.manifest.branches[0].id
        assert [line.split(": ")[0] for line in result.missing] == [f"{k}, {full}/npxx1" for k in (PIXEL, XIAOMI)]
        assert all("has no delegate npx" in line for line in result.missing)
        assert {(m.delegate, m.device["serial"]) for m in result.measurements} == {("cpu", "P1"), ("cpu", "X1")}


def test_a_fleet_of_which_nobody_answers(fleet: Fleet, tmp_path: Path) -> None:
    with shelf(tmp_path, {"P1": "pixel"}) as units:
        (p1,) = units.values()
        p1.die()
        result = fleet.run({"lab-a": [p1], "lab-z": [p1]})
    assert result.measurements == [] and len(result.missing) == 2 and not fleet.out.exists()
    assert result.missing[0].startswith(f"{p1.address} at lab-a: No phone answers")
    assert (
        result.missing[1]
        == f"{p1.address} at lab-z: no Dask worker named 'lab-z' is there; start one with --name lab-z."
    )


@pytest.fixture()
def worker(lab: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a worker as a tester does, without a nanny that would bring it back."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, **environment: str) -> subprocess.Popen[bytes]:
        words = [lab, "--name", name, "--nworkers", "1", "--nthreads", "3", "--no-nanny", "--no-dashboard"]
        words += ["--host", "127.0.0.1", "--local-directory", str(tmp_path / "dask")]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", *words], stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_phone_that_two_hosts_reach_is_used_by_one_and_then_by_the_other(
    fleet: Fleet, worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    workers = [worker(name, XDG_CACHE_HOME=str(tmp_path / "cache")) for name in ("lab-c", "lab-d")]
    with shelf(tmp_path, {"P1": "pixel"}) as units:
        (p1,) = units.values()
        users: list[subprocess.Popen[bytes]] = []

        def kill() -> None:
            port = p1.adbd.address[1]
            users.extend(
                w
                for w in workers
                if any(c.raddr and c.raddr.port == port for c in psutil.Process(w.pid).net_connections())
            )
            users[0].kill()

        dying = when_busy(p1, kill)
        result = fleet.run({"lab-c": [p1], "lab-d": [p1]}, count=5, away_s=8.0)
        dying.join(1)
        assert len(users) == 1 and fleet.whole(result, [PIXEL], 5) == {"P1": 5}
        assert result.notes == []  # it is here


def test_a_host_that_cannot_keep_files_says_so(
    fleet: Fleet, worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    worker("lab-d", XDG_CACHE_HOME=str(tmp_path / "file"))
    with shelf(tmp_path, {"P1": "pixel"}) as units:
        result = fleet.run({"lab-d": list(units.values())}, away_s=4.0)
    assert len(result.missing) == 1 and "NotADirectoryError on lab-d" in result.missing[0]


def test_who_answers_in_a_fleet(fleet: Fleet, key: Path, lab: str, tmp_path: Path) -> None:
    with shelf(tmp_path, {"P1": "pixel", "X1": "xiaomi"}) as units:
        p1, x1 = units.values()
        x1.die()
        there = inventory({"lab-a": [p1, x1], "lab-z": [p1]}, key, scheduler=lab)
        with connect(there) as connected:
            found = look(connected, there)
    assert [(f["host"], f["address"], f["state"]) for f in found] == [
        ("lab-a", p1.address, "ready"), ("lab-a", x1.address, "absent"), ("lab-z", p1.address, "absent"),
    ]  # fmt: skip
    assert found[0]["facts"]["serial"] == "P1" and "--name lab-z" in found[2]["detail"]
