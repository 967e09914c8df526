"""The TFLite converter in a process of its own: one for all conversions, restarted where it dies.

Starting it takes as long as importing TensorFlow, so who is going to convert calls :func:`start` beforehand.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adascale_tf.disk import Unwritable
from adascale_tf.errors import AdaScaleError


class Died(AdaScaleError):
    """The converter's process ended in the middle of a conversion; the message is what it died of."""


class Refused(AdaScaleError):
    """The converter does not convert this model; the message is its reason."""


class Process:
    """A converter's process. Start it early: :meth:`convert` waits until it is ready."""

    def __init__(self) -> None:
        # Calibration runs on the CPU, and an idle process should hold no memory of a GPU.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True,
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def convert(self, model: Path, inputs: Mapping[str, str], mode: str, calibration: Path, out: Path) -> None:
        """Convert a SavedModel into the .tflite file ``out``; see :mod:`converters.worker` for the arguments.

        :class:`Refused` gives the converter's reason, :class:`Died` its signal; :class:`Unwritable` if the disk is full.
        """
        request = {"model": str(model), "inputs": dict(inputs), "mode": mode}
        answer = self._ask({**request, "calibration": str(calibration), "out": str(out)})
        if "disk" in answer:
            raise Unwritable(f"{out} cannot be written ({answer['disk']}); free some space or set TMPDIR.")
        if "refused" in answer:
            raise Refused(answer["refused"])

    def _ask(self, request: dict[str, Any]) -> dict[str, str]:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        except BaseException:  # interrupted: its answer would be taken for the next request's
            self.close()
            raise
        if not answer:
            raise Died(_cause(self._child.wait()))
        return dict(json.loads(answer))

    def close(self) -> None:
        """End the process, whatever it does."""
        self._child.kill()
        self._child.wait()


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL, perhaps since memory ran out"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


_shared: list[Process] = []


def start() -> Process:
    """The process that all conversions of this program share; a new one if there is none alive."""
    if _shared and _shared[0].alive:
        return _shared[0]
    stop()
    _shared.append(Process())
    return _shared[0]


def stop() -> None:
    """End the shared process; :func:`start` begins another one."""
    while _shared:
        _shared.pop().close()


atexit.register(stop)
