"""Real load during an experiment: processes that use CPU or memory at this process's priority."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType

# The child ends when its standard input closes, so no burner outlives a killed parent.
_BURN = """
import sys, threading, os
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
if len(sys.argv) > 1 and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[1])})
x = 0
while True:
    x += 1
"""

# Walks over its memory for ever, so that the pages stay resident and the shared caches are taken.
_HOLD = """
import sys, threading, os
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
held = bytearray(int(sys.argv[1]))
held[::4096] = bytes([1]) * len(held[::4096])
print(flush=True)
while True:
    held.count(2)
"""


def _cores() -> list[int]:
    """The cores that this process may use; none where the system does not report it."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Holder:
    """A process that holds and reads so many bytes of memory, while the ``with`` block lasts; it takes a core, too."""

    def __init__(self, size_bytes: int) -> None:
        self._size = size_bytes

    def __enter__(self) -> Holder:
        command = [sys.executable, "-c", _HOLD, str(self._size)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.child.stdout is not None
        self.child.stdout.readline()  # until every page is there
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.kill()
        self.child.communicate()


class Burners:
    """``count`` processes that each want a whole core, while the ``with`` block lasts.

    ``pinned``: each stays on a core of its own, as far as there are cores. Where they move freely, two of them on two
    cores leave a third process anything from half a core to a whole one, for seconds on end.
    """

    def __init__(self, count: int = 0, pinned: bool = False) -> None:
        self.children: list[subprocess.Popen[bytes]] = []
        self._first = count
        self._cores = _cores() if pinned else []

    def resize(self, count: int) -> None:
        """Start or end burners until ``count`` run."""
        while len(self.children) < count:
            core = [str(self._cores[len(self.children) % len(self._cores)])] if self._cores else []
            self.children.append(subprocess.Popen([sys.executable, "-c", _BURN, *core], stdin=subprocess.PIPE))
        while len(self.children) > count:
            child = self.children.pop()
            child.kill()
            child.wait()
            if child.stdin is not None:
                child.stdin.close()

    def __enter__(self) -> Burners:
        self.resize(self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resize(0)
