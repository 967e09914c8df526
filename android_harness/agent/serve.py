"""The agent's serve mode: a socket that an app or the harness asks for inferences, one JSON line each.

Ask ``{"input": BASE64}`` (raw little-endian float32 of the input's shape), ``{"sample": N}`` for one of the bundle's
own inputs, or ``{"stop": true}``. Answers: ``{"output": [..], "top": N, "branch": .., "latency_ms": .., "kept": ..}``,
or ``{"error": SENTENCE}``. A string or number in "id" comes back.
"""

from __future__ import annotations

import base64
import json
import math
import os
import socketserver
import stat
import threading
from typing import Any, Callable, Dict, Sequence, Tuple

from adascale_tf import codec
from adascale_tf.errors import AdaScaleError, BadInput
from adascale_tf.runtime.session import Session
from adascale_tf.runtime.tensor import Tensor, read


def answer(session: Session, inputs: Sequence[Tensor], line: bytes, lock: threading.Lock) -> Dict[str, Any]:
    """The answer to one line; never raises for what a client sends."""
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        return {"error": "The line is not JSON."}
    if not isinstance(asked, dict):
        return {"error": "The line is not a JSON object."}
    found: Dict[str, Any] = {}
    if "id" in asked:
        if isinstance(asked["id"], (dict, list)):
            return {"error": "The 'id' should be a string or a number."}
        found["id"] = asked["id"]
    if asked.get("stop") is True:
        found["stopped"] = True
        return found
    try:
        x = _input(session, inputs, asked)
        with lock:  # the event belongs to this prediction
            output = session.predict(x)  # type: ignore[arg-type]
            event = session.last
    except AdaScaleError as error:
        found["error"] = str(error)
        return found
    assert event is not None
    found.update(
        output=codec.to_json(list(output.values)), top=int(output.argmax()), branch=event.branch,  # type: ignore[attr-defined]
        latency_ms=event.latency_ms, kept=event.kept,
    )  # fmt: skip
    return found


def _input(session: Session, inputs: Sequence[Tensor], asked: Dict[str, Any]) -> Tensor:
    shape = inputs[0].shape
    if isinstance(asked.get("sample"), int):
        return inputs[asked["sample"] % len(inputs)]
    if not isinstance(asked.get("input"), str):
        raise BadInput("A request has 'input' (base64 of float32) or 'sample' (a number).")
    try:
        data = base64.b64decode(asked["input"], validate=True)
    except ValueError:
        raise BadInput("The input is not base64.") from None
    found = read(data, shape)
    if len(found) != 1 or len(data) != 4 * len(found[0].values):
        raise BadInput(
            "The input should be {} float32 numbers, but has {} bytes.".format(len(inputs[0].values), len(data))
        )
    if not math.isfinite(found[0].sum()):  # else every branch would answer NaN, and be taken out for it
        raise BadInput("The input holds a NaN or an infinity.")
    return found[0]


def serve(
    session: Session, inputs: Sequence[Tensor], address: str, ready: Callable[[str], None] = lambda where: None
) -> None:
    """Serve until a client says stop. ``address``: a port of the loopback (0 takes a free one), or a socket's path.

    ``ready`` gets the address that is listened on.
    """
    lock = threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            found: Dict[str, Any] = {}
            try:
                for line in self.rfile:
                    found = answer(session, inputs, line, lock)
                    self.wfile.write(codec.dump_line(found).encode())
                    if found.get("stopped"):
                        return
            except ConnectionError:  # the client left
                pass
            finally:
                if found.get("stopped"):
                    threading.Thread(target=self.server.shutdown, daemon=True).start()

    where, kind = _address(address)
    with _server(where, kind, Handler) as server:
        try:
            ready(address if kind == "unix" else "127.0.0.1:{}".format(server.server_address[1]))
            server.serve_forever(poll_interval=0.1)
        finally:
            if kind == "unix":
                os.unlink(address)


def _address(text: str) -> Tuple[Any, str]:
    if text.isdecimal():
        if int(text) > 65535:
            raise BadInput("{} is no port; give one up to 65535, or a path.".format(text))
        return ("127.0.0.1", int(text)), "tcp"
    return text, "unix"


def _server(where: Any, kind: str, handler: Any) -> Any:
    base: Any = socketserver.ThreadingTCPServer if kind == "tcp" else socketserver.ThreadingUnixStreamServer
    if kind == "unix" and os.path.exists(where):
        if not stat.S_ISSOCK(os.stat(where).st_mode):
            raise BadInput("{} is a file; choose another address.".format(where))
        os.unlink(where)

    class Server(base):
        allow_reuse_address = True
        daemon_threads = True

    try:
        return Server(where, handler)
    except OSError as error:
        raise BadInput(
            "{} cannot be listened on ({}); choose another address.".format(where, error.strerror or error)
        ) from None
