"""Pieces of measuring work, each in a process of its own: what crashes there is a result, not an end.

The functions of :data:`WORK` run in a forked child and give plain JSON values.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple  # noqa: F401  (List is in a type comment)

from adascale_runtime.device import sensors
from adascale_runtime.engines import accelerators, delegates, tensor
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams.bundle import MANIFEST, Bundle, Manifest
from adascale_runtime.text import signal_name
from android_harness.agent import engines

WARMUP = 3
#: A block ends after this long, with at least two runs: reference kernels are 30 times slower than XNNPACK.
BLOCK_S = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Place:
    """Where and with what work is done: the bundle's folder, the C library, the device's root, the cores to use."""

    bundle: str
    library: Optional[str] = None
    root: str = "/"
    cores: Tuple[int, ...] = ()
    allow_fallback: bool = False
    op_profile: bool = False


@dataclass(frozen=True)
class Job:
    """One piece of work on a cell: ``kind`` is a function of :data:`WORK`. ``skip``: timed runs done in earlier
    rounds, so that every sample has its turn."""

    kind: str
    key: str
    cell: str
    branch: str
    delegate: str
    threads: int
    runs: int = 0
    skip: int = 0


class Failed(Exception):
    """A piece of work that cannot be done; the message says why."""


def open_bundle(folder: str) -> Bundle:
    """The bundle without checking checksums again: whoever brought it here has checked them."""
    root = Path(folder)
    return Bundle(root, codec.from_json(Manifest, codec.read_json(root / MANIFEST), MANIFEST))


def samples(bundle: Bundle) -> Tuple[tensor.Tensor, ...]:
    """The bundle's real sample inputs."""
    data = bundle.path(bundle.manifest.samples.file).read_bytes()
    return tensor.read(data, bundle.manifest.branches[0].input.shape)


def _open(place: Place, task: Job) -> Tuple[Bundle, Any]:
    bundle = open_bundle(place.bundle)
    engines.install(place.library)
    branch = bundle.manifest.branch(task.branch)
    return bundle, delegates.open_untried(bundle, branch, task.delegate, task.threads, place.allow_fallback)


def process(place: Place, task: Job) -> Dict[str, Any]:
    """``load_ms`` and ``memory_mb``: growth of this process's peak memory by loading the branch and three runs."""
    engines.install(place.library)  # its own memory is not the branch's
    before, begun = _peak_kb(), time.perf_counter()
    _, runner = _open(place, task)
    load_ms = 1e3 * (time.perf_counter() - begun)
    for _ in range(3):
        runner.warm()
    after = _peak_kb()
    if before is None or after is None:
        return {"load_ms": load_ms, "memory_mb": None, "reason": "this system does not tell a process's peak memory"}
    return {"load_ms": load_ms, "memory_mb": (after - before) / 1024, "reason": None}


def _peak_kb() -> Optional[int]:
    try:
        for line in sensors.read("/", "/proc/self/status").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def start(place: Place, task: Job) -> Dict[str, Any]:
    """What is known before the first timed run: warm-up, correctness, what the delegate took."""
    bundle, runner = _open(place, task)
    branch, inputs = runner.branch, samples(bundle)
    warmup = [_timed(runner, inputs[0].quantize(branch.input)) for _ in range(WARMUP)]
    expected = tensor.read(bundle.path(branch.expected).read_bytes(), branch.output.shape)
    same, difference = 0, 0.0
    for x, wanted in zip(inputs, expected):
        output = runner(x)
        same += output.argmax() == wanted.argmax()
        gaps = [abs(a - b) for a, b in zip(output.values, wanted.values)]
        difference = max([difference] + [gap if math.isfinite(gap) else math.inf for gap in gaps])
    taken = None
    reason: Optional[str] = "the Python package of LiteRT does not tell"
    if place.library is not None:
        path = str(bundle.path(branch.file))
        taken, reason = accelerators.taken(delegates.library(place.library), path, branch.signature, task.delegate)
    operators: Tuple[Any, ...] = ()
    if place.op_profile and place.library is not None:
        found = delegates.library(place.library)
        operators = accelerators.profile(
            found, str(bundle.path(branch.file)), branch.signature, task.delegate, task.threads
        )
    return {
        "operators": codec.to_json(operators),
        "warmup_ms": warmup,
        "agreement": same / len(inputs),
        "difference": difference if math.isfinite(difference) else None,
        "delegation": codec.to_json(taken),
        "delegation_reason": reason,
    }


def block(place: Place, task: Job) -> Dict[str, Any]:
    """A block of timed runs, after one that warms the caches."""
    bundle, runner = _open(place, task)
    inputs = samples(bundle)
    stored = [x.quantize(runner.branch.input) for x in inputs[task.skip % len(inputs) :] + inputs]
    _timed(runner, stored[0])
    begun, latencies = time.perf_counter(), []  # type: Tuple[float, List[float]]
    while len(latencies) < task.runs and (len(latencies) < 2 or time.perf_counter() - begun < BLOCK_S):
        latencies.append(_timed(runner, stored[len(latencies) % len(inputs)]))
    return {"latency_ms": latencies}


def busy(place: Place, task: Job) -> Dict[str, Any]:
    """Runs without a pause for ``task.runs`` milliseconds; when they began and ended, by the monotonic clock."""
    bundle, runner = _open(place, task)
    stored = samples(bundle)[0].quantize(runner.branch.input)
    count, begun = 0, time.monotonic()
    while time.monotonic() - begun < task.runs / 1e3:
        runner.run(stored)
        count += 1
    return {"busy": [begun, time.monotonic()], "runs": count}


def _timed(runner: Any, stored: bytes) -> float:
    before = time.perf_counter_ns()
    runner.run(stored)
    return (time.perf_counter_ns() - before) / 1e6


WORK: Dict[str, Callable[[Place, Job], Dict[str, Any]]] = {
    "process": process, "start": start, "block": block, "busy": busy,
}  # fmt: skip


def in_child(
    place: Place, task: Job, patience_s: float, meanwhile: Callable[[], None] = lambda: None, every_s: float = 0.05
) -> Dict[str, Any]:
    """Do a piece of work in a forked process; ``meanwhile`` is called every ``every_s`` seconds until it is done.

    Raises :class:`Failed` with the reason: the work's own sentence, the signal that killed it, or that it hung.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(place, task, writing)
    os.close(writing)
    received, deadline = [], time.monotonic() + patience_s  # type: Tuple[List[bytes], float]
    said = select.poll()  # select() refuses the numbers of a process with a thousand open files
    said.register(reading, select.POLLIN)
    try:
        while True:
            if said.poll(1000 * every_s):
                data = os.read(reading, 1 << 16)
                if not data:
                    break
                received.append(data)
            elif time.monotonic() > deadline:
                raise Failed("it did not end within {:g} s".format(patience_s))
            else:
                meanwhile()
    except BaseException:  # whoever interrupts does not wait for the work
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        raise Failed("its process was killed by {}".format(signal_name(os.WTERMSIG(status))))
    try:
        found = json.loads(b"".join(received).decode())
    except ValueError:
        raise Failed("its process ended with code {}".format(os.WEXITSTATUS(status))) from None
    if "failed" in found:
        raise Failed(found["failed"])
    return found  # type: ignore[no-any-return]


def _child(place: Place, task: Job, writing: int) -> None:
    try:  # nothing may return from here into the code of the parent
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # no orphan goes on burning the battery
        try:
            if place.cores:
                os.sched_setaffinity(0, place.cores)
            found = WORK[task.kind](place, task)
        except AdaScaleError as error:
            found = {"failed": str(error)}
        except Exception as error:  # whatever an engine raises is a fact about the branch
            found = {"failed": "{}: {}".format(type(error).__name__, error)}
        with os.fdopen(writing, "w") as pipe:
            json.dump(found, pipe)
    finally:
        os._exit(0)


def cores_of(affinity: Optional[str], root: str, count: Optional[int]) -> Tuple[int, ...]:
    """The cores that ``big``, ``little`` or a hexadecimal mask names; none for None.

    Big cores have the highest possible frequency, little ones the lowest.
    """
    if affinity is None:
        return ()
    if affinity in ("big", "little"):
        try:
            fastest = sensors.frequencies_mhz(root, "cpuinfo_max_freq")
        except (OSError, ValueError):
            raise AdaScaleError("This device does not tell its cores' frequencies; give a mask, as f0.") from None
        wanted = (max if affinity == "big" else min)(fastest.values())
        return tuple(sorted(core for core, mhz in fastest.items() if mhz == wanted))
    if not re.fullmatch("(0[xX])?[0-9a-fA-F]+", affinity):
        raise BadInput("'{}' is no set of cores; give big, little, or a hexadecimal mask, as f0.".format(affinity))
    mask = int(affinity, 16)
    found = tuple(core for core in range(mask.bit_length()) if mask >> core & 1)
    absent: Sequence[int] = [core for core in found if count is not None and core >= count]
    if absent or not found:
        raise AdaScaleError("The mask {} names cores that this device lacks; it has {}.".format(affinity, count))
    return found
