"""A server that answers each line with a line, on any number of connections, in one thread.

Inferences run one at a time, so more threads would only wait for each other; a thousand silent connections then cost a
thousand small buffers, and a client that does not read its answers holds up nobody. Clients with several lines take
turns. Standard library only.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Deque, Optional, Set, Tuple

#: An answer, and whether it is the last of all.
Answer = Callable[[Optional[bytes]], Tuple[bytes, bool]]
#: Bytes that are read at once; a client with more unread answers than that is not read from.
BLOCK = 1 << 16
#: Seconds within which the last answer has to be sent; between two looks at who is silent.
LAST_S, LOOK_S = 2.0, 1.0
#: What accept raises where no more connections can be had just now.
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Connection:
    """A client: what it has sent and was not answered yet, and answers that it has not read yet."""

    def __init__(self, client: socket.socket, now_s: float) -> None:
        self.socket, self.seen_s = client, now_s
        self._sent, self._unread = bytearray(), bytearray()
        #: Whether the line that is being sent is too long, so that it is forgotten as it comes.
        self._long = False
        #: Whether the client sends no more.
        self._ended = False
        #: Whether it has a turn already.
        self.queued = False

    def take(self, data: bytes, limit: int) -> None:
        """Bytes that came; none: the client sends no more."""
        if not data:
            self._ended = True
            return
        self._sent += data
        if self._long or len(self._sent) > limit:
            self._shorten(limit)

    def _shorten(self, limit: int) -> None:
        end = self._sent.find(b"\n")
        if end < 0 and (self._long or len(self._sent) > limit):
            self._long = True
            self._sent.clear()

    @property
    def ready(self) -> bool:
        """Whether a line can be answered now: there is one, and the client reads its answers."""
        return len(self._unread) < BLOCK and self.has_line()

    def has_line(self) -> bool:
        """Whether a line waits for its answer."""
        return b"\n" in self._sent or (self._ended and (self._long or bool(self._sent)))

    def line(self, limit: int) -> Optional[bytes]:
        """The next line; None for one that is too long."""
        end = self._sent.find(b"\n") + 1 or len(self._sent)
        line = bytes(self._sent[:end])
        del self._sent[:end]
        long, self._long = self._long, False
        return None if long or len(line) > limit else line

    def answer(self, data: bytes) -> None:
        """An answer for the client."""
        self._unread += data

    def send(self) -> None:
        """Send what the client is ready to read."""
        if self._unread:
            del self._unread[: self.socket.send(self._unread)]

    @property
    def interest(self) -> int:
        """What the client is waited for."""
        reads = not self._ended and not self.has_line() and len(self._unread) < BLOCK
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._unread else 0)

    @property
    def over(self) -> bool:
        """Whether all is said."""
        return self._ended and not self._unread and not self.has_line()


class LineServer:
    """Answers lines until an answer is the last.

    Args:
        listener: A socket that listens.
        answer: Gives the answer to a line, None for one that was too long, and whether to stop. It does not raise.
        limit: Bytes that a line may have.
        idle_s: A connection that neither sends nor reads for so many seconds is closed.
    """

    def __init__(self, listener: socket.socket, answer: Answer, limit: int, idle_s: float) -> None:
        self._listener, self._answer, self._limit, self._idle_s = listener, answer, limit, idle_s
        self._selector = selectors.DefaultSelector()
        self._turns: Deque[Connection] = deque()
        self._clients: Set[Connection] = set()
        self._accepts = self._stopped = False
        self._woken, self._wakes = socket.socketpair()
        self._looked_s = time.monotonic()

    def run(self) -> None:
        """Answer; closes all connections at the end, and the listener."""
        self._listener.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self)
        try:
            self._accept(True)
            while not self._stopped and not self._round():
                pass
        finally:
            for client in list(self._clients):
                self._close(client)
            self._selector.close()
            for one in (self._listener, self._woken, self._wakes):
                one.close()

    def stop(self, *_: Any) -> None:
        """End after the answer that is being made; for signals, too."""
        self._stopped = True
        with suppress(OSError):
            self._wakes.send(b"!")

    def _round(self) -> bool:
        """Wait for clients, and answer a line of each; True after the last answer."""
        for key, mask in self._selector.select(0 if self._turns else LOOK_S):
            if key.data is None:
                self._welcome()
            elif key.data is not self and key.data in self._clients:
                self._exchange(key.data, mask)
        for _ in range(len(self._turns)):
            client = self._turns.popleft()
            client.queued = False
            if client not in self._clients:
                continue
            if self._stopped:
                return True
            data, last = self._answer(client.line(self._limit))
            client.answer(data)
            if last:
                self._say_last(client)
                return True
            self._exchange(client, selectors.EVENT_WRITE)
        self._look()
        return False

    def _accept(self, accepts: bool) -> None:
        """Take new connections from now on, or let them wait."""
        if accepts and not self._accepts:
            self._selector.register(self._listener, selectors.EVENT_READ, None)
        if self._accepts and not accepts:
            self._selector.unregister(self._listener)
        self._accepts = accepts

    def _welcome(self) -> None:
        try:
            made, _ = self._listener.accept()
        except OSError as error:  # the client has gone already, or there is no room for more
            if error.errno in _FULL:
                self._accept(False)
            return
        made.setblocking(False)
        client = Connection(made, time.monotonic())
        self._clients.add(client)
        self._selector.register(made, selectors.EVENT_READ, client)

    def _exchange(self, client: Connection, mask: int) -> None:
        """Read and send as far as the client is ready."""
        try:
            if mask & selectors.EVENT_READ:
                client.take(client.socket.recv(BLOCK), self._limit)
                client.seen_s = time.monotonic()
            if mask & selectors.EVENT_WRITE:
                client.send()
                client.seen_s = time.monotonic()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # it left
            self._close(client)
            return
        if client.ready and not client.queued:
            client.queued = True
            self._turns.append(client)
        if client.over:
            self._close(client)
            return
        self._wait_for(client)

    def _wait_for(self, client: Connection) -> None:
        wanted, known = client.interest, self._selector.get_map().get(client.socket)
        if known is not None and known.events == wanted:
            return
        if known is not None:
            self._selector.unregister(client.socket)
        if wanted:
            self._selector.register(client.socket, wanted, client)

    def _close(self, client: Connection) -> None:
        if client.socket in self._selector.get_map():
            self._selector.unregister(client.socket)
        client.socket.close()
        self._clients.remove(client)
        self._accept(True)

    def _look(self) -> None:
        """Close who was silent for too long."""
        now_s = time.monotonic()
        if now_s - self._looked_s < min(LOOK_S, self._idle_s / 4):
            return
        self._looked_s = now_s
        for client in [one for one in self._clients if now_s - one.seen_s > self._idle_s]:
            self._close(client)

    def _say_last(self, client: Connection) -> None:
        """Send what is left for the client that ends all, as far as it reads it."""
        client.socket.settimeout(LAST_S)
        try:
            while client.interest & selectors.EVENT_WRITE:
                client.send()
        except OSError:
            pass


def listening(where: Any, kind: int, backlog: int) -> socket.socket:
    """A socket that listens at an address; OSError if it cannot."""
    made = socket.socket(kind)
    try:
        if kind == socket.AF_INET:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made
