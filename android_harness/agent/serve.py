"""The agent's serve mode: a socket that answers inference requests of apps or the harness, one JSON line each.

Ask ``{"input": BASE64}`` (raw little-endian float32 of the input's shape), ``{"sample": N}`` for one of the bundle's
own inputs, or ``{"stop": true}``. Answers: ``{"output": [..], "top": N, "branch": .., "latency_ms": .., "kept": ..}``,
or ``{"error": SENTENCE}``. A string or number in "id" comes back.
"""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import socket
import socketserver
import stat
import threading
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple

from adascale_runtime.engines.tensor import Tensor, read
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.session import Session

#: Seconds after which a silent connection is closed; connections that may wait to be accepted.
IDLE_S, BACKLOG = 600.0, 128
#: Bytes of a line beside its input.
MARGIN = 4096


def answer(session: Session, inputs: Sequence[Tensor], line: bytes, lock: threading.Lock) -> Dict[str, Any]:
    """The answer to one line; never raises for what a client sends."""
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        return {"error": "The line is not JSON."}
    if not isinstance(asked, dict):
        return {"error": "The line is not a JSON object."}
    said: Dict[str, Any] = {}
    if "id" in asked:
        if isinstance(asked["id"], (dict, list)):
            return {"error": "The 'id' should be a string or a number."}
        said["id"] = asked["id"]
    if asked.get("stop") is True:
        said["stopped"] = True
        return said
    try:
        x = _input(session, inputs, asked)
        with lock:  # the event belongs to this prediction
            output = session.predict(x)  # type: ignore[arg-type]
            event = session.last
    except AdaScaleError as error:
        said["error"] = str(error)
        return said
    assert event is not None
    said.update(
        output=codec.to_json(list(output.values)), top=int(output.argmax()), branch=event.branch,  # type: ignore[attr-defined]
        latency_ms=event.latency_ms, kept=event.kept,
    )  # fmt: skip
    return said


def _input(session: Session, inputs: Sequence[Tensor], asked: Dict[str, Any]) -> Tensor:
    shape = inputs[0].shape
    if isinstance(asked.get("sample"), int):
        return inputs[asked["sample"] % len(inputs)]
    if not isinstance(asked.get("input"), str):
        raise BadInput("A request needs 'input' (base64 of float32) or 'sample' (a number).")
    try:
        data = base64.b64decode(asked["input"], validate=True)
    except ValueError:
        raise BadInput("The input is not base64.") from None
    tensors = read(data, shape)
    if len(tensors) != 1 or len(data) != 4 * len(tensors[0].values):
        raise BadInput(
            "The input should be {} float32 numbers, but has {} bytes.".format(len(inputs[0].values), len(data))
        )
    if not math.isfinite(tensors[0].sum()):  # else every branch would answer NaN, and be taken out for it
        raise BadInput("The input holds a NaN or an infinity.")
    return tensors[0]


def serve(
    session: Session,
    inputs: Sequence[Tensor],
    address: str,
    ready: Callable[[str], None] = lambda where: None,
    idle_s: float = IDLE_S,
) -> None:
    """Serve until a client says stop, or SIGTERM comes. ``address``: a port of the loopback (0 takes a free one), or a
    socket's path, which is removed at the end.

    ``ready`` gets the address that is listened on. A connection that says nothing for ``idle_s`` seconds, or does not
    read its answers, is closed; a line that is longer than any input can be is answered by an error.
    """
    lock = threading.Lock()
    limit = line_limit(len(inputs[0].values))

    class Handler(socketserver.StreamRequestHandler):
        timeout = idle_s

        def handle(self) -> None:
            said: Dict[str, Any] = {}
            try:
                for line in lines(self.rfile, limit):
                    if line is None:
                        said = {"error": "The line is longer than {} bytes, longer than any input.".format(limit)}
                    else:
                        said = answer(session, inputs, line, lock)
                    self.wfile.write(codec.dump_line(said).encode())
                    if said.get("stopped"):
                        return
            except (ConnectionError, socket.timeout):  # the client left, or fell asleep
                pass
            finally:
                if said.get("stopped"):
                    threading.Thread(target=self.server.shutdown, daemon=True).start()

    where, kind = _address(address)
    with suppress(_Terminated), _terminated(), _server(where, kind, Handler) as server:
        place = os.stat(address).st_ino if kind == "unix" else None
        try:
            ready(address if kind == "unix" else "127.0.0.1:{}".format(server.server_address[1]))
            server.serve_forever(poll_interval=0.1)
        finally:
            with suppress(OSError):
                if place is not None and os.stat(address).st_ino == place:  # else it is another's by now
                    os.unlink(address)


def line_limit(values: int) -> int:
    """The longest line that can hold an input of so many numbers: base64 in JSON, each ``/`` perhaps escaped."""
    return 2 * 4 * ((4 * values + 2) // 3) + MARGIN


def lines(stream: Any, limit: int) -> Iterator[Optional[bytes]]:
    """The lines of a stream; None for one that is longer than ``limit`` bytes, of which no more is kept."""
    while True:
        line = stream.readline(limit + 1)
        if not line:
            return
        if len(line) <= limit:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(1 << 16)
        yield None


class _Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM ends the block with :class:`_Terminated`, where signals can be had: in the main thread."""

    def stop(*_: Any) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(text: str) -> Tuple[Any, str]:
    if text.isdecimal():
        if int(text) > 65535:
            raise BadInput("{} is not a port; give one up to 65535, or a path.".format(text))
        return ("127.0.0.1", int(text)), "tcp"
    return text, "unix"


def _server(where: Any, kind: str, handler: Any) -> Any:
    base: Any = socketserver.ThreadingTCPServer if kind == "tcp" else socketserver.ThreadingUnixStreamServer
    if kind == "unix" and os.path.exists(where):
        _make_room(where)

    class Server(base):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = BACKLOG

    try:
        return Server(where, handler)
    except OSError as error:
        raise BadInput(
            "{} cannot be listened on ({}); choose another address.".format(where, error.strerror or error)
        ) from None


def _make_room(where: str) -> None:
    """Remove a socket that a killed server left; refuse a file, and a socket that somebody listens on."""
    if not stat.S_ISSOCK(os.stat(where).st_mode):
        raise BadInput("{} is a file; choose another address.".format(where))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(where)
        except ConnectionRefusedError:
            os.unlink(where)
            return
        except OSError:  # its backlog is full, or it is not ours to ask
            pass
    raise BadInput("{} is in use by another process; stop that one, or choose another address.".format(where))
