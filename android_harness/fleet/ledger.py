"""The ledger of a fleet's measurements: which cells ``--out`` holds for a kind of phone, each added once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from profiling import cells as table
from profiling.cells import Cell
from profiling.device import kind_of


class Ledger:
    """The measurements of a profile's cells in ``out``; a context manager that keeps other fleets from writing there.

    ``run`` names the profile on hosts, ``kinds`` are those that it has met: a restarted coordinator finds both again,
    until :meth:`close`.
    """

    def __init__(self, bundle: Bundle, cells: Sequence[Cell], settings: dict[str, Any], share: str, out: Path) -> None:
        self.cells = {cell.key: cell for cell in cells}
        self.out, self.run = out, ""
        self.kinds: list[str] = []
        self._share, self._state = share, Path(f"{out}.fleet")
        self._same = {"bundle": bundle.digest, "settings": settings}
        self._keys = {(bundle.digest, c.branch.id, c.delegate, c.threads): c.key for c in cells}
        self._settings = settings
        self._found: dict[str, dict[str, Measurement]] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[Ledger]:
        """Read what is there; :class:`BadInput` if another fleet writes there now, or if the file is damaged."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._state, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(f"Another fleet writes to {self.out}; wait for it or choose another --out.") from None
            self.run, self.kinds = self._continued()
            self._remember()
            for measured in records.read([self.out]) if self.out.exists() else []:
                if measured.key in self._keys and measured.settings == self._settings:
                    self._keep(measured)
            yield self
        finally:
            os.close(file)

    def _continued(self) -> tuple[str, list[str]]:
        """The profile's name and the kinds that it met, from the locked file; new ones for other settings."""
        with contextlib.suppress(BadInput):
            told = codec.read_json(self._state)
            if isinstance(told, dict) and {k: told.get(k) for k in self._same} == self._same:
                return str(told["run"]), list(told["kinds"])
        return uuid.uuid4().hex[:12], []

    def _remember(self) -> None:
        """Write into the locked file, not a new one in its place; one that a kill cut off begins a new profile."""
        self._state.write_text(codec.dump({"run": self.run, **self._same, "kinds": self.kinds}), encoding="utf-8")

    def meet(self, kind: str) -> None:
        """Phones of this kind belong to the profile, also if they should be gone when it continues."""
        if kind not in self.kinds:
            self.kinds.append(kind)
            self._remember()

    def kind(self, device: Mapping[str, Any]) -> str:
        """See :func:`profiling.device.kind_of`."""
        return kind_of(device, self._share)

    def groups(self, kind: str) -> list[list[str]]:
        """Cells that a kind of phone lacks, by delegate and threads, in the table's order."""
        groups: dict[tuple[str, int], list[str]] = {}
        for key, cell in self.cells.items():
            if key not in self._found.get(kind, {}):
                groups.setdefault((cell.delegate, cell.threads), []).append(key)
        return list(groups.values())

    def key(self, measured: Measurement) -> str | None:
        """The cell that a measurement belongs to; None if it is none of this profile's."""
        return self._keys.get(measured.key)

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Write measurements down at once."""
        new = list(measurements)
        if new:
            table.append(self.out, new)
            for measured in new:
                self._keep(measured)

    def _keep(self, measured: Measurement) -> None:
        self._found.setdefault(self.kind(measured.device), {})[self._keys[measured.key]] = measured

    def done(self, kind: str) -> int:
        """How many cells of a kind of phone are measured."""
        return len(self._found.get(kind, {}))

    def measurements(self, kinds: Iterable[str]) -> list[Measurement]:
        """What is measured of these kinds, in the table's order."""
        return [self._found[k][key] for k in kinds if k in self._found for key in self.cells if key in self._found[k]]

    def close(self) -> None:
        """All is done: the next profile with this output begins anew on its hosts."""
        self._state.unlink(missing_ok=True)
