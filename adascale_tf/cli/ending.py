"""The end of a command: exceptions become one sentence on standard error and an exit code.

0 done, 1 the job failed, 2 bad input, 130 interrupted (SIGINT), 143 terminated (SIGTERM). A failure of the system (a
full disk, no memory) is a sentence too; anything else is a defect of this program and keeps its traceback, as
everything does with ``ADASCALE_DEBUG=1``.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from adascale_runtime.errors import AdaScaleError
from adascale_tf.cli import console

_KEPT = "finished work is kept. Run the same command again to continue, or to start over if nothing was kept."


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def run(command: Callable[[], Any]) -> int:
    """Run a command to its end: its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 should not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with _signals():
        try:
            return _flushed(_code(command))
        except BrokenPipeError:
            _forget_stdout()
            return 1


def incomplete(problems: Sequence[str], what: str = "measured") -> None:
    """End the command with code 1 and a sentence for each problem, if there are any: for all that was not ``what``."""
    if problems:
        raise AdaScaleError(f"{len(problems)} not {what}:\n  " + "\n  ".join(problems))


def _flushed(code: int) -> int:
    """``code``, or 1 where the end of the output cannot be written."""
    try:
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_stdout()
        _fail(_system(error))
        return 1


def _code(command: Callable[[], Any]) -> int:
    try:
        code = command()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        buffer = io.StringIO()
        error.show(file=buffer)
        console.say(buffer.getvalue().rstrip("\n"), err=True)
        return 2
    except AdaScaleError as error:
        _fail(str(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        # click before 8.1.4 raises its Abort without naming the cause
        cause = (error.__cause__ or error.__context__) if isinstance(error, click.Abort) else error
        if isinstance(cause, EOFError):  # click takes it for the end of a dialog, but nothing here asks
            raise cause from None
        terminated = isinstance(cause, Terminated)
        _fail(f"{'terminated' if terminated else 'interrupted'}; {_KEPT}")
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except BrokenPipeError:
        raise
    except (OSError, MemoryError, RecursionError) as error:
        if os.environ.get("ADASCALE_DEBUG"):
            raise
        _fail(_system(error))
        return 1


def _system(error: BaseException) -> str:
    """What the system refused, as a sentence."""
    if isinstance(error, MemoryError):
        return "This machine has too little memory; close other programs, or give less data."
    if isinstance(error, RecursionError):
        return "An input is nested too deeply; set ADASCALE_DEBUG=1 to see where."
    assert isinstance(error, OSError)
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    where = f" ({', '.join(names)})" if names else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{where}; free some space and run the command again."
    return (
        f"The operating system reported an error{where}: {error.strerror or error}; set ADASCALE_DEBUG=1 to see where."
    )


def _fail(sentence: str) -> None:
    with suppress(OSError):  # nobody may listen any more
        console.say(f"adascale: {sentence}", err=True)


def _forget_stdout() -> None:
    """Let Python's last flush go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _signals() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminated(number: int, frame: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminated)
    # Start-up may have left a handler of its own; an ignored signal (nohup, a background job) stays ignored.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
