"""Anchors: small fixed kernels that run beside every block of timed runs and tell how fast the device is just then.

Three .tflite files of one operator each are part of this package (:mod:`profiling.anchor_files` writes them): a
convolution in floating point, one in integers, and the mean over a tensor that, with its copy, does not fit a level 2
cache. They always run on the CPU with XNNPACK and one thread, in the process that measures and with the LiteRT that it
uses. Standard library, Python 3.8.
"""

from __future__ import annotations

import math
import os
import pkgutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

from adascale_runtime.engines import delegates
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import speed
from adascale_runtime.seams.manifest import Accuracy, Branch, Cost, TensorSpec, Verification
from adascale_runtime.seams.pace import KINDS, Pace

DELEGATE, SIGNATURE = "cpu", "kernel"
#: Timed groups of runs of each anchor at a moment, whose mean counts: a median is not slowed down in proportion where
#: something takes a share of each moment (:mod:`adascale_runtime.seams.speed`). One more run comes first and warms its
#: caches.
GROUPS = 3
#: A group lasts about so long, in nanoseconds, and has at most so many runs: a single run of some hundredths of a
#: millisecond slips through between what slows the device down.
GROUP_NS, MOST = 120_000, 8
#: The input of each kind, and the shape of its output.
_SPECS: Dict[str, Tuple[TensorSpec, Tuple[int, ...]]] = {
    "float": (TensorSpec("x", (1, 24, 24, 16), "float32"), (1, 24, 24, 16)),
    "integer": (TensorSpec("x", (1, 24, 24, 32), "int8", 0.05, 0), (1, 24, 24, 32)),
    "memory": (TensorSpec("x", (1, 64, 64, 40), "float32"), (1, 40)),
}


class Anchors:
    """Anchors that are open. ``kernels``: by kind, what runs one once; None for one that cannot run here."""

    def __init__(self, kernels: Dict[str, Optional[Callable[[], Any]]]) -> None:
        self._kernels = kernels
        #: The shortest run of each kind so far, in nanoseconds: one that was interrupted says nothing of how many runs
        #: a group needs, and groups of one run tell too slow a device.
        self._shortest_ns: Dict[str, float] = {}

    def pace(self, run: int) -> Pace:
        """What each anchor takes now; ``run`` is how many timed runs were done before.

        Of each kind one untimed run and the mean of three groups of runs, without groups that waited for a time slice
        of another process; in all about a millisecond on a host.
        """
        begun = round(time.monotonic(), 3)
        return Pace(run, self._time("float"), self._time("integer"), self._time("memory"), begun)

    def _time(self, kind: str) -> Optional[float]:
        kernel = self._kernels.get(kind)
        if kernel is None:
            return None
        spent = []
        try:
            shortest = min(self._shortest_ns.get(kind, math.inf), max(1, _elapsed_ns(kernel, 1)))
            runs = max(1, min(MOST, round(GROUP_NS / shortest)))
            for _ in range(GROUPS):
                spent.append(_elapsed_ns(kernel, runs) / runs)
            self._shortest_ns[kind] = max(1.0, min(shortest, *spent))
        except AdaScaleError:  # a measurement without an anchor is better than none
            self._kernels[kind] = None
            return None
        return round(speed.level(spent) / 1e6, 6)


def _elapsed_ns(kernel: Callable[[], Any], runs: int) -> int:
    before = time.perf_counter_ns()
    for _ in range(runs):
        kernel()
    return time.perf_counter_ns() - before


def open_anchors(kinds: Iterable[str] = KINDS) -> Anchors:
    """Anchors on the CPU delegate that this process has; those that cannot be opened or run are left out.

    ``kinds``: of :data:`~adascale_runtime.seams.pace.KINDS`, those that are wanted.
    """
    return Anchors({kind: _open(kind) for kind in kinds})


def data(kind: str) -> bytes:
    """The .tflite file of an anchor, one of :data:`~adascale_runtime.seams.pace.KINDS`; also from inside a zip file."""
    found = pkgutil.get_data(__name__, _name(kind))
    if found is None:
        raise OSError("{} is not there".format(_name(kind)))
    return found


def branch(kind: str) -> Branch:
    """An anchor as a branch of no bundle, for openers of delegates."""
    (spec, shape), name = _SPECS[kind], "anchor-{}".format(kind)
    return Branch(
        id=name, recipe=name, exit=1, precision="int8" if kind == "integer" else "float32", file=_name(kind),
        signature=SIGNATURE, size_bytes=0, input=spec, output=replace(spec, name="y", shape=shape),
        cost=Cost(0, 0, 0, 0, 0, 1),
        accuracy=Accuracy("none", 0.0, 0, "none"), verification=Verification(0, 0.0, 0.0, 0.0), expected="",
    )  # fmt: skip


def _name(kind: str) -> str:
    return "anchor-{}.tflite".format(kind)


def _open(kind: str) -> Optional[Callable[[], Any]]:
    try:
        own = Path(__file__).with_name(_name(kind))
        opened = _loaded(own, kind) if own.is_file() else _unpacked(kind)
        stored = opened.quantize(opened.zeros())
        if not isinstance(stored, bytes):
            stored = stored.copy()  # numpy's zeros are one page of the system until they are written
        opened.invoke(stored)
    except (AdaScaleError, OSError):
        return None
    return lambda: opened.invoke(stored)


def _loaded(path: Path, kind: str) -> Any:
    return delegates.opener(DELEGATE)(path, branch(kind), 1, False)


def _unpacked(kind: str) -> Any:
    """An anchor from inside a zip file: LiteRT opens a file, which it maps, so that the name is not needed after."""
    handle, path = tempfile.mkstemp(suffix=".tflite")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data(kind))
        return _loaded(Path(path), kind)
    finally:
        os.unlink(path)
