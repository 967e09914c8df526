"""The first run of an unknown file on a delegate, in a process of its own: a crash is a result, not the end.

A .tflite that holds together (:mod:`adascale_tf.model_file`) may still crash the kernels that run it, or never end. So
a branch that this machine has not run yet is tried in a child process, on zeros and on the bundle's samples. What
survives is remembered in ``~/.cache/adascale`` (``XDG_CACHE_HOME``), by the file's sha256, signature, delegate, version
of LiteRT and processor, and is not tried again. A cache that cannot be written or read costs time only.

The child: ``python -m adascale_tf.runtime.trial``; jobs come on standard input, a line of JSON each, and answers go to
standard output. It imports no TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from adascale_tf import bundle as bundles
from adascale_tf import codec, model_file
from adascale_tf.bundle import Branch, Bundle
from adascale_tf.errors import AdaScaleError, BadInput
from adascale_tf.text import excerpt

#: Seconds for one branch; large networks get more, by their multiply-accumulates (the slowest kernels do 1e8 a second).
LIMIT_S, SECONDS_PER_MAC = 60.0, 1e-7
#: Seconds until the child is ready, and seconds that it spends on samples after the first.
START_S, SAMPLES_S = 60.0, 2.0
FORMAT, MOST = "adascale-trials/1", 4000
_READY = "ready"


@dataclass(frozen=True)
class Job:
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
    bundle: Bundle, branches: Iterable[Branch], delegate: str, threads: int = 1, allow_fallback: bool = False
) -> Dict[str, str]:
    """Try those branches that were not tried yet; gives the sentence for each id that crashes or never ends."""
    samples = str(bundle.path(bundle.manifest.samples.file))
    keys = {_key(bundle, branch, delegate): branch for branch in branches}
    jobs: Dict[str, Job] = {}
    for key, branch in keys.items():
        if key not in _known() and key not in _FAILED:
            path, limit_s = str(bundle.path(branch.file)), _limit_s(bundle, branch)
            jobs[key] = Job(path, samples, branch, delegate, threads, allow_fallback, limit_s)
    for key, failure in _try(jobs):
        if failure is None:
            _known()[key] = None
        else:
            _FAILED[key] = failure
    if any(key not in _FAILED for key in jobs):
        _save()
    return {b.id: _sentence(b, delegate, _FAILED[key]) for key, b in keys.items() if key in _FAILED}


def check(bundle: Bundle, branch: Branch, delegate: str, threads: int = 1, allow_fallback: bool = False) -> None:
    """Raise :class:`Crashed` if a branch crashes or never ends on a delegate."""
    for sentence in examine(bundle, (branch,), delegate, threads, allow_fallback).values():
        raise Crashed(sentence)


def remember(bundle: Bundle, delegate: str = "cpu") -> None:
    """Take all branches of a bundle as tried, since this process has just run them on a delegate."""
    _known().update({_key(bundle, branch, delegate): None for branch in bundle.manifest.branches})
    _save()


def _sentence(branch: Branch, delegate: str, failure: str) -> str:
    return "Branch '{}' {}; build the bundle again, or leave the branch out.".format(
        excerpt(branch.id), failure.format("delegate " + delegate)
    )


# --- what was tried before

_KNOWN: Optional[Dict[str, None]] = None
_FAILED: Dict[str, str] = {}


def _place() -> Optional[Path]:
    try:
        root = os.environ.get("XDG_CACHE_HOME") or os.path.join(str(Path.home()), ".cache")
    except RuntimeError:  # no home
        return None
    return Path(root) / "adascale" / "trials.json"


def _known() -> Dict[str, None]:
    """The keys of what survived, oldest first, from the cache at first."""
    global _KNOWN
    if _KNOWN is None:
        _KNOWN = _load()
    return _KNOWN


def _load() -> Dict[str, None]:
    place = _place()
    try:
        data = None if place is None or not place.is_file() else codec.read_json(place)
    except (AdaScaleError, OSError, RecursionError):
        return {}
    keys = data.get("known") if isinstance(data, dict) and data.get("format") == FORMAT else None
    return {key: None for key in keys if isinstance(key, str)} if isinstance(keys, list) else {}


def _save() -> None:
    """Write what is known, with what other processes wrote meanwhile."""
    place = _place()
    if place is None:
        return
    try:
        keys = list({**_load(), **_known()})[-MOST:]
        codec.write_text(place, codec.dump({"format": FORMAT, "known": keys}))
    except (AdaScaleError, OSError):
        pass  # the next process tries again


def _key(bundle: Bundle, branch: Branch, delegate: str) -> str:
    text = "\n".join((_sum(bundle, branch), branch.signature, delegate, _machine()))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _sum(bundle: Bundle, branch: Branch) -> str:
    for entry in bundle.manifest.files:
        if entry.path == branch.file:
            return entry.sha256
    try:
        return bundles.sha256(bundle.path(branch.file))
    except OSError as error:
        raise BadInput("{} cannot be read ({}).".format(bundle.path(branch.file), error.strerror or error)) from None


_MACHINE: List[str] = []


def _machine() -> str:
    """LiteRT's version and the processor."""
    if not _MACHINE:
        try:
            from importlib.metadata import version

            found = version("ai-edge-litert")
        except Exception:  # not installed as a package
            found = "unknown"
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
                names = {line.strip() for line in file if line.startswith(("model name", "Hardware", "CPU part"))}
        except OSError:
            names = {platform.processor()}
        _MACHINE.append("\n".join([found, platform.machine()] + sorted(names)))
    return _MACHINE[0]


# --- the parent's side


def _try(jobs: Dict[str, Job]) -> Iterator[Tuple[str, Optional[str]]]:
    """The failure of each job, or None; a new child after each that died."""
    left = list(jobs)
    while left:
        child = _Child([jobs[key] for key in left])
        try:
            if child.line(START_S) != _READY:  # no second process here: the files are run as they are
                for key in left:
                    yield key, None
                return
            while left:
                key = left.pop(0)
                limit_s = jobs[key].limit_s
                answer = child.line(limit_s)
                if answer is None:
                    yield key, "does not end on {{}} within {:.0f} s".format(limit_s)
                    break
                if not answer:
                    yield key, "crashes on {{}} ({})".format(child.end())
                    break
                yield key, None
        finally:
            child.close()


def _limit_s(bundle: Bundle, branch: Branch) -> float:
    found = model_file.signatures(bundle.path(branch.file), _sum(bundle, branch)).get(branch.signature)
    return LIMIT_S + SECONDS_PER_MAC * (found.macs if found is not None else 0)


class _Child:
    """A process that tries jobs in order and says a line after each."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        root = str(Path(__file__).resolve().parent.parent.parent)
        paths = [root] + [path for path in (os.environ.get("PYTHONPATH"),) if path]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "adascale_tf.runtime.trial"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        self._rest = b""
        assert self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                pipe.write("".join(codec.dump_line(job) for job in jobs).encode())
        except BrokenPipeError:
            pass  # it ended early, which line() tells

    def line(self, limit_s: float) -> Optional[str]:
        """The next line; empty if the process ended, None if it says nothing within ``limit_s`` seconds."""
        assert self._process.stdout is not None
        handle, deadline = self._process.stdout.fileno(), time.monotonic() + limit_s
        while b"\n" not in self._rest:
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            data = os.read(handle, 1 << 16)
            if not data:
                return ""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace")

    def end(self) -> str:
        """How it ended, in a word."""
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else "exit code {}".format(code)

    def close(self) -> None:
        """End it; also one that hangs."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


# --- the child's side


def main() -> None:
    """Try the jobs of standard input."""
    _die_with_parent()
    from adascale_tf.runtime import delegates

    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a delegate prints is no answer
    os.write(answers, _READY.encode() + b"\n")
    for line in sys.stdin:
        job = codec.from_json(Job, json.loads(line), "the job")
        with suppress(Exception):  # an error that the next run, outside, will say as well as this one
            _run(delegates, job)
        os.write(answers, b"survived\n")


def _run(delegates: Any, job: Job) -> None:
    """On zeros, then on real inputs: what crashes may depend on the values."""
    import numpy as np

    branch = job.branch
    runner = delegates.DELEGATES[job.delegate](Path(job.path), branch, job.threads, job.allow_fallback)
    runner.warm()
    begun = time.monotonic()
    for x in np.fromfile(job.samples, "<f4").reshape(-1, *branch.input.shape):
        runner(x)
        if time.monotonic() - begun > SAMPLES_S:
            break


def _die_with_parent() -> None:
    """No child outlives its parent, and none leaves a file of its memory."""
    import ctypes
    import resource

    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (AttributeError, OSError, ValueError):
        pass  # not on this system


if __name__ == "__main__":
    main()
