"""Real load beside an experiment: processes that burn CPU at this process's own priority."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType

# The child ends when its standard input closes, so no burner outlives a killed parent.
_BURN = """
import sys, threading, os
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
x = 0
while True:
    x += 1
"""


class Burners:
    """``count`` processes that each want a whole core, while the ``with`` block lasts."""

    def __init__(self, count: int = 0) -> None:
        self.children: list[subprocess.Popen[bytes]] = []
        self._first = count

    def resize(self, count: int) -> None:
        """Start or end burners until ``count`` run."""
        while len(self.children) < count:
            self.children.append(subprocess.Popen([sys.executable, "-c", _BURN], stdin=subprocess.PIPE))
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
