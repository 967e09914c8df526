"""TCP transport for adb-shell that sends everything, and its checksum without a loop in Python.

adb-shell's own transport gives up after a partial send when a time limit is set, which corrupts the stream, and sums
the bytes of every message one by one (5 ms a megabyte). Its time limits go by the wall clock, which may be set.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np
from adb_shell import adb_device, adb_message
from adb_shell.exceptions import TcpTimeoutException
from adb_shell.transport.base_transport import BaseTransport


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The sum of all bytes, modulo 2^32: ADB's checksum (protocol.txt)."""
    return int(np.frombuffer(data, np.uint8).sum(dtype=np.uint64)) & 0xFFFFFFFF


class _Steady:
    """A clock for adb-shell's time limits that nobody sets."""

    time = staticmethod(time.monotonic)


adb_message.checksum = checksum
adb_device.checksum = checksum
adb_device.time = _Steady

#: A phone that leaves the network says nothing: after 10 s of silence the system asks it, every 5 s, four times.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}


class TcpTransport(BaseTransport):
    """A connection to HOST:PORT; every call has its own time limit in seconds, None for none."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._socket: socket.socket | None = None

    def connect(self, transport_timeout_s: float | None) -> None:
        self.close()
        self._socket = socket.create_connection((self.host, self.port), timeout=transport_timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):  # not all systems have all
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        """What has arrived, at most ``numbytes``; empty never: a closed connection is a ConnectionError."""
        data: bytes = self._limited(transport_timeout_s, "Reading", lambda s: s.recv(numbytes, socket.MSG_WAITALL))
        if not data:
            raise ConnectionResetError(f"{self.host}:{self.port} closed the connection")
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float | None) -> int:
        """Send all of it."""
        self._limited(transport_timeout_s, "Sending", lambda s: s.sendall(data))
        return len(data)

    def _limited(self, timeout_s: float | None, what: str, act: Any) -> Any:
        if self._socket is None:
            raise ConnectionResetError(f"{self.host}:{self.port} is not connected")
        self._socket.settimeout(None if timeout_s is None else max(0.001, timeout_s))
        begun = time.monotonic()
        try:
            return act(self._socket)
        except TimeoutError:
            waited = time.monotonic() - begun
            raise TcpTimeoutException(f"{what} timed out after {waited:.1f} s") from None
