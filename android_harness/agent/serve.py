"""The agent's serve mode: a socket that answers inference requests of apps or the harness, one JSON line each.

Ask ``{"input": BASE64}`` (raw little-endian float32 of the input's shape), ``{"sample": N}`` for one of the bundle's
own inputs, or ``{"stop": true}``. Answers: ``{"output": [..], "top": N, "branch": .., "latency_ms": .., "kept": ..}``,
or ``{"error": SENTENCE}``. A string or number in "id" comes back. Any app on a phone reaches the loopback; a server
with a token answers only lines with ``"token": TOKEN``.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
import os
import resource
import signal
import socket
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple

from adascale_runtime import loop
from adascale_runtime.engines.tensor import Tensor, read
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.files.disk import Unwritable
from adascale_runtime.loop import Write
from adascale_runtime.session import Session
from android_harness.agent.line_server import LineServer, listening

#: Seconds after which a silent connection is closed; connections that may wait to be accepted, and be open.
IDLE_S, BACKLOG, CONNECTIONS = 600.0, 1024, 8192
#: Bytes of a line beside its input.
MARGIN = 4096
#: Characters that a token may have.
TOKEN = 1024


class Desk:
    """Answers lines.

    Args:
        session: Answers inputs.
        inputs: The bundle's own.
        token: What every line has to name; None for nothing.
        write: Takes the lines of a trace; None records nothing.
    """

    def __init__(
        self, session: Session, inputs: Sequence[Tensor], token: Optional[str] = None, write: Optional[Write] = None
    ) -> None:
        self._session, self._inputs, self._token, self._write = session, inputs, token, write
        if write is not None:
            session.restart()
            self._record(loop.header(session))

    def answer(self, line: Optional[bytes]) -> Tuple[bytes, bool]:
        """The answer to a line, and whether it is the last; never raises for what a client sends."""
        said = self._answer(line)
        return codec.dump_line(said).encode(), said.get("stopped") is True

    def _answer(self, line: Optional[bytes]) -> Dict[str, Any]:
        if line is None:
            limit = line_limit(len(self._inputs[0].values))
            return {"error": "The line is longer than {} bytes, longer than any input.".format(limit)}
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
        if not self._knows(asked.get("token")):
            said["error"] = "A request needs the server's 'token'."
            return said
        if asked.get("stop") is True:
            said["stopped"] = True
            return said
        try:
            x = _input(self._inputs, asked)
            output = self._session.predict(x)  # type: ignore[arg-type]
        except AdaScaleError as error:
            said["error"] = str(error)
            return said
        event = self._session.last
        assert event is not None
        if self._write is not None:
            label = self._label(asked)
            self._record(event if label is None else event.with_correct(int(output.argmax()) == label))
        said.update(
            output=codec.to_json(list(output.values)), top=int(output.argmax()), branch=event.branch,  # type: ignore[attr-defined]
            latency_ms=event.latency_ms, kept=event.kept,
        )  # fmt: skip
        return said

    def _knows(self, token: Any) -> bool:
        """Whether a client knows the token, if there is one; takes as long for every wrong one."""
        if self._token is None:
            return True
        given = token if isinstance(token, str) else ""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode("utf-8", "replace"))

    def _label(self, asked: Dict[str, Any]) -> Optional[int]:
        """The class of a sample; None for an input of the client's own."""
        labels = self._session.bundle.manifest.samples.labels
        return labels[asked["sample"] % len(labels)] if isinstance(asked.get("sample"), int) and labels else None

    def _record(self, one: Any) -> None:
        """Write a line of the trace; clients are answered though it cannot be written."""
        if self._write is None:
            return
        try:
            self._write(codec.dump_line(one))
        except Unwritable as error:
            self._write = None
            print("agent: {} The trace ends here.".format(error), file=sys.stderr)


def _input(inputs: Sequence[Tensor], asked: Dict[str, Any]) -> Tensor:
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
    *,
    idle_s: float = IDLE_S,
    token: Optional[str] = None,
    write: Optional[Write] = None,
) -> None:
    """Serve until a client says stop, or SIGTERM comes.

    A connection that says nothing for ``idle_s`` seconds, or does not read its answers, is closed; a line that is
    longer than any input can be is answered by an error. Connections that are more than the system allows wait.

    Args:
        session: Answers inputs.
        inputs: The bundle's own.
        address: A port of the loopback (0 takes a free one), or a socket's path, which only this user can reach, and
            which is removed at the end.
        ready: Gets the address that is listened on.
        idle_s: Seconds.
        token: What every line has to name; None for nothing.
        write: Takes the lines of a trace (:func:`adascale_runtime.loop.writer`).

    Raises:
        BadInput: The address cannot be listened on.
    """
    where, kind = _address(address)
    _make_way_for(CONNECTIONS)
    listener = _listener(where, kind)
    place = os.stat(address).st_ino if kind == "unix" else None
    desk = Desk(session, inputs, token, write)
    server = LineServer(listener, desk.answer, line_limit(len(inputs[0].values)), idle_s)
    try:
        with _terminating(server.stop):
            ready(address if kind == "unix" else "127.0.0.1:{}".format(listener.getsockname()[1]))
            server.run()
    finally:
        with suppress(OSError):
            if place is not None and os.stat(address).st_ino == place:  # else it is another's by now
                os.unlink(address)


def token_of(text: Optional[str], path: Optional[Path]) -> Optional[str]:
    """The token that was given: itself, in a file's first line, or in the variable ``ADASCALE_TOKEN``; None for none.

    Raises:
        BadInput: The file cannot be read, or the token is empty or too long.
    """
    if text is not None and path is not None:
        raise BadInput("A server has one token; give --token or --token-file.")
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, ValueError) as error:
            raise BadInput("{} cannot be read ({}).".format(path, getattr(error, "strerror", None) or error)) from None
    elif text is None:
        text = os.environ.get("ADASCALE_TOKEN")
    if text is not None and not 0 < len(text) <= TOKEN:
        raise BadInput("A token has 1 to {} characters, not {}.".format(TOKEN, len(text)))
    return text


def line_limit(values: int) -> int:
    """The longest line that can hold an input of so many numbers, base64 in JSON, each ``/`` perhaps escaped, and a
    token."""
    return 2 * 4 * ((4 * values + 2) // 3) + MARGIN + 6 * TOKEN


@contextmanager
def _terminating(stop: Callable[..., None]) -> Iterator[None]:
    """SIGTERM calls a function, where signals can be had: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _make_way_for(connections: int) -> None:
    """Let this process open so many files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections if hard == resource.RLIM_INFINITY else min(connections, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _address(text: str) -> Tuple[Any, str]:
    if text.isdecimal():
        if int(text) > 65535:
            raise BadInput("{} is not a port; give one up to 65535, or a path.".format(text))
        return ("127.0.0.1", int(text)), "tcp"
    return text, "unix"


def _listener(where: Any, kind: str) -> socket.socket:
    if kind == "unix" and os.path.exists(where):
        _make_room(where)
    mask = os.umask(0o177) if kind == "unix" else None  # nobody else may connect, from the first moment on
    try:
        return listening(where, socket.AF_INET if kind == "tcp" else socket.AF_UNIX, BACKLOG)
    except OSError as error:
        raise BadInput(
            "{} cannot be listened on ({}); choose another address.".format(where, error.strerror or error)
        ) from None
    finally:
        if mask is not None:
            os.umask(mask)


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
