"""Who a server answers, how many it can bear, and what it records."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.files import codec
from adascale_runtime.policies.replay import replay
from adascale_runtime.seams import bundle, events
from adascale_runtime.seams.budget import parse
from android_harness.agent.line_server import Connection, LineServer
from tests.android_harness.test_serve_limits import GOOD, ask, connect, place, refused, serving

__all__ = ["place"]
SECRET = "räven 4711"


def line(**asked: Any) -> bytes:
    return json.dumps(asked).encode() + b"\n"


# --- tokens


@pytest.mark.parametrize("how", ["option", "file", "variable"])
def test_a_token_is_needed_for_everything(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")
    options: dict[str, tuple[object, ...]] = {
        "option": ("--token", SECRET), "file": ("--token-file", tmp_path / "token"), "variable": ()
    }  # fmt: skip
    variables = {"ADASCALE_TOKEN": SECRET} if how == "variable" else {}
    with serving(place, 0, *options[how], **variables) as (process, address), connect(address) as client:
        wrong = [
            line(stop=True),
            line(stop=True, token="x"),
            line(sample=0, token=None),
            line(sample=0, token=[SECRET]),
        ]
        for asked in (GOOD, *wrong, line(stop=True, token=SECRET[:-1]), line(stop=True, token="\ud800")):
            assert ask(client, asked)["error"] == "A request needs the server's 'token'."
        assert "output" in ask(client, line(sample=0, token=SECRET)) and process.poll() is None
        assert ask(client, line(stop=True, token=SECRET, id=1)) == {"id": 1, "stopped": True}
        assert process.wait(20) == 0


def test_tokens_that_are_none_are_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    assert "A token has 1 to 1024 characters, not 0" in refused(place, "--token", "")
    assert "A token has 1 to 1024 characters, not 0" in refused(place, "--token-file", tmp_path / "empty")
    assert "not 1025" in refused(place, "--token", "x" * 1025)
    assert "cannot be read (No such file" in refused(place, "--token-file", tmp_path / "absent")
    assert "give --token or --token-file" in refused(place, "--token", "x", "--token-file", tmp_path / "empty")


def test_only_its_owner_reaches_a_unix_socket(place: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with serving(place, tmp_path / "socket") as (_, address):
            assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
            with connect(address) as client:
                assert ask(client)["id"] == "there"
    finally:
        os.umask(before)


# --- many


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_thousand_connections_at_once(place: Path, tmp_path: Path, kind: str) -> None:
    with serving(place, 0 if kind == "tcp" else tmp_path / "socket") as (process, address):
        clients: list[socket.socket] = []
        try:
            for _ in range(500):
                clients.append(connect(address))
            clients += [connect(address) for _ in range(500)]
            for client in clients:
                client.sendall(GOOD)
            assert all(json.loads(client.makefile("rb").readline())["id"] == "there" for client in clients)
            threads = Path(f"/proc/{process.pid}/task")
            assert len(list(threads.iterdir())) < 12
        finally:
            for client in clients:
                client.close()
        with connect(address) as client:
            assert ask(client)["id"] == "there"


def test_a_thousand_connections_one_after_the_other(place: Path) -> None:
    with serving(place, 0) as (process, address):
        for _ in range(1000):
            with connect(address) as client:
                assert ask(client)["id"] == "there"
        deadline = time.monotonic() + 5
        while len(list(Path(f"/proc/{process.pid}/fd").iterdir())) > 40:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_more_connections_than_files_wait(place: Path) -> None:
    """With room for some thirty connections, others wait until one is closed."""
    with serving(place, 0, limit_files=48) as (_, address):
        clients = [connect(address) for _ in range(60)]
        try:
            for client in clients:
                client.sendall(GOOD)
            for client in clients:  # each that is answered and closed makes room
                client.settimeout(20)
                assert json.loads(client.makefile("rb").readline())["id"] == "there"
                client.close()
        finally:
            for client in clients:
                client.close()


def test_who_reads_no_answers_holds_up_nobody(place: Path) -> None:
    with serving(place, 0, "--idle-s", 2) as (_, address), connect(address) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                deaf.send(GOOD * 1000)
        with connect(address) as client:
            begun = time.monotonic()
            assert all(ask(client)["id"] == "there" for _ in range(20))
            assert time.monotonic() - begun < 2.0


def test_clients_with_many_lines_take_turns(place: Path) -> None:
    with serving(place, 0) as (_, address), connect(address) as busy, connect(address) as client:
        busy.sendall(GOOD * 1500)
        begun = time.monotonic()
        assert ask(client)["id"] == "there"
        first_s = time.monotonic() - begun
        stream = busy.makefile("rb")
        assert all(json.loads(stream.readline())["id"] == "there" for _ in range(1500))
        assert first_s < 0.5 * (time.monotonic() - begun)


@given(st.lists(st.binary(max_size=12).filter(lambda one: b"\n" not in one), max_size=12), st.data())
def test_lines_are_the_same_however_they_are_cut(sent: list[bytes], data: st.DataObject) -> None:
    limit, whole = 8, b"".join(one + b"\n" for one in sent)
    connection, found, rest = Connection(None, 0.0), [], whole  # type: ignore[arg-type]
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        connection.take(rest[:size], limit)
        rest = rest[size:]
        while connection.has_line():
            found.append(connection.line(limit))
    assert found == [one + b"\n" if len(one) < limit else None for one in sent]
    assert len(connection._sent) <= limit


def test_a_last_line_needs_no_end() -> None:
    connection = Connection(None, 0.0)  # type: ignore[arg-type]
    connection.take(b"one\ntwo", 80)
    connection.take(b"", 80)
    assert connection.line(80) == b"one\n" and connection.has_line()
    assert connection.line(80) == b"two" and connection.over


def test_a_stop_from_another_thread_is_heard_at_once() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = LineServer(listener, lambda line: (b"never\n", False), 80, 60.0)
    thread = threading.Thread(target=server.run)
    thread.start()
    with socket.create_connection(listener.getsockname()):
        begun = time.monotonic()
        server.stop()
        thread.join(10)
    assert not thread.is_alive() and time.monotonic() - begun < 0.5


# --- traces


def test_a_server_writes_a_trace_as_the_loop_does(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "trace.jsonl"
    with serving(place, 0, "--out", out) as (process, address), connect(address) as client:
        for number in range(20):
            assert "output" in ask(client, line(sample=number))
        assert "error" in ask(client, b"?\n")
        assert ask(client, line(stop=True))["stopped"] is True
        assert process.wait(20) == 0
    opened, (header, recorded) = bundle.load(place / "bundle"), events.read(out)
    assert header.bundle == opened.digest and len(recorded) == 20 and recorded[0].context is not None
    assert all(event.correct is not None for event in recorded)
    assert replay(opened, header, recorded, parse("latency_ms=1000"), "adaptive") == recorded


def test_sigterm_leaves_a_whole_trace(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "trace.jsonl"
    with serving(place, 0, "--out", out) as (process, address), connect(address) as client:
        assert ask(client)["id"] == "there"
        process.terminate()
        assert process.wait(20) == 0
    assert len(events.read(out)[1]) == 1 and out.read_text().endswith("}\n")


def test_where_a_trace_cannot_be_written_is_said_before_anybody_connects(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(place, "--out", tmp_path / "file" / "trace.jsonl")


def test_clients_are_answered_though_the_disk_is_full(place: Path) -> None:
    with serving(place, 0, "--out", "/dev/full") as (process, address), connect(address) as client:
        for _ in range(3):
            assert ask(client)["id"] == "there"
            time.sleep(0.6)
        assert ask(client, line(stop=True))["stopped"] is True
        assert process.wait(20) in (0, 2)


def test_a_replay_on_a_phone_says_what_it_cannot_judge(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "trace.jsonl"
    with serving(place, 0, "--out", out) as (process, address), connect(address) as client:
        assert ask(client)["id"] == "there" and ask(client, line(stop=True))["stopped"] is True
        process.wait(20)
    lines = out.read_text().splitlines()
    silent = [json.loads(one) for one in lines]
    for one in silent[1:]:
        one["context"] = None
    out.write_text("".join(codec.dump_line(one) for one in silent))
    words = [*_replay(place), "--trace", str(out), "--budget", "latency_ms=1000,temperature_c=40,energy_mj=1"]
    done = subprocess.run(words, env={}, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    assert "agent: The trace records no temperature, so the limit temperature_c was ignored." in done.stderr
    assert "agent: The trace records no energy for any branch, so the limit energy_mj was ignored" in done.stderr


def _replay(place: Path) -> list[str]:
    return [sys.executable, "-I", "-S", str(place / "agent.pyz"), "replay", str(place / "bundle")]
