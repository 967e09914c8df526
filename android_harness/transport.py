"""The TCP transport of adb-shell's messages: complete sends, limits on silence, a fast checksum.

adb-shell's own transport gives up after a partial send when a time limit is set, which corrupts the stream, and its
limits for whole messages are too short for slow links. It sums the bytes of every message one by one (5 ms a megabyte)
and reads the wall clock, which may be set. Here a phone is alive as long as bytes move in either direction.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Callable
from operator import methodcaller
from typing import Any, TypeVar

import numpy as np
from adb_shell import constants, exceptions
from adb_shell.adb_device import AdbDevice, _AdbIOManager
from adb_shell.adb_message import AdbMessage, int_to_cmd, unpack
from adb_shell.exceptions import TcpTimeoutException
from adb_shell.transport.base_transport import BaseTransport

#: A phone that leaves the network says nothing: after 10 s of silence the system asks it, every 5 s, four times.
#: It asks only while nothing is on its way; data may wait as long for its acknowledgement (TCP_USER_TIMEOUT, RFC 5482).
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
#: For adb-shell's limits on whole messages, which go by the wall clock: it is silence that is limited here.
NO_LIMIT = math.inf
Result = TypeVar("Result")


class KeyRefused(exceptions.DeviceAuthError):
    """The phone answered our public key with another challenge: it was not accepted."""


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The sum of all bytes, modulo 2^32: ADB's checksum (protocol.txt)."""
    return int(np.frombuffer(data, np.uint8).sum(dtype=np.uint64)) & 0xFFFFFFFF


class SizedMessage(AdbMessage):
    """A message whose checksum takes no loop in Python; for large ones."""

    @property
    def checksum(self) -> int:
        return checksum(self.data)


class TcpTransport(BaseTransport):
    """A connection to HOST:PORT; every call has its own limit of silence in seconds, None for none."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._socket: socket.socket | None = None

    def connect(self, transport_timeout_s: float | None) -> None:
        self.close()
        self._socket = socket.create_connection((self.host, self.port), timeout=transport_timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        longest_s = KEEPALIVE["TCP_KEEPIDLE"] + KEEPALIVE["TCP_KEEPINTVL"] * KEEPALIVE["TCP_KEEPCNT"]
        for name, value in {**KEEPALIVE, "TCP_USER_TIMEOUT": 1000 * longest_s}.items():
            if hasattr(socket, name):  # not all systems have all
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        """What has arrived, at most ``numbytes``; empty never: a closed connection is a ConnectionError."""
        data = self._alive(transport_timeout_s, "Reading", lambda s: s.recv(numbytes, socket.MSG_WAITALL))
        if not data:
            raise ConnectionResetError(f"{self.host}:{self.port} closed the connection")
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float | None) -> int:
        """Send all of it, however long that takes, as long as some goes."""
        left = memoryview(data)
        while left:
            left = left[self._alive(transport_timeout_s, "Sending", methodcaller("send", left)) :]
        return len(data)

    def _alive(self, silence_s: float | None, what: str, act: Callable[[socket.socket], Result]) -> Result:
        """Do one thing with the socket, and try again as long as the phone takes what was sent before."""
        if self._socket is None:
            raise ConnectionResetError(f"{self.host}:{self.port} is not connected")
        self._socket.settimeout(None if silence_s is None else max(0.001, silence_s))
        begun = time.monotonic()
        while True:
            queued = _queued(self._socket)
            try:
                return act(self._socket)
            except TimeoutError as error:
                if error.errno is not None:  # the system's own word, after keep-alives without an answer
                    raise ConnectionAbortedError(error.errno, f"{self.host}:{self.port} left the network") from None
                left, waited = _queued(self._socket), time.monotonic() - begun
                if left and left >= queued:
                    raise ConnectionAbortedError(f"no data was accepted for {waited:.1f} s") from None
                if left >= queued:
                    raise TcpTimeoutException(f"{what} timed out after {waited:.1f} s") from None


def _queued(sock: socket.socket) -> int:
    """Bytes sent that the other side has not acknowledged yet; 0 where the system does not report it."""
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])
    except (ImportError, AttributeError, OSError):
        return 0


class IOManager(_AdbIOManager):
    """adb-shell's reading of messages with the checksum from here, and an ear for a phone that refuses a key."""

    def _read_packet_from_device(self, adb_info: Any) -> tuple[bytes, int, int, bytes]:
        head = self._read_bytes_from_device(constants.MESSAGE_SIZE, adb_info)
        number, first, second, size, wanted = unpack(head)
        command = constants.WIRE_TO_ID.get(number)
        if not command or size > constants.MAX_ADB_DATA:
            raise exceptions.InvalidCommandError(f"{int_to_cmd(number)!r} with {size} bytes")
        data = self._read_bytes_from_device(size, adb_info) if size else b""
        if size and checksum(data) != wanted:
            raise exceptions.InvalidChecksumError(f"the sum of {size} bytes is {checksum(data)}, not {wanted}")
        return command, first, second, data

    def _read_expected_packet_from_device(
        self, expected_cmds: list[bytes], adb_info: Any
    ) -> tuple[bytes, int, int, bytes]:
        while True:
            packet = self._read_packet_from_device(adb_info)
            if packet[0] in expected_cmds:
                return packet
            if packet[0] == constants.AUTH:  # after our public key
                raise KeyRefused("it answers the key with another challenge")


def improved(device: AdbDevice) -> AdbDevice:
    """The device, reading as above; other users of adb-shell in the process keep theirs."""
    device._io_manager = IOManager(device._io_manager._transport)
    return device
