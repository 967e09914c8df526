"""The files of ``train/<class>/*`` and ``test/<class>/*`` in a folder or .zip."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_runtime.text import excerpt

IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")
SOUNDS = (".wav",)
SPLITS = ("train", "test")
#: What systems leave behind; never an example, and not worth a word.
_DEBRIS = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Entry:
    """One example: its split, its class, its name for messages and for reading, and its size in bytes."""

    split: str
    label: str
    name: str
    size: int

    @property
    def is_sound(self) -> bool:
        return self.name.lower().endswith(SOUNDS)


class Files:
    """A folder or an archive, listed once and read file by file; see :func:`opened`.

    ``entries``: the examples, sorted, test before train. ``notes``: a sentence for whatever is there and not used.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self.path = path
        self._zip = archive
        self.notes: list[str] = []
        self.entries = sorted(self._list(), key=lambda e: (e.split, e.label, e.name))

    def read(self, entry: Entry) -> bytes:
        """The content of an example, of no more than the bytes that were declared for it."""
        if self._zip is not None:
            return self._zip.read(entry.name)
        archives.check_size(entry.size, f"{self.path}: {excerpt(entry.name)}")
        try:
            with (self.path / entry.name).open("rb") as file:
                return file.read(entry.size)
        except OSError as error:
            raise _unreadable(f"{self.path}: {excerpt(entry.name)}", error) from None

    def _names(self) -> Iterator[tuple[str, int]]:
        """Names with their sizes in bytes; folders end with a slash."""
        if self._zip is not None:
            yield from ((info.filename, info.file_size) for info in self._zip.infolist())
            return
        for root, folders, names in os.walk(self.path, onerror=self._fail):
            folders[:] = [name for name in folders if not name.startswith(".")]
            here = Path(root).relative_to(self.path)
            yield from (((here / name).as_posix() + "/", 0) for name in folders)
            for name in names:
                try:
                    yield (here / name).as_posix(), (Path(root) / name).stat().st_size
                except OSError as error:
                    raise _unreadable(f"{self.path}: {excerpt((here / name).as_posix())}", error) from None

    def _fail(self, error: OSError) -> None:
        raise _unreadable(str(error.filename), error) from None

    def _list(self) -> list[Entry]:
        entries: list[Entry] = []
        kinds: Counter[str] = Counter()
        unknown, elsewhere, classes = [], [], set()
        for name, size in self._names():
            folders = name.endswith("/")
            parts = PurePosixPath(name).parts
            if len(parts) == (3 if folders else 4) and parts[0] not in SPLITS:  # one folder above train/ and test/
                parts = parts[1:]
            if any(part.startswith((".", "__MACOSX")) or part.lower() in _DEBRIS for part in parts):
                continue
            if folders:
                classes |= {parts} if len(parts) == 2 and parts[0] in SPLITS else set()
            elif len(parts) != 3 or parts[0] not in SPLITS:
                elsewhere.append(name)
            elif name.lower().endswith(IMAGES + SOUNDS):
                entries.append(Entry(parts[0], parts[1], name, size))
            else:
                unknown.append(name)
                kinds[PurePosixPath(name).suffix.lower() or "without a suffix"] += 1
        if unknown:
            counts = ", ".join(f"{n} {excerpt(kind, 20)}" for kind, n in kinds.most_common(5))
            self._note(unknown, f"of kinds that are not read ({counts})")
        if elsewhere:
            self._note(elsewhere, "outside train/<class>/ and test/<class>/")
        filled = {(entry.split, entry.label) for entry in entries}
        for split, label in sorted(classes - filled):
            self.notes.append(f"{self.path}: {split}/{excerpt(label)}/ holds no example that can be read.")
        return entries

    def _note(self, names: list[str], why: str) -> None:
        some = f"{len(names):,} files" if len(names) > 1 else "1 file"
        self.notes.append(f"{self.path}: ignored {some} {why}, as {excerpt(min(names))}.")


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """The files of a folder, or of an archive as long as the block lasts; :class:`BadInput` if it cannot be read."""
    if path.is_dir():
        yield Files(path, None)
        return
    with archives.opened(path) as archive:
        yield Files(path, archive)


def _unreadable(what: str, error: OSError) -> BadInput:
    return BadInput(f"{what} cannot be read ({error.strerror or error}); correct its permissions or remove it.")
