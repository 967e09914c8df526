"""The journal of an experiment: finished jobs as JSON lines, from which a killed experiment resumes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec, disk
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import facts
from adascale_runtime.seams.facts import Fact

KEPT = "free some space and run the same command again to resume"


class Journal:
    """Facts by (kind, key), appended and synced to disk one by one.

    ``settings`` say whose work it is: a journal of other settings is refused with :class:`BadInput`. Lines that are no
    facts (a disk error, an agent of an earlier version) are dropped, and ``tick`` is told once how many.
    """

    def __init__(self, path: Path, settings: dict[str, Any], tick: Tick = silent) -> None:
        self.path = path
        self.settings = settings
        self._facts: dict[tuple[str, str], Fact] = {}
        if path.exists():
            dropped = self._read()
            if dropped:
                lines = "1 damaged line is" if dropped == 1 else f"{dropped} damaged lines are"
                tick(path.name, len(self._facts), len(self._facts) + dropped, f"{lines} measured again")
        complete = "".join(codec.dump_line(line) for line in self._lines())
        with disk.writing(path, KEPT):
            codec.write_text(path, complete)  # a line that a kill cut off is gone before the next is appended
            self._file = path.open("ab", buffering=0)
            self._size = self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._facts:  # nothing was done that could be lost, so nothing stands in the way of other settings
            self.path.unlink(missing_ok=True)

    def _read(self) -> int:
        """Take the facts of an earlier journal over; gives the number of lines that hold none."""
        header, *lines = list(_lines_of(self.path)) or [{"settings": self.settings}]
        if not isinstance(header, dict) or "settings" not in header:
            raise BadInput(f"{self.path} is not unfinished work of a profile; delete it or choose another --out.")
        if header["settings"] != self.settings:
            raise BadInput(
                f"{self.path} is unfinished work of another profile (other bundle, delegates, threads or runs); "
                "finish that one with its own command, choose another --out, or delete the file."
            )
        dropped = 0
        for line in lines:
            fact = _fact(line)
            if fact is None:
                dropped += 1
            else:
                self._facts[line["kind"], line["key"]] = fact
        return dropped

    def _lines(self) -> list[dict[str, Any]]:
        known = [{"kind": kind, "key": key, "value": value} for (kind, key), value in self._facts.items()]
        return [{"settings": self.settings}, *known]

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self._facts

    def get(self, kind: str, key: str) -> Any:
        return self._facts[kind, key]

    def all(self, kind: str, prefix: str) -> list[Any]:
        """The values of a kind whose key begins with ``prefix``, in the order in which they were added."""
        return [value for (k, key), value in self._facts.items() if k == kind and key.startswith(prefix)]

    def add(self, kind: str, key: str, value: Fact) -> None:
        """Keep a fact; on a full disk the journal stays as it was (:class:`adascale_runtime.files.disk.Unwritable`)."""
        line = codec.dump_line({"kind": kind, "key": key, "value": value}).encode()
        with disk.writing(self.path, KEPT):
            try:
                left = memoryview(line)
                while left:
                    left = left[self._file.write(left) :]
                os.fsync(self._file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(self._size)
                raise
        self._size += len(line)
        self._facts[kind, key] = value

    def forget(self, kind: str, useless: Callable[[Any], bool]) -> None:
        """Leave out facts of a kind that cannot be used, so that they are measured anew."""
        self._facts = {k: fact for k, fact in self._facts.items() if k[0] != kind or not useless(fact)}

    def remove(self) -> None:
        """The work is done and stands elsewhere."""
        self._file.close()
        self.path.unlink()


def settle(path: Path, same: dict[str, Any], finished: Collection[str]) -> None:
    """Strike cells from a journal that a kill left behind after their measurements were written; remove it if none is
    left.

    ``same``: what its settings must hold, else it is other unfinished work and stays. ``finished``: keys of cells.
    """
    if not path.exists():
        return
    settings, kept = _kept(path)
    if settings is None or any(settings.get(name) != same.get(name) for name in {"again", *same}):
        return
    cells = settings.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        return
    left = [cell for cell in cells if cell not in finished]
    if not left:
        path.unlink()
    elif len(left) < len(cells):
        _keep(path, {**settings, "cells": left}, kept)


def adopt(path: Path, same: dict[str, Any], cells: Sequence[str]) -> None:
    """Let a journal serve for other cells: facts of these stay; one of other settings, or without such facts, goes."""
    settings, kept = _kept(path)
    stay = [fact for fact in kept if fact["key"].split("#")[0] in cells]
    wanted = {**same, "cells": list(cells)}
    if not stay or {**(settings or {}), "cells": list(cells)} != wanted:
        path.unlink()
    else:
        _keep(path, wanted, stay)


def settings_of(path: Path) -> dict[str, Any] | None:
    """The settings of a journal, None if it has none."""
    return _kept(path)[0]


def _kept(path: Path) -> tuple[dict[str, Any] | None, list[Any]]:
    """A journal's settings, None if it has none, and its lines that are facts."""
    header, *lines = list(_lines_of(path)) or [None]
    settings = header.get("settings") if isinstance(header, dict) else None
    return settings if isinstance(settings, dict) else None, [line for line in lines if _fact(line) is not None]


def _keep(path: Path, settings: dict[str, Any], kept: Sequence[Any]) -> None:
    codec.write_text(path, "".join(map(codec.dump_line, [{"settings": settings}, *kept])))


def _lines_of(path: Path) -> Iterator[Any]:
    """The lines of a journal, None for one that is not JSON; a last one without its newline is left out."""
    for line in codec.read_bytes(path).split(b"\n")[:-1]:
        try:
            yield codec.parse(line, str(path))
        except BadInput:
            yield None


def _fact(line: Any) -> Fact | None:
    """The fact in a line of a journal, if it is one."""
    if not isinstance(line, dict) or not isinstance(line.get("kind"), str) or not isinstance(line.get("key"), str):
        return None
    try:
        return facts.check(line["kind"], line.get("value"), line["key"])
    except BadInput:
        return None
