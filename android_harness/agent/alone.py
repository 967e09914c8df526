"""The lock that allows one measuring agent per phone; the system releases it when its holder ends.

A connection may be lost without the phone's adbd knowing, for minutes; its agent goes on measuring, for nobody. The
next agent of the same command ends it, with all its children, and begins when it is gone. An agent of another command
is left alone, and named.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files.disk import still_there, writing
from adascale_runtime.text import excerpt

#: The lock's name, in the folder where the agent works.
LOCK = "lock"
#: Somebody may look whether the lock is free, which holds it for a moment.
GRACE_S = 0.3
#: How long an agent that was killed may take to end.
PATIENCE_S = 15.0


class Taken(AdaScaleError):
    """Another command measures on this phone."""


@dataclass(frozen=True)
class Owner:
    """The command that an agent works for: ``token`` is the same when it is given again; ``who`` says it in words."""

    token: str
    who: str


@contextmanager
def alone(owner: Owner, path: Path = Path(LOCK)) -> Iterator[None]:
    """Hold the lock during the block, after the end of an agent of the same owner; :class:`Taken` if it is another's.

    Forked children hold it too, so it is free only when they have ended.
    """
    handle = _taken(path, owner)
    try:
        yield
    finally:
        with suppress(OSError):
            os.ftruncate(handle, 0)
        os.close(handle)


def _taken(path: Path, owner: Owner) -> int:
    begun = time.monotonic()
    while True:
        with writing(path):
            handle = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - begun
            if waited > GRACE_S:
                _make_way(_holder(handle), owner, waited)
            os.close(handle)
            time.sleep(0.05)
            continue
        except OSError:  # a file system without locks
            return handle
        if still_there(handle, path):
            known = {"pid": os.getpid(), "group": os.getpgrp(), "owner": owner.token, "who": owner.who}
            with writing(path):
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(known).encode("ascii"), 0)
            return handle
        os.close(handle)  # whoever tidied up removed the file meanwhile


def _holder(handle: int) -> Dict[str, Any]:
    """What the lock says of its holder; empty where it says nothing that can be used."""
    try:
        holder = json.loads(os.pread(handle, 4096, 0).decode("utf-8", "replace"))
        if isinstance(holder, dict) and isinstance(holder["pid"], int) and isinstance(holder["group"], int):
            return holder
    except (ValueError, KeyError, RecursionError):
        pass
    return {}


def _make_way(holder: Dict[str, Any], owner: Owner, waited: float) -> None:
    """End the holder if it is ours; :class:`Taken` if it is not, or does not end."""
    if holder and holder.get("owner") == owner.token and waited < PATIENCE_S:
        with suppress(OSError):
            # Its shell and its children are of its group; one that holds the lock still exists, so the number is right.
            if holder["group"] in (0, 1, os.getpgrp()):
                os.kill(holder["pid"], signal.SIGKILL)
            else:
                os.killpg(holder["group"], signal.SIGKILL)
    elif holder.get("owner") != owner.token and (holder or waited > PATIENCE_S):
        raise Taken(sentence(holder))
    elif waited > PATIENCE_S:
        raise Taken(
            "The agent of a lost connection (process {}) cannot be ended; reboot the phone.".format(holder["pid"])
        )


def sentence(holder: Dict[str, Any]) -> str:
    """Who measures on this phone, from what the lock says."""
    who, pid = excerpt(str(holder.get("who", "another command"))), excerpt(str(holder.get("pid", "unknown")))
    return "This phone is being measured by {} (its agent is process {} on the phone); wait for its end.".format(
        who, pid
    )
