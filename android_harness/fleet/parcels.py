"""Parcels: files that hosts need (the bundle, LiteRT, a tool), sent to each host once and cached by digest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.seams.bundle import MANIFEST, Bundle
from android_harness.store import accelerators_of

#: Parcels that no profile used for so long make room.
UNUSED_S = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Parcel:
    """Packed files. ``digest``: the same for the same names and contents, on every computer."""

    digest: str
    data: bytes


def pack(files: Mapping[str, Path]) -> Parcel:
    """Files by the names they get on the host; :class:`BadInput` if one cannot be read."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:  # neither compressed nor dated: models hardly shrink
        for name, path in sorted(files.items()):
            try:
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
            except OSError as error:
                raise BadInput(f"{path} cannot be read ({error.strerror}); name a file that is there.") from None
    data = packed.getvalue()
    return Parcel(_digest(data), data)


def of_bundle(bundle: Bundle) -> Parcel:
    """All files of a bundle; unpacked they are a bundle's folder."""
    names = [MANIFEST, *(entry.path for entry in bundle.manifest.files)]
    return pack({name: bundle.path(name) for name in names})


def of_file(path: Path) -> Parcel:
    """A file by its own name; a ``libLiteRt.so`` takes the accelerators that lie beside it along."""
    beside = accelerators_of(path) if path.suffix == ".so" else []
    return pack({file.name: file for file in [path, *beside]})


def cache() -> Path:
    """Where a host keeps parcels and unfinished leases: ``$XDG_CACHE_HOME/adascale/fleet``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adascale" / "fleet"


def missing(digests: Iterable[str]) -> list[str]:
    """Which parcels this host lacks."""
    return [digest for digest in digests if not _folder(digest).is_dir()]


def keep(digest: str, data: bytes) -> None:
    """Unpack a parcel on this host, whole or not at all, and remove those that nobody uses any more.

    Raises :class:`AdaScaleError` if the data are not those of the digest.
    """
    if _digest(data) != digest:
        raise AdaScaleError(f"The parcel {digest} arrived damaged; it is sent again.")
    parent = _folder(digest).parent
    parent.mkdir(parents=True, exist_ok=True)
    with held(parent / ".lock"):
        for old in parent.iterdir():
            if old.is_dir() and old.name != digest and time.time() - old.stat().st_mtime > UNUSED_S:
                shutil.rmtree(old, ignore_errors=True)
        if _folder(digest).is_dir():
            return
        folder = Path(tempfile.mkdtemp(prefix=".", dir=parent))
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                archive.extractall(folder)
            folder.rename(_folder(digest))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def place(digest: str) -> Path:
    """The folder of a parcel that was kept; it counts as used now."""
    folder = _folder(digest)
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder


@contextlib.contextmanager
def held(lock: Path, patience_s: float | None = None) -> Iterator[bool]:
    """Hold a lock among all threads and processes of this machine while the block runs.

    Gives whether it is held, which is always so unless ``patience_s`` (seconds) limits the wait.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _lock(file, patience_s)
    finally:
        os.close(file)


def _lock(file: int, patience_s: float | None) -> bool:
    if patience_s is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)


def _folder(digest: str) -> Path:
    return cache() / "parcels" / digest


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
