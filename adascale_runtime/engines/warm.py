"""The pool of loaded branches within a memory budget and within what the device has left: it closes the least recently
used, and loads new ones aside."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

if TYPE_CHECKING:
    from adascale_runtime.seams.manifest import Branch

Open = Callable[[str], Any]
#: Seconds for which a runner that was given up for want of memory is not opened again: sizes are estimates.
PAUSE_S = 5.0


def _unknown() -> Optional[float]:
    return None


class Room(NamedTuple):
    """The memory that may be taken: ``free_mb`` tells what is free just now, in MB (None: nobody knows, so all fits),
    ``reserve_mb`` is left to the device."""

    free_mb: Callable[[], Optional[float]] = _unknown
    reserve_mb: float = 0.0

    def holds(self, size_mb: float) -> bool:
        """Whether so much more fits just now."""
        return fits(size_mb, self.free_mb(), self.reserve_mb)

    def lack(self, size_mb: float) -> str:
        """What to say of something that does not fit, from its verb on."""
        return "needs about {:.3g} MB, but only {:.3g} MB are free, of which {:.3g} MB are kept in reserve".format(
            size_mb, self.free_mb() or 0.0, self.reserve_mb
        )


def estimate_mb(branch: "Branch") -> float:
    """What a loaded branch holds, in MB, where nothing predicts it: weights once, activations twice."""
    return (branch.cost.weight_bytes + 2 * branch.cost.peak_bytes) / 1e6


def fits(size_mb: float, free_mb: Optional[float], reserve_mb: float) -> bool:
    """Whether so much more leaves the reserve; what needs nothing fits always."""
    return free_mb is None or size_mb <= max(0.0, free_mb - reserve_mb)


def giving_way(
    held: Sequence[str], sizes_mb: Mapping[str, Optional[float]], missing_mb: float, kept: Collection[Optional[str]]
) -> List[str]:
    """The runners that have to go for so much memory, the least recently used first.

    Args:
        held: What is loaded, the least recently used first.
        sizes_mb: What each holds, in MB; nothing where it is not known.
        missing_mb: What has to be freed, in MB.
        kept: What has to stay.
    """
    given: List[str] = []
    for key in held:
        if missing_mb <= 0.0 or len(given) == len(held) - 1:
            break
        if key not in kept:
            given.append(key)
            missing_mb -= sizes_mb.get(key) or 0.0
    return given


def in_need(size_mb: float, free_mb: Optional[float], reserve_mb: float) -> bool:
    """Whether even what serves has to be left: less than half of the reserve is free, and it holds enough of what is
    missing that leaving it helps.

    Args:
        size_mb: What it holds, in MB.
        free_mb: What is free after all others were given up, in MB; None if that is not known.
        reserve_mb: What should be free.
    """
    return free_mb is not None and 2.0 * free_mb < reserve_mb and 4.0 * size_mb >= reserve_mb - free_mb


class Warm:
    """Runners by option id. ``open_one`` opens one, ``sizes_mb`` says what each holds, ``limit_mb`` what all may hold
    together (None: no limit); ``safe`` is never given up. ``room`` is what the device has left: a runner is prepared
    only if it fits. ``broken`` says why runners could not be opened."""

    def __init__(
        self,
        open_one: Open,
        sizes_mb: Mapping[str, Optional[float]],
        limit_mb: Optional[float],
        safe: str,
        room: Room = Room(),  # noqa: B008  (immutable)
    ) -> None:
        self._open, self._sizes, self._limit, self._safe = open_one, dict(sizes_mb), limit_mb, safe
        self._room = room
        self._runners: "OrderedDict[str, Any]" = OrderedDict()
        self._preparing: Set[str] = set()
        #: When runners were given up, or not opened, for want of memory.
        self._given_s: Dict[str, float] = {}
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
        if not self.holds(key, self._room.free_mb()):
            with self._lock:
                self._given_s[key] = time.monotonic()
                self._preparing.discard(key)
            return
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

    def holds(self, key: str, free_mb: Optional[float]) -> bool:
        """Whether a runner is ready, or may be prepared with so much memory free, beside what is being opened."""
        if free_mb is None or key in self._runners:
            return True
        if time.monotonic() - self._given_s.get(key, -PAUSE_S) < PAUSE_S:
            return False
        others_mb = sum(self._sizes.get(other) or 0.0 for other in list(self._preparing) if other != key)
        return fits((self._sizes.get(key) or 0.0) + others_mb, free_mb, self._room.reserve_mb)

    def give_way(self, free_mb: Optional[float], serving: Optional[str] = None) -> List[str]:
        """Give runners up until the reserve is there again, the least recently used first.

        Args:
            free_mb: What the device has left, in MB; None if that is not known.
            serving: What stays beside the safe one, unless nothing else is left to give and that is not enough
                (:func:`in_need`).

        Returns:
            What was given up.
        """
        if free_mb is None or free_mb >= self._room.reserve_mb:
            return []
        with self._lock:
            missing_mb, kept = self._room.reserve_mb - free_mb, (serving, self._safe)
            given = giving_way(tuple(self._runners), self._sizes, missing_mb, kept)
            if not given and serving is not None and serving != self._safe and serving in self._runners:
                size_mb = self._sizes.get(serving) or 0.0
                given = [serving] if in_need(size_mb, free_mb, self._room.reserve_mb) else []
            runners = [self._runners.pop(key) for key in given]
            late = [key for key in self._preparing if key not in kept]
            self._preparing.difference_update(late)
            self._given_s.update(dict.fromkeys([*given, *late], time.monotonic()))
        if runners:
            with suppress(RuntimeError):  # no memory for a thread: they go when this returns
                threading.Thread(target=_release, args=(runners,), name="adascale-release", daemon=True).start()
        return given

    def only(self, keys: Sequence[str]) -> None:
        """Keep these ready from now on, whatever they hold, and nothing else; opens at once what is not ready."""
        opened = {key: self.get(key) or self._open(key) for key in keys}
        with self._lock:
            self._limit, self._room = None, Room()
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


def _release(runners: List[Any]) -> None:
    """Drop the last references: aside, since that takes time."""
    runners.clear()
    trim()


def trim() -> None:
    """Hand what the C library keeps of freed memory back to the system."""
    with suppress(Exception):  # glibc has it, others do not
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def _close(runner: Any) -> None:
    close = getattr(runner, "close", None)
    if close is not None:
        close()
