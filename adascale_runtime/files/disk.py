"""Writing to disks that may be full, read-only or shared: clear errors, and one writer at a time.

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional

from adascale_runtime.errors import BadInput

#: Folders in the making and those that were just replaced, beside their target: ".NAME.xxxxxxxx.partial".
_PARTIAL, _OLD = ".partial", ".old"


class Unwritable(BadInput):
    """A file or folder that cannot be written: the disk is full, read-only, or somebody else's."""


class Busy(BadInput):
    """A file that another process works on."""


@contextmanager
def writing(path: Path, advice: str = "free some space or choose another place") -> Iterator[None]:
    """Turn every ``OSError`` of the block, which writes ``path``, into one sentence (:class:`Unwritable`)."""
    try:
        yield
    except OSError as error:
        raise Unwritable("{} cannot be written ({}); {}.".format(path, error.strerror or error, advice)) from None


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold ``path`` alone on this machine during the block; :class:`Busy` names the process that has it.

    ``what`` says for whom, as in "m.jsonl is being written by process 4711". The lock is a file ``.NAME.lock`` beside
    ``path``; the system releases it when its holder ends, however that is, so it is never stale.
    """
    import fcntl  # not on Windows, where nothing of this project that locks runs

    place = path.with_name(".{}.lock".format(path.name))
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with writing(place):
            handle = os.open(str(place), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise Busy(
                "{} is being {} by process {}; wait for it to end, or choose another place.".format(path, what, holder)
            ) from None
        if still_there(handle, place):
            break
        os.close(handle)  # its last holder removed the file meanwhile
    try:
        with writing(place):
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode("ascii"))
        yield
    finally:
        with suppress(OSError):
            os.unlink(str(place))
        os.close(handle)


def still_there(handle: int, path: Path) -> bool:
    """Whether ``path`` is the file of an open handle: a lock on a file that was removed holds nobody off."""
    try:
        return os.fstat(handle).st_ino == os.stat(str(path)).st_ino
    except FileNotFoundError:
        return False


def hold(folder: Path) -> Optional[int]:
    """Hold a folder until the handle that this gives is closed, at the latest when the process ends.

    None if another process holds it, if it is gone, or where folders cannot be held (some network drives).
    """
    try:
        import fcntl

        handle = os.open(str(folder), os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except OSError:
        os.close(handle)
        return None


@contextmanager
def whole_folder(target: Path, mark: str) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block ends well, and vanishes when it does not.

    An earlier ``target`` is replaced only if it is empty or has a file ``mark``; all else is refused, never deleted.
    What killed processes left beside it is removed. Every ``OSError`` of the block is one sentence (a full disk).
    """
    check_target(target, mark)
    place = Path(os.path.realpath(str(target)))  # a link stays, what it points to is replaced
    with writing(target):
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        folder = Path(tempfile.mkdtemp(_PARTIAL, ".{}.".format(place.name), str(place.parent)))
        held = hold(folder)
        try:
            yield folder
            folder.chmod(0o755)
            _replace(folder, place)
        except BaseException:
            shutil.rmtree(str(folder), ignore_errors=True)
            raise
        finally:
            if held is not None:
                os.close(held)


def _replace(folder: Path, target: Path) -> None:
    """Put a folder in the place of another: what was there goes last, and comes back if this fails."""
    if not target.exists():
        os.replace(str(folder), str(target))
        return
    old = folder.with_suffix(_OLD)
    os.replace(str(target), str(old))
    try:
        os.replace(str(folder), str(target))
    except OSError:
        os.replace(str(old), str(target))
        raise
    shutil.rmtree(str(old), ignore_errors=True)


def _sweep(target: Path) -> None:
    """Remove what killed processes left beside ``target``; a folder that a living one writes is held by it."""
    pattern = re.compile(re.escape(".{}.".format(target.name)) + "[a-z0-9_]{8}" + "({}|{})".format(_PARTIAL, _OLD))
    for left in [p for p in target.parent.iterdir() if pattern.fullmatch(p.name)]:
        held = hold(left)
        if held is not None:
            shutil.rmtree(str(left), ignore_errors=True)
            os.close(held)


def check_target(target: Path, mark: str) -> None:
    """Refuse, before long work, a place where a folder with a file ``mark`` cannot be written."""
    if target.is_file():
        raise BadInput("{} is a file; choose a folder for the bundle.".format(target))
    if target.is_dir() and any(target.iterdir()) and not (target / mark).is_file():
        raise BadInput("{} holds other files; choose an empty or new folder for the bundle.".format(target))
    parent = next(p for p in [target, *target.absolute().parents] if p.is_dir())
    try:  # asking the system for permission bits is not enough: a mount may be read-only, or no disk at all
        os.rmdir(tempfile.mkdtemp(prefix=".adascale.", dir=str(parent)))
    except OSError as error:
        raise BadInput("{} cannot be written ({}); choose another place.".format(parent, error.strerror)) from None
