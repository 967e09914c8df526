"""File transfer with a phone (SYNC.TXT) over one stream of adb-shell, in messages that suit the link."""

from __future__ import annotations

import struct
import time

from adb_shell import constants
from adb_shell.adb_device import AdbDevice

from android_harness.transport import NO_LIMIT, SizedMessage

#: Seconds in which some byte of a file must come or go; a phone on a bad network needs some.
SILENCE_S = 10.0


class Pace:
    """How large the messages to one phone are: what its link carries in about a second, so that answers come often.

    On fast links that is soon ``most``, the largest that the phone takes, and files go in few messages.
    """

    SMALLEST = 16 * 1024
    FAST_S, SLOW_S = 1.0, 4.0

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = min(self.SMALLEST, most)

    def took(self, seconds: float) -> None:
        """Learn from a message of this size that was acknowledged."""
        if seconds < self.FAST_S:
            self.size = min(2 * self.size, self.most)
        elif seconds > self.SLOW_S:
            self.size = max(self.size // 2, min(self.SMALLEST, self.most))


class Sync:
    """File transfer in messages as large as suits phone and link; adb-shell's own reads and writes smaller pieces."""

    def __init__(self, device: AdbDevice, pace: Pace) -> None:
        self._device, self._pace = device, pace
        self._info = device._open(b"sync:", SILENCE_S, NO_LIMIT, None)
        self._out: list[bytes] = []
        self._size = 0
        self._in = memoryview(b"")

    def write(self, data: bytes) -> None:
        if self._size + len(data) > self._pace.size:
            self.flush()
        self._out.append(data)
        self._size += len(data)

    def flush(self) -> None:
        left = b"".join(self._out)
        while left:
            piece, left = left[: self._pace.size], left[self._pace.size :]
            begun = time.monotonic()
            self._device._io_manager.send(
                SizedMessage(constants.WRTE, self._info.local_id, self._info.remote_id, piece), self._info
            )
            while self._receive([constants.OKAY, constants.WRTE, constants.CLSE]) != constants.OKAY:
                pass
            self._pace.took(time.monotonic() - begun)
        self._out, self._size = [], 0

    @property
    def answered(self) -> bool:
        """Whether something has come that nobody has read."""
        return bool(self._in)

    def _receive(self, expected: list[bytes]) -> bytes:
        """Wait for a message of these commands; what it brings is kept for :meth:`read`."""
        command, data = self._device._read_until(expected, self._info)
        if command == constants.CLSE:
            raise ConnectionResetError("the phone ended the transfer")
        if command == constants.WRTE:
            self._in = memoryview(bytes(self._in) + data if self._in else data)
        return bytes(command)

    def head(self) -> tuple[bytes, int]:
        kind, size = struct.unpack("<4sI", self.read(8))
        return kind, size

    def read(self, size: int) -> bytes:
        parts = []
        while size:
            if not self._in:
                self._receive([constants.WRTE, constants.CLSE])
            part = self._in[:size]
            self._in = self._in[len(part) :]
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        self._device._io_manager.send(
            SizedMessage(constants.CLSE, self._info.local_id, self._info.remote_id), self._info
        )
