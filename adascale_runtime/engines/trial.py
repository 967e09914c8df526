"""The first run of an unknown file on a delegate, in a process of its own: a crash is a result, not the end.

A .tflite that holds together (:mod:`adascale_runtime.files.tflite_file`) may still crash the kernels that run it, or
never end. So a branch that this machine has not run yet is tried in a child process, on zeros and on the bundle's
samples. What survives is remembered (:mod:`adascale_runtime.engines.survivors`) and is not tried again.

The child (:mod:`adascale_runtime.engines.trial_child`) takes an attempt from standard input as a line of JSON, and says
with a line on standard output that it is done. It imports no TensorFlow.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, Optional, Set, Tuple

from adascale_runtime.engines import survivors
from adascale_runtime.engines.served import served
from adascale_runtime.engines.warm import Room, estimate_mb
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec, tflite_file
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.text import ended, excerpt

#: Seconds for one branch; large networks get more, by their multiply-accumulates (the slowest kernels do 1e8 a second).
LIMIT_S, SECONDS_PER_MAC = 30.0, 1e-7
#: Megabytes of its own that the child takes beside a branch: the interpreter, numpy and LiteRT took 19 on x86-64.
CHILD_MB = 24.0
#: Seconds until the child is ready.
START_S = 60.0
READY = "ready"
#: The working directory, where anything may lie, gives way to the folder that this package is in.
_CODE = "import sys; sys.path[0] = sys.argv[1]; from adascale_runtime.engines.trial_child import main; main()"
#: How the branches failed that this process tried; those that it could not try, since no child starts here.
_FAILED: Dict[str, str] = {}
_UNTRIED: Set[str] = set()


@dataclass(frozen=True)
class Attempt:
    """A branch to try within ``limit_s`` seconds: ``path`` is its file, ``samples`` the bundle's inputs (float32)."""

    path: str
    samples: str
    branch: Branch
    delegate: str
    threads: int
    allow_fallback: bool
    limit_s: float


class Crashed(AdaScaleError):
    """A branch ends or blocks the process that runs it."""


def examine(
    bundle: Bundle,
    branches: Iterable[Branch],
    delegate: str,
    threads: int = 1,
    allow_fallback: bool = False,
    *,
    room: Room = Room(),  # noqa: B008  (immutable)
) -> Dict[str, str]:
    """Try those branches that were not tried yet.

    Args:
        bundle: Where the branches come from.
        branches: What to try.
        delegate: What runs them.
        threads: With so many threads.
        allow_fallback: Whether the delegate may leave operators to the CPU.
        room: The device's memory: a branch that does not fit beside the child is not tried this time.

    Returns:
        The sentence for each id that crashes, never ends, or was not tried for want of memory.
    """
    samples = str(bundle.path(bundle.manifest.samples.file))
    chosen = [served(branch, delegate) for branch in branches]
    keys = [(survivors.key(bundle, branch, delegate, allow_fallback), branch) for branch in chosen]
    jobs: Dict[str, Attempt] = {}
    for key, branch in keys:
        if key not in survivors.known() and key not in _FAILED and key not in _UNTRIED:
            path, limit_s = str(bundle.path(branch.file)), _limit_s(bundle, branch)
            jobs[key] = Attempt(path, samples, branch, delegate, threads, allow_fallback, limit_s)
    survived, lacking = [], {}
    for key, failure in _try(jobs, room):
        if failure is None:
            survived.append(key)
        elif isinstance(failure, _Lacking):
            lacking[key] = failure
        else:
            _FAILED[key] = failure
    survivors.add(survived)
    _UNTRIED.update(key for key in jobs if key not in _FAILED and key not in survived and key not in lacking)
    said = {**_FAILED, **lacking}
    return {branch.id: _sentence(branch, delegate, said[key]) for key, branch in keys if key in said}


def check(bundle: Bundle, branch: Branch, delegate: str, threads: int = 1, allow_fallback: bool = False) -> None:
    """Raise :class:`Crashed` if a branch crashes or never ends on a delegate."""
    for sentence in examine(bundle, (branch,), delegate, threads, allow_fallback).values():
        raise Crashed(sentence)


def remember(bundle: Bundle, delegate: str = "cpu") -> None:
    """Take all branches of a bundle as tried, since this process has just run them on a delegate."""
    survivors.add([survivors.key(bundle, branch, delegate) for branch in bundle.manifest.branches])


def _sentence(branch: Branch, delegate: str, failure: str) -> str:
    advice = "free some memory" if isinstance(failure, _Lacking) else "build the bundle again"
    return "Branch '{}' {}; {}, or leave the branch out.".format(
        excerpt(branch.id), failure.format("delegate " + delegate), advice
    )


class _Lacking(str):
    """Why a branch was not tried: there is no memory for it."""


def _try(jobs: Dict[str, Attempt], room: Room) -> Iterator[Tuple[str, Optional[str]]]:
    """How each job failed, or None; a new child after each that died. Nothing where there can be no second process.

    Memory is looked at before each job: a child that is there holds what it needs for itself, the next one does not.
    """
    left = list(jobs)
    while left:
        key = left.pop(0)
        lack = _lack(jobs[key].branch, CHILD_MB, room)
        if lack is not None:
            yield key, lack
            continue
        with _Child() as child:
            if child.line(START_S) != READY:
                return
            failure = child.do(jobs[key])
            yield key, failure
            while left and (failure is None or isinstance(failure, _Lacking)):
                key = left.pop(0)
                failure = _lack(jobs[key].branch, 0.0, room) or child.do(jobs[key])
                yield key, failure


def _lack(branch: Branch, beside_mb: float, room: Room) -> Optional[_Lacking]:
    """Why a branch cannot be tried just now with so much memory beside it; None if it can."""
    size_mb = beside_mb + estimate_mb(branch)
    if room.holds(size_mb):
        return None
    return _Lacking("was not tried on {{}}: its first run {}".format(room.lack(size_mb)))


def _limit_s(bundle: Bundle, branch: Branch) -> float:
    work = tflite_file.signatures(bundle.path(branch.file), survivors.sum_of(bundle, branch)).get(branch.signature)
    return LIMIT_S + SECONDS_PER_MAC * (work.macs if work is not None else 0)


class _Child:
    """A process that does one job after the other."""

    def __init__(self) -> None:
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, str(Path(__file__).resolve().parent.parent.parent)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()  # also one that hangs
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def do(self, job: Attempt) -> Optional[str]:
        """How the job failed, to be completed with the delegate's name; None if it did not."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(codec.dump_line(job).encode())
        answer = self.line(job.limit_s)
        if answer is None:
            return "does not end on {{}} within {:.0f} s".format(job.limit_s)
        if not answer:
            return "crashes on {{}} ({})".format(ended(self._process.wait()))
        return None

    def line(self, limit_s: float) -> Optional[str]:
        """The next line; empty if the process ended, None if it says nothing within ``limit_s`` seconds."""
        assert self._process.stdout is not None
        handle, deadline = self._process.stdout.fileno(), time.monotonic() + limit_s
        said = select.poll()  # select() refuses the numbers of a process with a thousand open files
        said.register(handle, select.POLLIN)
        while b"\n" not in self._rest:
            if not said.poll(1000 * max(0.0, deadline - time.monotonic())):
                return None
            data = os.read(handle, 1 << 16)
            if not data:
                return ""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace")
