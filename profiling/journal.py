"""Work in progress as JSON lines: what was finished survives a kill, and the same work continues from it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from adascale_tf import codec
from adascale_tf.errors import BadInput


class Journal:
    """Facts by (kind, key), appended and synced to disk one by one.

    ``settings`` say whose work it is: a journal of other settings is refused with :class:`BadInput`.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self._facts: dict[tuple[str, str], Any] = {}
        if path.exists():
            self._read()
        complete = "".join(codec.dump_line(line) for line in self._lines())
        codec.write_text(path, complete)  # a line that a kill cut off is gone before the next is appended
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._facts:  # nothing was done that could be lost, so nothing stands in the way of other settings
            self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        lines = list(codec.read_lines(self.path))
        if not lines:
            return
        if not all(isinstance(line, dict) for line in lines) or "settings" not in lines[0]:
            raise BadInput(f"{self.path} is not unfinished work of a profile; delete it or choose another --out.")
        if lines[0]["settings"] != self.settings:
            raise BadInput(
                f"{self.path} is unfinished work of another profile (other bundle, delegates, threads or runs); "
                "finish that one with its own command, choose another --out, or delete the file."
            )
        try:
            self._facts = {(line["kind"], line["key"]): line["value"] for line in lines[1:]}
        except KeyError as error:
            raise BadInput(f"{self.path} is damaged (a line has no {error}); delete it to measure anew.") from None

    def _lines(self) -> list[dict[str, Any]]:
        facts = [{"kind": kind, "key": key, "value": value} for (kind, key), value in self._facts.items()]
        return [{"settings": self.settings}, *facts]

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self._facts

    def get(self, kind: str, key: str) -> Any:
        return self._facts[kind, key]

    def all(self, kind: str, prefix: str) -> list[Any]:
        """The values of a kind whose key begins with ``prefix``, in the order in which they were added."""
        return [value for (k, key), value in self._facts.items() if k == kind and key.startswith(prefix)]

    def add(self, kind: str, key: str, value: Any) -> None:
        self._facts[kind, key] = value
        self._file.write(json.dumps({"kind": kind, "key": key, "value": value}, separators=(",", ":")) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

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
    settings, facts = _kept(path)
    if settings is None or any(settings.get(name) != value for name, value in same.items()):
        return
    cells = settings.get("cells", [None])
    left = [cell for cell in cells if cell not in finished]
    if not left:
        path.unlink()
    elif len(left) < len(cells):
        _keep(path, {**settings, "cells": left}, facts)


def adopt(path: Path, same: dict[str, Any], cells: Sequence[str]) -> None:
    """Let a journal serve for other cells: facts of these stay; one of other settings, or without such facts, goes."""
    settings, facts = _kept(path)
    stay = [fact for fact in facts if str(fact.get("key")).split("#")[0] in cells]
    wanted = {**same, "cells": list(cells)}
    if not stay or {**(settings or {}), "cells": list(cells)} != wanted:
        path.unlink()
    else:
        _keep(path, wanted, stay)


def _kept(path: Path) -> tuple[dict[str, Any] | None, list[Any]]:
    """A journal's settings, None if it has none, and its facts."""
    header, *facts = list(codec.read_lines(path)) or [None]
    settings = header.get("settings") if isinstance(header, dict) else None
    return settings if isinstance(settings, dict) else None, facts


def _keep(path: Path, settings: dict[str, Any], facts: Sequence[Any]) -> None:
    codec.write_text(path, "".join(map(codec.dump_line, [{"settings": settings}, *facts])))
