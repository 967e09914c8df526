"""Writing to disks that may be full, read-only or shared: an error is a sentence, and one writer at a time.

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from adascale_tf.errors import BadInput


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
                "{} is being {} by process {}; wait for its end, or choose another place.".format(path, what, holder)
            ) from None
        # Its last holder removes the file; a lock on a removed file holds nobody off.
        try:
            if os.fstat(handle).st_ino == os.stat(str(place)).st_ino:
                break
        except FileNotFoundError:
            pass
        os.close(handle)
    try:
        with writing(place):
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode("ascii"))
        yield
    finally:
        with suppress(OSError):
            os.unlink(str(place))
        os.close(handle)
