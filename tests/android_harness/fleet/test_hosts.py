"""Hosts as named Dask workers: real ones, processes of this machine."""

from __future__ import annotations

import json
import operator
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from adascale_runtime.errors import AdaScaleError, BadInput
from android_harness.fleet import hosts
from android_harness.fleet.hosts import Came, Event, Hosts, Went, connect, watched
from android_harness.fleet.inventory import Host, Inventory
from tests.fixtures.shelf import answer, count, until, wait_for

LAB = Inventory((Host("lab-a", ("phone:1", "phone:2")), Host("lab-b", ("phone:3",))))


@pytest.fixture(scope="module")
def lab() -> Iterator[Hosts]:
    with connect(LAB) as connected:
        until(connected, lambda event: event == Came("lab-b"))
        yield connected


def pid(lab: Hosts, host: str) -> int:
    return int(answer(lab, lab.submit(host, os.getpid)).value)


def test_a_host_is_a_process_of_its_own(lab: Hosts) -> None:
    pids = {host: pid(lab, host) for host in ("lab-a", "lab-b")}
    assert len({os.getpid(), *pids.values()}) == 3
    assert pids == {host: pid(lab, host) for host in pids}


def test_a_host_does_as_much_at_once_as_it_has_phones(lab: Hosts, tmp_path: Path) -> None:
    """Each waits until the other has begun."""
    files = [str(tmp_path / name) for name in "ab"]
    tickets = [lab.submit("lab-a", watched, count, file) for file in files]
    wait_for(lambda: all(Path(file).exists() for file in files))
    lab._client.cancel([lab._calls[ticket].future for ticket in tickets], force=True)
    dropped: list[Event] = []
    while len(dropped) < 2:
        dropped += until(lab, lambda event: True)
    assert {getattr(e, "error", None) for e in dropped} == {"the scheduler dropped what lab-a did"}
    wait_for(lambda: all(Path(file).read_text().endswith("!") for file in files))


def test_what_a_function_raises_is_told_in_words(lab: Hosts) -> None:
    assert (
        answer(lab, lab.submit("lab-b", operator.truediv, 1, 0)).error == "ZeroDivisionError on lab-b: division by zero"
    )


def test_data_arrive(lab: Hosts) -> None:
    data = os.urandom(3_000_000)
    assert answer(lab, lab.submit("lab-b", bytes.count, data=data and b"0" * 5)).error is not None
    assert answer(lab, lab.submit("lab-b", operator.concat, b"<", data=data)).value == b"<" + data


def test_nothing_happens_in_time(lab: Hosts) -> None:
    assert lab.wait(0.0) == [] and lab.wait(0.1) == []


def listening(process: psutil.Process) -> list[Any]:
    """The addresses that a process listens on."""
    connections = getattr(process, "net_connections", None) or process.connections  # psutil 5 calls it so
    return [c.laddr for c in connections() if c.status == psutil.CONN_LISTEN]


def test_only_this_machine_can_reach_a_local_cluster(lab: Hosts) -> None:
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        assert {address.ip for address in listening(process)} <= {"127.0.0.1"}
    ports = [address.port for address in listening(me)]
    assert 8786 not in ports and 8787 not in ports


def test_a_process_that_is_killed_takes_its_calls_with_it_and_comes_back(lab: Hosts) -> None:
    killed = pid(lab, "lab-a")
    lost = [lab.submit("lab-a", time.sleep, 600) for _ in range(2)]
    other = lab.submit("lab-b", time.sleep, 0.1)
    os.kill(killed, signal.SIGKILL)
    events = until(lab, lambda event: event == Came("lab-a"))
    assert [e for e in events if isinstance(e, Went)] == [Went("lab-a", tuple(lost))]
    assert events.index(Went("lab-a", tuple(lost))) < events.index(Came("lab-a"))
    assert pid(lab, "lab-a") != killed
    assert other not in lab._calls or answer(lab, other).error is None


def test_data_for_a_process_that_is_gone_are_an_error_of_their_task(
    lab: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "ANSWER_S", 1.0)
    os.kill(pid(lab, "lab-b"), signal.SIGKILL)
    wait_for(lambda: len(lab._client.nthreads()) < 2)
    ticket = lab.submit("lab-b", operator.concat, b"<", data=b"0")
    events = until(lab, lambda event: event == Came("lab-b"))
    told = [e for e in events if getattr(e, "ticket", "") == ticket]
    assert told[0].error.startswith("lab-b did not take 1 bytes") if told else ticket in events[0].tickets  # type: ignore[union-attr]


def test_when_the_coordinator_goes_hosts_stop_what_nobody_waits_for(lab: Hosts, tmp_path: Path) -> None:
    file = tmp_path / "count"
    there = Inventory(LAB.hosts, scheduler=str(lab._client.scheduler.address))
    with connect(there) as second:
        until(second, lambda event: event == Came("lab-a"))
        second.submit("lab-a", watched, count, str(file))
        wait_for(file.exists)
        time.sleep(0.2)
        assert not file.read_text().endswith("!")
    wait_for(lambda: file.read_text().endswith("!"))
    assert pid(lab, "lab-a")


def test_a_scheduler_that_goes_away_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    dask = subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *words], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: file.exists() and file.read_text().endswith("}"))
        with connect(Inventory(LAB.hosts, scheduler=json.loads(file.read_text())["address"])) as connected:
            assert connected.wait(1.0) == []
            monkeypatch.setattr(hosts, "ANSWER_S", 1.0)
            dask.kill()
            with pytest.raises(AdaScaleError, match=r"scheduler no longer responds; .*run the same command again"):
                for _ in range(100):
                    connected.wait(0.1)
    finally:
        dask.kill()
        dask.wait()


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:9", "tcp://nowhere.invalid:8786", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "ws://:x"],
)
def test_no_scheduler_is_a_sentence_at_once(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(hosts, "LISTEN_S", 0.5)
    missing = Inventory(LAB.hosts, scheduler=address, source="lab.yaml")
    begun = time.monotonic()
    with (
        pytest.raises(AdaScaleError, match=rf"No Dask scheduler responds at {address} .*'scheduler' in lab.yaml"),
        connect(missing),
    ):
        pass
    assert time.monotonic() - begun < 5


def test_what_answers_but_is_no_scheduler_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(AdaScaleError, match="No Dask scheduler responds at"),
            connect(Inventory(LAB.hosts, scheduler=address)),
        ):
            pass


def test_encryption_without_certificates_is_a_sentence() -> None:
    secret = Inventory(LAB.hosts, scheduler="tls://127.0.0.1:9", source="lab.yaml")
    with (
        pytest.raises(BadInput, match=r"lab.yaml names an encrypted scheduler, but Dask has no certificates"),
        connect(secret),
    ):
        pass


def test_without_the_extra_a_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"pip install 'adascale-tf\[fleet\]'"), connect(LAB):
        pass
