"""Making text from outside (names of phones and models, reasons, file names) safe to show.

Standard library only and Python 3.8 compatible. The command line shows every message and table cell through
:func:`printable`, so no other module has to escape what it quotes.
"""

from __future__ import annotations

import reprlib
import signal

#: Longest message that is shown whole, in characters.
LIMIT = 2000
_KEPT = "\n\t"


def printable(text: str, limit: int = LIMIT) -> str:
    """``text`` with control characters, lone surrogates and direction marks escaped, cut to ``limit`` characters.

    A terminal would obey an escape sequence in a phone's name; here it is seen as ``\\x1b``.
    """
    cut = text if len(text) <= limit else text[: limit - 4] + " ..."
    return "".join(c if c.isprintable() or c in _KEPT else _escaped(c) for c in cut)


def excerpt(value: object, limit: int = 60) -> str:
    """A value from outside as one short line, for the middle of a sentence."""
    shown = value if isinstance(value, str) else _brief(value)
    return printable(" ".join(shown[: 4 * limit].split()), limit)


def _brief(value: object) -> str:
    """The representation of a value, of which the middle of long or deep ones is left out."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = LIMIT
    brief.maxlist = brief.maxtuple = brief.maxdict = 20
    try:
        return brief.repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes, or objects around objects
        return "a {}".format(type(value).__name__)


def signal_name(number: int) -> str:
    """``SIGSEGV``; real-time signals have a number only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal {}".format(number)


def ended(code: int) -> str:
    """What a process died of, from ``subprocess``' return code: a signal's name, or ``exit code 3``."""
    return signal_name(-code) if code < 0 else "exit code {}".format(code)


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return "\\x{:02x}".format(number)
    return "\\u{:04x}".format(number) if number < 0x10000 else "\\U{:08x}".format(number)
