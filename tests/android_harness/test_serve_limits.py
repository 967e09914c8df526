"""What bounds a server: long lines, silent and many connections, signals, other servers; and what its budget needs."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.engines.delegates import wheel_library
from adascale_runtime.files import codec
from adascale_runtime.seams import predictors
from adascale_runtime.seams.predictors import Predictor, Predictors
from android_harness import package
from android_harness.agent import serve
from tests.fixtures import small_model

GOOD = b'{"sample": 0, "id": "there"}\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the agent and a small bundle."""
    folder = tmp_path_factory.mktemp("serve")
    package.write(folder / "agent.pyz")
    small_model.write(folder / "bundle", {"good": small_model.pack(small_model.tree())})
    return folder


def command(place: Path, *options: object, mode: str = "serve", budget: str = "latency_ms=1000") -> list[str]:
    start = [sys.executable, "-I", "-S", place / "agent.pyz", "--litert", wheel_library(), mode, place / "bundle"]
    return [str(word) for word in (*start, "--budget", budget, *options)]


@contextmanager
def serving(
    place: Path, listen: object, *options: object, limit_files: int | None = None, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = command(place, "--listen", listen, *options)
    if limit_files is not None:
        words = ["sh", "-c", f'ulimit -n {limit_files}; exec "$@"', "sh", *words]
    process = subprocess.Popen(words, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)["listening"]
    finally:
        process.kill()
        process.communicate()


def refused(place: Path, *options: object, **named: str) -> str:
    done = subprocess.run(command(place, *options, **named), env={}, text=True, capture_output=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def connect(address: str) -> socket.socket:
    if ":" in address:
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), 20)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(20)
    made.connect(address)
    return made


def ask(connection: socket.socket, line: bytes = GOOD) -> Any:
    connection.sendall(line)
    return json.loads(connection.makefile("rb").readline())


def peak_kb(process: subprocess.Popen[str]) -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def test_a_long_line_costs_no_memory(place: Path) -> None:
    with serving(place, 0) as (process, address), connect(address) as client:
        assert ask(client)["id"] == "there"
        before = peak_kb(process)
        block = b"x" * (1 << 20)
        for _ in range(100):
            client.sendall(block)
        answer = ask(client, b"\n")
        assert answer == {"error": f"The line is longer than {serve.line_limit(4)} bytes, longer than any input."}
        assert ask(client)["id"] == "there"
        assert peak_kb(process) - before < 20_000


def test_every_input_fits_a_line() -> None:
    for values in (1, 2, 3, 4, 1000):
        worst = json.dumps({"input": "/" * (4 * ((4 * values + 2) // 3)), "id": "x" * 1000}).replace("/", "\\/")
        assert len(worst) < serve.line_limit(values)


def test_a_silent_connection_is_closed(place: Path) -> None:
    with serving(place, 0, "--idle-s", 1) as (_, address), connect(address) as client, connect(address) as other:
        client.sendall(GOOD[:5])
        begun = time.monotonic()
        assert client.recv(1) == b"" and other.recv(1) == b""
        assert time.monotonic() - begun < 10
        with connect(address) as third:
            assert ask(third)["id"] == "there"


def test_an_idle_limit_is_a_number(place: Path) -> None:
    for text in ("0", "nan"):
        assert "--idle-s" in refused(place, "--idle-s", text)


def test_many_connections_at_once(place: Path) -> None:
    with serving(place, 0) as (_, address):
        clients = [connect(address) for _ in range(300)]
        try:
            assert all(ask(client)["id"] == "there" for client in clients)
        finally:
            for client in clients:
                client.close()


def test_sigterm_removes_the_socket(place: Path, tmp_path: Path) -> None:
    with serving(place, tmp_path / "socket") as (process, address), connect(address) as client:
        assert ask(client)["id"] == "there"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0 and not (tmp_path / "socket").exists()


def test_a_second_server_leaves_the_first_alone(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving(place, path) as (_, address):
        assert "is in use by another process; stop that one" in refused(place, "--listen", path)
        with connect(address) as client:
            assert ask(client)["id"] == "there"
    assert path.exists()  # it was killed
    with serving(place, path) as (process, address):
        assert stat.S_ISSOCK(path.stat().st_mode)
        path.unlink()
        path.write_text("somebody else's by now")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0 and path.read_text() == "somebody else's by now"


# --- the budget of an agent


def write_predictors(path: Path, *devices: str) -> Path:
    """Predictors of energy, 1, 10, 100 mJ and so on."""
    made = [
        Predictor("energy_mj", name, "cpu", 1, "fitted", {"one": 10.0**n}, {}, 4, about={"serial": f"S{n}"})
        for n, name in enumerate(devices)
    ]
    codec.write_text(path, codec.dump(Predictors(predictors.FORMAT, tuple(made), "2026-01-01T00:00:00Z", {})))
    return path


def test_an_agent_keeps_a_budget_of_energy(place: Path, tmp_path: Path) -> None:
    path = write_predictors(tmp_path / "p.json", "Maker One S0", "Maker Two S1")
    budget = "latency_ms=1000,energy_mj=5"
    assert "needs an energy predictor" in refused(place, mode="loop", budget=budget)
    assert "2 devices (Maker One S0; Maker Two S1)" in refused(place, "--predictors", path, mode="loop", budget=budget)
    done = subprocess.run(
        command(place, "--predictors", path, "--device-name", "S0", "--seconds", 0.2, mode="loop", budget=budget),
        env={}, text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout)["count"] > 0, done.stderr
    wrong = refused(place, "--predictors", path, "--device-name", "S1", mode="loop", budget=budget)
    assert "the thriftiest needs 10 energy mj" in wrong


def test_an_agent_says_which_limit_it_cannot_keep(place: Path, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    limited = {"mode": "loop", "budget": "latency_ms=1000,temperature_c=40"}
    words = command(place, "--seconds", 0.2, **limited)
    words[4:4] = ["--root", str(tmp_path)]
    done = subprocess.run(words, env={}, text=True, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert "The budget limits temperature_c, but this device does not report temperature" in done.stderr
    done = subprocess.run([*words, "--best-effort"], env={}, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and "temperature_c is ignored" in done.stderr, done.stderr


def test_a_damaged_file_is_a_sentence_on_a_phone_too(place: Path, tmp_path: Path) -> None:
    bad = small_model.spoiled(lambda m: setattr(m.subgraphs[0].operators[2], "inputs", [3, 5]))
    small_model.write(tmp_path / "bundle", {"bad": bad})
    os.link(place / "agent.pyz", tmp_path / "agent.pyz")
    assert "bad.tflite is not a usable .tflite file" in refused(tmp_path, mode="loop")
