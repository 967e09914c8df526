"""Messages of native libraries on standard error, captured so that an error can quote them.

Standard library only and Python 3.8 compatible.
"""

import os
import re
import sys
import threading
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, List, Optional, Tuple

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.text import excerpt

#: There is one file descriptor 2 in a process.
_ALONE = threading.RLock()
#: An error as LiteRT and its accelerators log it: "ERROR: [file.cc:7] words", "E0000 time thread file.cc:7] words".
_ERROR = re.compile(r"^(?:ERROR\b|E\d{4} )[^\]]*\] *(\S.*)$", re.MULTILINE)


@contextmanager
def held_back() -> Iterator[Callable[[], str]]:
    """Hold back what native code writes to file descriptor 2 in the block; gives a function that tells it.

    Python's own standard error goes on. If anything but an :class:`AdaScaleError` leaves the block, what was held back
    is written after all. Nothing is held back with ``ADASCALE_DEBUG`` set, or without a place for it.
    """
    with _ALONE:
        descriptors = _descriptors()
        if descriptors is None:
            yield str
            return
        real, place = descriptors
        stream, sys.stderr = sys.stderr, _beside(sys.stderr, real)
        os.dup2(place, 2)
        try:
            yield lambda: os.pread(place, 1 << 20, 0).decode("utf-8", "replace")
        except AdaScaleError:
            raise
        except BaseException:
            os.write(real, os.pread(place, 1 << 20, 0))
            raise
        finally:
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            sys.stderr = stream
            os.dup2(real, 2)
            os.close(real)
            os.close(place)


def _descriptors() -> Optional[Tuple[int, int]]:
    """A copy of descriptor 2, and a place for words; None if nothing is to be held back."""
    if os.environ.get("ADASCALE_DEBUG") or not hasattr(os, "memfd_create"):
        return None
    try:
        real = os.dup(2)
    except OSError:
        return None
    try:
        return real, os.memfd_create("words")
    except OSError:
        os.close(real)
        return None


def _beside(stream: Any, real: int) -> Any:
    """Python's standard error as it should be meanwhile: the same, unless it writes to the descriptor that is taken."""
    try:
        stream.flush()
        if stream.fileno() != 2:
            return stream
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return stream
    return open(real, "w", buffering=1, encoding=stream.encoding, errors=stream.errors, closefd=False)


def reason(words: str) -> str:
    """The first error in a library's words, for the end of a clause: ": WORDS"; empty if there is none."""
    errors: List[str] = _ERROR.findall(words)
    return ": {}".format(excerpt(errors[0], 120).rstrip(".")) if errors else ""
