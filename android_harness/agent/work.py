"""Jobs on a phone, each in a separate process, so that a crash becomes a result.

The functions of :data:`WORK` run in a forked child; what they tell comes to the parent as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple  # noqa: F401  (List is in a type comment)

from adascale_runtime.device import sensors
from adascale_runtime.engines import delegates, tensor
from adascale_runtime.engines.served import served
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.measuring import snapshots
from adascale_runtime.measuring import work as measuring
from adascale_runtime.measuring.anchors import open_anchors
from adascale_runtime.seams.bundle import MANIFEST, Bundle
from adascale_runtime.seams.facts import Block, Busy, Process, Start
from adascale_runtime.seams.jobs import Job
from adascale_runtime.seams.manifest import Manifest
from adascale_runtime.seams.records import Context
from adascale_runtime.text import signal_name
from android_harness.agent import engines

#: Seconds after which a block ends.
BLOCK_S = 1.0
#: Seconds between the two samples that tell the load.
SNAPSHOT_S = 0.1
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Workplace:
    """Where and with what jobs are done."""

    #: The bundle's folder.
    bundle: str
    #: The path of LiteRT's C library; None for an installed Python package.
    library: Optional[str] = None
    #: The folder that stands for ``/`` in sensors' paths.
    root: str = "/"
    #: The cores to use; none stands for all.
    cores: Tuple[int, ...] = ()
    allow_fallback: bool = False
    op_profile: bool = False
    #: Whether anchors run beside the blocks.
    anchors: bool = True


class JobFailed(Exception):
    """A job that cannot be done; the message says why."""


def open_bundle(folder: str) -> Bundle:
    """The bundle without checking checksums again: whoever brought it here has checked them."""
    root = Path(folder)
    return Bundle(root, codec.from_json(Manifest, codec.read_json(root / MANIFEST), MANIFEST))


def samples(bundle: Bundle) -> Tuple[tensor.Tensor, ...]:
    """The bundle's real sample inputs."""
    data = bundle.path(bundle.manifest.samples.file).read_bytes()
    return tensor.read(data, bundle.manifest.branches[0].input.shape)


def snapshot(root: str) -> Context:
    """The context now, with the reasons for what is None."""
    sampler = sensors.FileSampler(root)
    context = snapshots.snapshot(sampler, SNAPSHOT_S)
    return replace(context, reasons=sampler.reasons or None)


def _open(place: Workplace, job: Job) -> Tuple[Bundle, Any]:
    bundle = open_bundle(place.bundle)
    engines.install(place.library)
    branch = bundle.manifest.branch(job.branch)
    return bundle, delegates.open_untried(bundle, branch, job.delegate, job.threads, place.allow_fallback)


def process(place: Workplace, job: Job) -> Process:
    """Memory and load time of the branch in this process, whose peak nothing else has touched."""
    engines.install(place.library)  # its own memory is not the branch's
    return measuring.process(lambda: _open(place, job)[1], measuring.own_peak_kb)


def start(place: Workplace, job: Job) -> Start:
    """What is known before the first timed run: context, warm-up, correctness, what the delegate took."""
    context = snapshot(place.root)
    bundle, opened = _open(place, job)
    branch = opened.branch
    expected = tensor.read(bundle.path(branch.expected).read_bytes(), branch.output.shape)

    def inspect() -> measuring.Inspected:
        library = None if place.library is None else delegates.library(place.library)
        return measuring.inspect(
            library, str(bundle.path(served(branch, job.delegate).file)), branch, job, place.op_profile
        )

    return measuring.start(opened, list(zip(samples(bundle), expected)), compare, lambda: context, inspect)


def compare(output: tensor.Tensor, expected: tensor.Tensor) -> Tuple[float, float]:
    """Whether two outputs name the same class (1 or 0), and the largest difference of their values."""
    gaps = [abs(a - b) for a, b in zip(output.values, expected.values)]
    return float(output.argmax() == expected.argmax()), max(gap if gap == gap else float("inf") for gap in gaps)


def block(place: Workplace, job: Job) -> Block:
    """A block of timed runs."""
    bundle, opened = _open(place, job)
    stored = [opened.quantize(x) for x in measuring.turned(samples(bundle), job.skip)]
    anchors = open_anchors() if place.anchors else None
    latencies, paces = measuring.paced(opened, stored, job.runs, BLOCK_S, anchors, lasting_ms=job.lasting_ms)
    return Block(tuple(latencies), paces=tuple(paces))


def busy(place: Workplace, job: Job) -> Busy:
    """Runs without a pause for ``job.runs`` milliseconds."""
    bundle, opened = _open(place, job)
    return measuring.busy(opened, opened.quantize(samples(bundle)[0]), job.runs / 1e3)


#: What a child does for a kind of job, and the dataclass of what it tells.
WORK: Dict[str, Tuple[Callable[[Workplace, Job], Any], Any]] = {
    "process": (process, Process), "start": (start, Start), "block": (block, Block), "busy": (busy, Busy),
}  # fmt: skip


def in_child(
    place: Workplace, job: Job, patience_s: float, meanwhile: Callable[[], None] = lambda: None, every_s: float = 0.05
) -> Any:
    """Do a job in a forked process; ``meanwhile`` is called every ``every_s`` seconds until it is done.

    Gives what it tells, a dataclass. Raises :class:`JobFailed` with the reason: the work's own sentence, the signal
    that killed it, or that it hung.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(place, job, writing)
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
                raise JobFailed("it did not end within {:g} s".format(patience_s))
            else:
                meanwhile()
    except BaseException:  # whoever interrupts does not wait for the work
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        raise JobFailed("its process was killed by {}".format(signal_name(os.WTERMSIG(status))))
    try:
        told = json.loads(b"".join(received).decode())
    except ValueError:
        raise JobFailed("its process ended with code {}".format(os.WEXITSTATUS(status))) from None
    if told["failed"] is not None:
        raise JobFailed(told["failed"])
    try:
        return codec.from_json(WORK[job.kind][1], told["value"], job.kind)
    except BadInput as error:
        raise JobFailed(str(error)) from None


def _child(place: Workplace, job: Job, writing: int) -> None:
    try:  # nothing may return from here into the code of the parent
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # no orphan goes on burning the battery
        try:
            if place.cores:
                os.sched_setaffinity(0, place.cores)
            told = {"value": WORK[job.kind][0](place, job), "failed": None}
        except AdaScaleError as error:
            told = {"failed": str(error)}
        except Exception as error:  # whatever an engine raises is a fact about the branch
            told = {"failed": "{}: {}".format(type(error).__name__, error)}
        with os.fdopen(writing, "w") as pipe:
            json.dump(codec.to_json(told), pipe)
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
            raise AdaScaleError("This device does not report its cores' frequencies; give a mask, as f0.") from None
        wanted = (max if affinity == "big" else min)(fastest.values())
        return tuple(sorted(core for core, mhz in fastest.items() if mhz == wanted))
    if not re.fullmatch("(0[xX])?[0-9a-fA-F]+", affinity):
        raise BadInput("'{}' is not a set of cores; give big, little, or a hexadecimal mask, as f0.".format(affinity))
    mask = int(affinity, 16)
    named = tuple(core for core in range(mask.bit_length()) if mask >> core & 1)
    absent: Sequence[int] = [core for core in named if count is not None and core >= count]
    if absent or not named:
        raise AdaScaleError("The mask {} names cores that this device lacks; it has {}.".format(affinity, count))
    return named
