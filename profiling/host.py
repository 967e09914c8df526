"""The runner of this machine: branches stay open between jobs, memory is measured in separate processes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adascale_runtime.device import meters
from adascale_runtime.engines import litert
from adascale_runtime.engines.delegates import library, lookup, open_branch
from adascale_runtime.engines.served import served
from adascale_runtime.errors import BadInput
from adascale_runtime.measuring import work
from adascale_runtime.measuring.anchors import Anchors, open_anchors
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Block, End, EnergyFact, Fact, Process, Start
from adascale_runtime.seams.jobs import Begin, Done, Finished, Job, Message
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.text import excerpt
from profiling import device
from profiling.memory import in_own_process
from profiling.runners import runner

#: Seconds after which a block ends.
BLOCK_S = 0.25
#: Seconds over which the load of other processes is taken, before and after each cell.
SNAPSHOT_S = 0.1


@dataclass(frozen=True)
class HostOptions:
    """How to measure on this machine."""

    #: Also measure branches that a delegate runs only in part.
    allow_fallback: bool = False
    #: Also measure the time of each operator, in a separate run.
    op_profile: bool = False
    #: Whether anchors run beside the blocks, so that a latency can be told at the machine's usual speed.
    anchors: bool = True


@runner("host", "host")
class HostRunner:
    """This machine, with numpy."""

    def __init__(self, options: HostOptions, bundle: Bundle) -> None:
        self.options, self.bundle = options, bundle
        self.versions = device.versions()
        self._opened: dict[str, Any] = {}

    def run(self, jobs: Sequence[Job]) -> Iterator[Message]:
        with contextlib.ExitStack() as beside:
            for job in jobs:
                yield Begin(job.kind, job.key)
                if job.kind != "process" and not self._opened:
                    self.open(jobs)
                    self.begin(beside)
                yield Finished(job.kind, job.key, self.do(job))
        yield Done()

    def open(self, jobs: Sequence[Job]) -> None:
        """Open all branches of jobs; they stay open, as an application keeps them."""
        for job in jobs:
            if job.cell not in self._opened:
                self._opened[job.cell] = open_branch(
                    self.bundle, self.branch(job), job.delegate, job.threads, self.options.allow_fallback
                )

    def begin(self, beside: contextlib.ExitStack) -> None:
        """Called once before the first job that is no ``process``; what it enters lasts until the last job."""

    def do(self, job: Job) -> Fact:
        """Do a job; an :class:`adascale_runtime.errors.AdaScaleError` ends the experiment."""
        if job.kind == "process":
            return self.process(job)
        if job.kind == "start":
            return self.start(job)
        if job.kind == "block":
            return self.block(job)
        return End(device.snapshot(SNAPSHOT_S))

    def branch(self, job: Job) -> Branch:
        return self.bundle.manifest.branch(job.branch)

    def opened(self, job: Job) -> work.Opened:
        opened: work.Opened = self._opened[job.cell]
        return opened

    @functools.cached_property
    def inputs(self) -> list[np.ndarray]:
        """The bundle's sample inputs, each as a batch of one."""
        return list(samples(self.bundle)[:, np.newaxis])

    @functools.cached_property
    def anchors(self) -> Anchors | None:
        """What tells the machine's speed beside the blocks; None where that is not wanted."""
        return open_anchors() if self.options.anchors else None

    @functools.cached_property
    def meter(self) -> tuple[str, meters.Counter] | None:
        """What measures energy here."""
        return meters.find()

    def process(self, job: Job) -> Process:
        return in_own_process(self.bundle, job, self.options.allow_fallback)

    def start(self, job: Job) -> Start:
        branch, inputs = self.branch(job), self.inputs
        expected = np.fromfile(self.bundle.path(branch.expected), "<f4").reshape(len(inputs), *branch.output.shape)
        return work.start(
            self.opened(job),
            list(zip(inputs, expected, strict=True)),
            compare,
            lambda: device.snapshot(SNAPSHOT_S),
            lambda: self._inspect(job, branch),
        )

    def _inspect(self, job: Job, branch: Branch) -> work.Inspected:
        return work.inspect(
            library(), str(self.bundle.path(served(branch, job.delegate).file)), branch, job, self.options.op_profile
        )

    def block(self, job: Job) -> Block:
        """A block of timed runs; then, where a meter is, runs for the energy alone."""
        opened = self.opened(job)
        stored = [opened.quantize(x) for x in work.turned(self.inputs, job.skip)]
        latencies, paces = work.paced(opened, stored, job.runs, BLOCK_S, self.anchors, lasting_ms=job.lasting_ms)
        name, counter = self.meter or (None, None)
        spent = None if counter is None else meters.per_run_mj(lambda: opened.invoke(stored[0]), counter)
        return Block(tuple(latencies), spent, name, paces=tuple(paces))


def stand_in(delegates: Sequence[str]) -> str | None:
    """The sentence for users where something else executes what a delegate runs on this machine; None where nothing."""
    for name in delegates:
        record = lookup(name)
        if record.hardware != "npu" or not record.litert:
            continue
        vendor = library().vendor(litert.HARDWARE["npu"])
        if vendor is not None and vendor.chip == "CPU":
            return (
                f"{name} is {vendor.release} on its CPU device here: it takes the operators that it would take for an "
                "NPU, and its times are those of a CPU, with threads of its own."
            )
    return None


def samples(bundle: Bundle) -> np.ndarray:
    """The bundle's real sample inputs: float32 (count, *input shape without batch)."""
    spec = bundle.manifest.samples
    if not spec.count:
        raise BadInput(f"The bundle '{excerpt(bundle.manifest.name)}' has no samples to run; give another one.")
    shape = bundle.manifest.branches[0].input.shape[1:]
    return np.fromfile(bundle.path(spec.file), "<f4").reshape(spec.count, *shape)


def compare(output: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The share of equal classes, and the largest difference (NaN where one is)."""
    return float(np.mean(output.argmax(-1) == expected.argmax(-1))), float(np.abs(output - expected).max())


def energy(blocks: Sequence[Block]) -> EnergyFact:
    """The median of the blocks' readings of one meter, or the reason why there is none."""
    measured = [block.energy_mj for block in blocks if block.energy_mj is not None]
    names = {block.meter for block in blocks if block.meter}
    if measured and len(names) == 1:
        return EnergyFact(records.quantile(measured, 0.5), f"measured:{names.pop()}")
    still = f"the energy meter {', '.join(sorted(names))} did not move" if names else "no energy meter on this machine"
    return EnergyFact(reason=still)
