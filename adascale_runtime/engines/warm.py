"""The pool of loaded branches within a memory budget: it closes the least recently used, and loads new ones aside."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Set

Open = Callable[[str], Any]


class Warm:
    """Runners by option id. ``open_one`` opens one, ``sizes_mb`` says what each holds, ``limit_mb`` what all may hold
    together (None: no limit); ``safe`` is never given up. ``broken`` says why runners could not be opened."""

    def __init__(
        self, open_one: Open, sizes_mb: Mapping[str, Optional[float]], limit_mb: Optional[float], safe: str
    ) -> None:
        self._open, self._sizes, self._limit, self._safe = open_one, dict(sizes_mb), limit_mb, safe
        self._runners: "OrderedDict[str, Any]" = OrderedDict()
        self._preparing: Set[str] = set()
        self._lock = threading.Lock()
        self.broken: Dict[str, str] = {}

    def get(self, key: str) -> Optional[Any]:
        """The runner if it is ready, which makes it the most recently used."""
        with self._lock:
            runner = self._runners.get(key)
            if runner is not None:
                self._runners.move_to_end(key)
            return runner

    def ready(self, key: str) -> bool:
        """Whether a runner could serve now."""
        return key in self._runners

    def put(self, key: str, runner: Any) -> None:
        """Keep a runner that is open already."""
        with self._lock:
            self._runners[key] = runner
            self._make_room(key)

    def drop(self, key: str) -> None:
        """Give a runner up, also one that is being opened."""
        with self._lock:
            self._preparing.discard(key)
            _close(self._runners.pop(key, None))

    def prepare(self, key: str) -> None:
        """Open a runner in the background; nothing happens if it is ready or being opened."""
        with self._lock:
            if key in self._runners or key in self._preparing or key in self.broken:
                return
            self._preparing.add(key)
        threading.Thread(target=self._prepare, args=(key,), name="adascale-prepare", daemon=True).start()

    def _prepare(self, key: str) -> None:
        try:
            runner = self._open(key)
        except Exception as error:  # whatever it is: nobody else would hear of it
            with self._lock:
                self.broken[key] = str(error) or type(error).__name__
                self._preparing.discard(key)
            return
        with self._lock:
            if key in self._preparing:  # else it was dropped meanwhile
                self._preparing.discard(key)
                self._runners[key] = runner
                self._make_room(key)

    def only(self, keys: Sequence[str]) -> None:
        """Keep these ready from now on, whatever they hold, and nothing else; opens at once what is not ready."""
        opened = {key: self.get(key) or self._open(key) for key in keys}
        with self._lock:
            self._limit = None
            self._preparing.clear()
            self._runners = OrderedDict(opened)

    def held_mb(self) -> float:
        """What the ready runners hold."""
        return sum(self._sizes.get(key) or 0.0 for key in list(self._runners))

    def _make_room(self, newest: str) -> None:
        if self._limit is None:
            return
        for key in list(self._runners):
            if self.held_mb() <= self._limit:
                return
            if key not in (newest, self._safe):
                # Not closed here: an inference may still be running on it; its last reference closes it.
                self._runners.pop(key)


def _close(runner: Any) -> None:
    close = getattr(runner, "close", None)
    if close is not None:
        close()
