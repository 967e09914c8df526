from __future__ import annotations

import base64
import json
import math
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adascale_runtime.engines.delegates import open_cpu, wheel_library
from adascale_runtime.errors import BadInput
from adascale_runtime.seams.bundle import Bundle
from android_harness import package
from android_harness.agent import serve


class Server:
    """The agent, serving in a process of its own."""

    def __init__(self, agent: Path, bundle: Bundle, listen: str, budget: str = "latency_ms=1000") -> None:
        command = [sys.executable, "-I", "-S", agent, "--litert", wheel_library(), "serve", bundle.root]
        self.process = subprocess.Popen(
            [*map(str, command), "--budget", budget, "--listen", listen],
            env={}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.address = json.loads(line)["listening"]

    def connect(self) -> Client:
        return Client(self.address)

    def stop(self) -> str:
        """End it as a client does; gives what it said on stderr."""
        with self.connect() as client:
            assert client.ask({"stop": True, "id": 7}) == {"id": 7, "stopped": True}
        errors = self.process.communicate(timeout=20)[1]
        assert self.process.returncode == 0, errors
        return errors


class Client:
    """A connection that asks a line and reads a line."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if port.isdigit() and not host.startswith("/"):
            self.socket = socket.create_connection((host, int(port)))
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        self.socket.settimeout(30)
        self.file = self.socket.makefile("rwb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()
        self.socket.close()

    def send(self, line: bytes) -> Any:
        self.file.write(line + b"\n")
        self.file.flush()
        return json.loads(self.file.readline())

    def ask(self, question: Any) -> Any:
        return self.send(json.dumps(question).encode())


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "agent.pyz"
    package.write(path)
    return path


@contextmanager
def serving(agent: Path, bundle: Bundle, listen: str) -> Iterator[Server]:
    server = Server(agent, bundle, listen)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def tcp(agent: Path, built: Bundle) -> Iterator[Server]:
    with serving(agent, built, "0") as server:
        yield server


def samples(bundle: Bundle) -> np.ndarray:
    shape = bundle.manifest.branches[0].input.shape
    return np.fromfile(bundle.path(bundle.manifest.samples.file), "<f4").reshape(-1, *shape)


def encoded(x: np.ndarray) -> str:
    return base64.b64encode(x.astype("<f4").tobytes()).decode()


def wanted(bundle: Bundle, branch_id: str, x: np.ndarray) -> np.ndarray:
    branch = bundle.manifest.branch(branch_id)
    return np.asarray(open_cpu(bundle.path(branch.file), branch, 1)(x))[0]


# --- answers


def test_answers_are_the_branches_own(tcp: Server, built: Bundle) -> None:
    with tcp.connect() as client:
        for number, x in enumerate(samples(built)[:3]):
            for question in ({"sample": number}, {"input": encoded(x)}):
                answer = client.ask({**question, "id": f"n{number}"})
                assert set(answer) == {"id", "output", "top", "branch", "latency_ms", "kept"}
                assert answer["id"] == f"n{number}" and answer["latency_ms"] > 0 and answer["kept"] is True
                output = wanted(built, answer["branch"], x)
                assert np.array_equal(np.array(answer["output"], np.float32), output)
                assert answer["top"] == int(output.argmax())


def test_samples_come_round(tcp: Server, built: Bundle) -> None:
    count = built.manifest.samples.count
    with tcp.connect() as client:
        tops = [client.ask({"sample": number})["top"] for number in (0, count, -count, 10 * count)]
    assert len(set(tops)) == 1


GOOD = b'{"sample": 0, "id": "still there"}'
BAD: dict[bytes, str] = {
    b"": "not JSON",
    b"hello": "not JSON",
    b"\xff\xfe\x00": "not JSON",
    b"[" * 10_000: "not JSON",
    b"[" * 1_000_000: "longer than",
    b"[1, 2]": "not a JSON object",
    b"null": "not a JSON object",
    b"{}": "needs 'input'",
    b'{"stop": "please"}': "needs 'input'",
    b'{"sample": 1.5}': "needs 'input'",
    b'{"input": 3}': "needs 'input'",
    b'{"input": "%%%"}': "not base64",
    '{"input": "ä"}'.encode(): "not base64",
    b'{"input": "AAA"}': "not base64",
    b'{"input": ""}': "0 bytes",
    b'{"input": "AAAAAA=="}': "4 bytes",
    b'{"sample": 0, "id": ' + b"[" * 500 + b"]" * 500 + b"}": "'id' should be",
}


@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:20].decode(errors="replace"))
def test_bad_lines_are_answered_and_do_no_harm(tcp: Server, line: bytes) -> None:
    with tcp.connect() as client:
        assert BAD[line] in client.send(line)["error"]
        assert client.send(GOOD)["id"] == "still there"


def test_an_error_keeps_the_id(tcp: Server) -> None:
    with tcp.connect() as client:
        for name in ("a", 3, -1.5, None, True):
            answer = client.ask({"id": name, "input": "AAAA"})
            assert "3 bytes" in answer["error"] and answer["id"] == name


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_input_that_is_no_number_takes_no_branch_out(tcp: Server, built: Bundle, bad: float) -> None:
    x = samples(built)[0].copy()
    x.flat[5] = bad
    with tcp.connect() as client:
        before = client.ask({"sample": 0})
        for _ in range(len(built.manifest.branches) + 1):
            assert client.ask({"input": encoded(x)}) == {"error": "The input holds a NaN or an infinity."}
        assert client.ask({"sample": 0})["branch"] == before["branch"]


@pytest.mark.parametrize("extra", [-4, 4, 1])
def test_inputs_of_other_sizes_say_what_is_wanted(tcp: Server, built: Bundle, extra: int) -> None:
    data = samples(built)[0].tobytes()
    data = data[:extra] if extra < 0 else data + bytes(extra)
    count = math.prod(built.manifest.branches[0].input.shape)
    with tcp.connect() as client:
        error = client.ask({"input": base64.b64encode(data).decode()})["error"]
    assert error == f"The input should be {count} float32 numbers, but has {len(data)} bytes."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["input", "sample", "id", "x"]), inner),
    max_leaves=8,
)
LINES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES.filter(lambda line: b"\n" not in line))
@example(b'{"id": 1e999, "sample": 0}')
@example(b'{"id": "\\ud800", "sample": 0}')
@example(b'{"sample": ' + b"9" * 1000 + b"}")
@example(b'{"sample": ' + b"9" * 5000 + b"}")
def test_every_line_has_an_answer(tcp: Server, line: bytes) -> None:
    with tcp.connect() as client:
        answer = client.send(line)
        assert isinstance(answer, dict) and ("error" in answer) != ("output" in answer)
        assert client.send(GOOD)["id"] == "still there"


# --- clients


def test_clients_at_the_same_time_get_their_own_answers(tcp: Server, built: Bundle) -> None:
    x = samples(built)
    clients, rounds = 6, 25
    gate = threading.Barrier(clients)

    def talk(number: int) -> list[Any]:
        with tcp.connect() as client:
            gate.wait(20)
            return [client.ask({"input": encoded(x[number]), "id": [number, n][n % 2]}) for n in range(rounds)]

    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(talk, range(clients)))
    for number, answers in enumerate(found):
        assert [a["id"] for a in answers] == [[number, n][n % 2] for n in range(rounds)]
        for branch in {a["branch"] for a in answers}:
            output = wanted(built, branch, x[number])
            for answer in answers:
                if answer["branch"] == branch:
                    assert np.array_equal(np.array(answer["output"], np.float32), output)


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(tcp: Server) -> None:
    for _ in range(5):
        client = tcp.connect()
        client.file.write(GOOD + b"\n" + GOOD + b"\n" + b'{"sample"')
        client.file.flush()
        # A reset instead of an orderly end, so that the answer meets a connection that is gone.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.file.close()
        client.socket.close()
    with tcp.connect() as client:
        assert client.send(GOOD)["id"] == "still there"


def test_several_lines_at_once_are_answered_in_order(tcp: Server) -> None:
    with tcp.connect() as client:
        client.file.write(b"".join(b'{"sample": %d, "id": %d}\n' % (n, n) for n in range(20)))
        client.file.flush()
        assert [json.loads(client.file.readline())["id"] for _ in range(20)] == list(range(20))


# --- where it listens, and the end


def test_stop_ends_it_though_others_are_connected(agent: Path, built: Bundle) -> None:
    with serving(agent, built, "0") as server, server.connect() as idle:
        assert idle.send(GOOD)["id"] == "still there"
        assert "Traceback" not in server.stop()
        assert idle.file.readline() == b""
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_leaving_clients_leave_no_traces(agent: Path, built: Bundle) -> None:
    with serving(agent, built, "0") as server:
        test_a_client_that_leaves_in_the_middle_disturbs_nobody(server)
        assert "Traceback" not in server.stop()


def test_a_unix_socket(agent: Path, built: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving(agent, built, str(path)) as server:
        assert server.address == str(path) and stat.S_ISSOCK(path.stat().st_mode)
        with server.connect() as one, server.connect() as other:
            assert one.ask({"sample": 1})["top"] == other.ask({"sample": 1})["top"]
            assert "error" in one.send(b"?") and "output" in other.send(GOOD)
        assert "Traceback" not in server.stop()
    assert not path.exists()


def test_a_socket_that_a_killed_server_left_is_taken(agent: Path, built: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving(agent, built, str(path)) as server:
        server.process.kill()
        server.process.wait()
    assert path.exists()
    with serving(agent, built, str(path)) as server, server.connect() as client:
        assert client.send(GOOD)["id"] == "still there"


def refused(agent: Path, bundle: Bundle, listen: str) -> str:
    with pytest.raises(AssertionError, match="agent: ") as caught:
        Server(agent, bundle, listen)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_where_it_cannot_listen_is_one_sentence(tcp: Server, agent: Path, built: Bundle, tmp_path: Path) -> None:
    taken = tcp.address.rpartition(":")[2]
    assert "cannot be listened on (Address already in use); choose another" in refused(agent, built, taken)
    assert "cannot be listened on (No such file" in refused(agent, built, str(tmp_path / "absent" / "socket"))
    assert "cannot be listened on (AF_UNIX path too long)" in refused(agent, built, str(tmp_path / ("x" * 200)))
    assert "65536 is not a port" in refused(agent, built, "65536")


def test_a_file_in_the_sockets_place_is_kept(agent: Path, built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "is a file; choose another address" in refused(agent, built, str(tmp_path / "file"))
    assert "is a file; choose another address" in refused(agent, built, str(tmp_path))
    assert (tmp_path / "file").read_text() == "precious"


@given(st.text())
@example("²")
@example("٣")
def test_an_address_is_a_port_or_a_path(text: str) -> None:
    try:
        where, kind = serve._address(text)
    except BadInput as error:
        assert int(text) > 65535 and "is not a port" in str(error)
        return
    assert (where, kind) == ((("127.0.0.1", int(text)), "tcp") if text.isdecimal() else (text, "unix"))


def test_it_listens_on_the_loopback_only(tcp: Server) -> None:
    port = int(tcp.address.rpartition(":")[2])
    with Path("/proc/net/tcp").open() as table:
        next(table)
        places = {row.split()[1] for row in table if row.split()[3] == "0A"}
    assert f"0100007F:{port:04X}" in places and f"00000000:{port:04X}" not in places
