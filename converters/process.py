"""The child process for the TFLite converter and first runs of its output, restarted after a crash.

Starting it takes as long as importing TensorFlow, so who is going to convert calls :func:`start` beforehand.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files.disk import Unwritable
from adascale_runtime.text import ended


class Died(AdaScaleError):
    """The process ended in the middle of its work; the message is what it died of."""


class ConversionRefused(AdaScaleError):
    """The converter does not convert this model, or LiteRT does not load this file; the message is the reason."""


class ConverterProcess:
    """A converter's process. Start it early: the first answer waits until it is ready. One request at a time."""

    def __init__(self) -> None:
        # Calibration runs on the CPU, and an idle process should hold no memory of a GPU.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True,
        )  # fmt: skip
        self._waiting = False

    @property
    def ready(self) -> bool:
        """Whether it lives and owes no answer to somebody who was interrupted before reading it."""
        return self._child.poll() is None and not self._waiting

    @property
    def pid(self) -> int:
        return self._child.pid

    def begin(self, do: str, out: Path, **request: Any) -> Callable[[], None]:
        """Send a request that :mod:`converters.worker` describes; the result waits until ``out`` is written.

        It raises :class:`ConversionRefused` with a reason, :class:`Died` with the signal's name, :class:`Unwritable` if
        the disk is full.
        """
        assert self._child.stdin is not None
        self._waiting = True
        with suppress(BrokenPipeError):  # it died while it was idle; its end is seen when the answer is read
            self._child.stdin.write(json.dumps({"do": do, "out": str(out), **request}) + "\n")
            self._child.stdin.flush()
        return lambda: self._finish(out)

    def _finish(self, out: Path) -> None:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise Died(_cause(self._child.wait()))
        self._waiting = False
        answer = json.loads(line)
        if "disk" in answer:
            raise Unwritable(f"{out} cannot be written ({answer['disk']}); free some space or set TMPDIR.")
        if "refused" in answer:
            raise ConversionRefused(answer["refused"])

    def close(self) -> None:
        """End the process, whatever it does."""
        self._child.kill()
        self._child.wait()


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL, perhaps since memory ran out"
    return ended(code)


_shared: list[ConverterProcess] = []


def start() -> ConverterProcess:
    """The process that all conversions of this program share; a new one if there is none ready."""
    if _shared and _shared[0].ready:
        return _shared[0]
    stop()
    _shared.append(ConverterProcess())
    return _shared[0]


def stop() -> None:
    """End the shared process; :func:`start` begins another one."""
    while _shared:
        _shared.pop().close()


atexit.register(stop)
