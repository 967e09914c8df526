"""Messages of native libraries on standard error and output, captured so that an error can quote them.

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

#: There is one file descriptor 2 in a process, and one 1.
_ALONE = threading.RLock()
#: An error as LiteRT and its accelerators log it: "ERROR: [file.cc:7] words", "E0000 time thread file.cc:7] words".
_ERROR = re.compile(r"^(?:ERROR\b|E\d{4} )[^\]]*\] *(\S.*)$", re.MULTILINE)


@contextmanager
def held_back() -> Iterator[Callable[[], str]]:
    """Hold back what native code writes to file descriptors 1 and 2 in the block; gives a function that tells it.

    Some drivers write remarks to standard output, where facts as JSON go. Python's own streams go on. If anything but
    an :class:`AdaScaleError` leaves the block, what was held back is written after all. Nothing is held back with
    ``ADASCALE_DEBUG`` set, or without a place for it.
    """
    with _ALONE:
        descriptors = _descriptors()
        if descriptors is None:
            yield str
            return
        place, output, real = descriptors
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _beside(sys.stdout, 1, output), _beside(sys.stderr, 2, real)
        os.dup2(place, 1)
        os.dup2(place, 2)
        try:
            yield lambda: os.pread(place, 1 << 20, 0).decode("utf-8", "replace")
        except AdaScaleError:
            raise
        except BaseException:
            os.write(real, os.pread(place, 1 << 20, 0))
            raise
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            sys.stdout, sys.stderr = streams
            os.dup2(output, 1)
            os.dup2(real, 2)
            for descriptor in descriptors:
                os.close(descriptor)


def _descriptors() -> Optional[Tuple[int, int, int]]:
    """A place for words, and copies of descriptors 1 and 2; None if nothing is to be held back."""
    if os.environ.get("ADASCALE_DEBUG") or not hasattr(os, "memfd_create"):
        return None
    made: List[int] = []
    try:
        made.append(os.memfd_create("words"))
        made.append(os.dup(1))
        made.append(os.dup(2))
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        return None
    return made[0], made[1], made[2]


def _beside(stream: Any, taken: int, real: int) -> Any:
    """A stream of Python's as it should be meanwhile: the same, unless it writes to the descriptor that is taken."""
    try:
        stream.flush()
        if stream.fileno() != taken:
            return stream
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return stream
    return open(real, "w", buffering=1, encoding=stream.encoding, errors=stream.errors, closefd=False)


def reason(words: str) -> str:
    """The first error in a library's words, for the end of a clause: ": WORDS"; empty if there is none."""
    errors: List[str] = _ERROR.findall(words)
    return ": {}".format(excerpt(errors[0], 120).rstrip(".")) if errors else ""
