"""The process in which :mod:`adascale_runtime.engines.trial` runs unknown files for the first time."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from adascale_runtime.engines import tensor
from adascale_runtime.engines.registry import opener
from adascale_runtime.engines.trial import READY, Attempt
from adascale_runtime.files import codec

#: The share of all memory that the child may take, so that a file which asks for more hurts nobody else.
MEMORY = 0.8
#: Seconds that it spends on samples after the first.
SAMPLES_S = 2.0


def main() -> None:
    """Try the jobs of standard input."""
    _bound()
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a delegate prints is no answer
    os.write(answers, READY.encode() + b"\n")
    for line in sys.stdin:
        with suppress(Exception):  # an error that the next run, outside, will say as well as this one
            _run(codec.from_json(Attempt, json.loads(line), "the job"))
        os.write(answers, b"survived\n")


def _run(job: Attempt) -> None:
    """On zeros, then on real inputs: what crashes may depend on the values."""
    branch = job.branch
    runner = opener(job.delegate)(Path(job.path), branch, job.threads, job.allow_fallback)
    runner.warm()
    begun = time.monotonic()
    for x in tensor.samples(Path(job.samples).read_bytes(), branch.input.shape):
        runner(x)
        if time.monotonic() - begun > SAMPLES_S:
            break


def _bound() -> None:
    """No child outlives its parent, takes all memory, or leaves a file of it."""
    import ctypes
    import resource

    with suppress(OSError):  # where memory runs out, the kernel ends this process, not the one that waits for it
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = int(MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    except (AttributeError, OSError, ValueError):
        pass  # not on this system
