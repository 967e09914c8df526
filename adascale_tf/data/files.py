"""The files of a folder or .zip of ``train/<class>/*`` and ``test/<class>/*``, whichever it is."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adascale_tf.errors import BadInput

IMAGES = (".jpg", ".jpeg", ".png")
SOUNDS = (".wav",)
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Entry:
    """One example: its split, its class, its name for messages and for reading."""

    split: str
    label: str
    name: str

    @property
    def is_sound(self) -> bool:
        return self.name.lower().endswith(SOUNDS)


class Files:
    """A folder or an archive, listed once and read file by file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_file():
            try:
                self._zip = zipfile.ZipFile(path)
            except zipfile.BadZipFile:
                raise BadInput(f"{path} is not a whole .zip file; copy it again.") from None
        self.entries = sorted(self._list(), key=lambda e: (e.split, e.label, e.name))

    def read(self, entry: Entry) -> bytes:
        if self._zip is None:
            return (self.path / entry.name).read_bytes()
        try:
            return self._zip.read(entry.name)
        except (zipfile.BadZipFile, EOFError) as error:
            raise BadInput(f"{self.path}: {entry.name} is damaged ({error}); copy the archive again.") from None

    def _names(self) -> Iterator[str]:
        if self._zip is not None:
            yield from (info.filename for info in self._zip.infolist() if not info.is_dir())
        else:
            yield from (p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())

    def _list(self) -> Iterator[Entry]:
        for name in self._names():
            parts = PurePosixPath(name).parts
            if len(parts) == 4:  # one folder above train/ and test/, as archives often have
                parts = parts[1:]
            known = name.lower().endswith(IMAGES + SOUNDS) and not parts[-1].startswith(".")
            if len(parts) == 3 and parts[0] in SPLITS and known:
                yield Entry(parts[0], parts[1], name)
