"""Measuring under real load: interleaved rounds, means over whole blocks of time.

The names of contexts: ``idle``; ``loadN``, N % of the cores kept busy by others; ``memoryN``, N % of the free memory
held and read by another process. Measurements carry the name in ``settings["context"]``; those of a context go to a
file of their own, ``m.load50.jsonl`` beside ``m.jsonl``. A lower clock cannot be asked for without the rights of the
system; where it changes by itself, the contexts record it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from adascale_runtime.device.monitor import Monitor
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.measuring import work
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Block, End, EnergyFact, Process, Start
from adascale_runtime.seams.jobs import Job
from adascale_runtime.seams.records import Context, Measurement
from profiling import cells as table
from profiling import crashes, device, together
from profiling.cells import Cell
from profiling.experiment import Study
from profiling.host import HostOptions, HostRunner
from profiling.jobs import Schedule
from profiling.journal import Journal
from profiling.load import Burners, Holder
from profiling.memory import in_own_process
from profiling.together import Part

Load = Callable[[], AbstractContextManager[Any]]
IDLE = "idle"
ROUNDS = 8
#: Seconds of a block under load: a scheduler takes a core away for 3 to 20 ms, so a mean needs many such turns.
BLOCK_S = 0.15
#: A block has at most and at least so many runs.
MOST, LEAST = 1000, 3
#: Seconds until a load that has just begun shows in what the system tells, and between looks at it while it lasts.
SETTLE_S, SNAPSHOT_S = 0.3, 0.1
_NAME = re.compile(r"(load|memory)(\d{1,3})")
_NO_MEMORY = "memory is measured on the idle machine"
_LATENCY_ONLY = "only latency was looked at"


def parse(text: str) -> list[str]:
    """The contexts of a comma-separated list, in order, each once; :class:`BadInput` names one that is none."""
    names = list(dict.fromkeys(piece.strip() for piece in text.split(",") if piece.strip()))
    for name in names:
        parts = _NAME.fullmatch(name)
        most = 0 if parts is None else {"load": 400, "memory": 90}[parts.group(1)]
        if name != IDLE and (parts is None or not 1 <= int(parts.group(2)) <= most):
            raise BadInput(
                f"There is no context '{name}'; write idle, load50 (% of the cores that others keep busy) or "
                "memory50 (% of the free memory that others hold)."
            )
    if not names:
        raise BadInput("No context is named; write for example idle,load50,load100.")
    return names


def beside(name: str) -> AbstractContextManager[Any]:
    """The load that belongs to a context, for a ``with`` block."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        return contextlib.nullcontext()
    share = int(parts.group(2)) / 100
    if parts.group(1) == "memory":
        return Holder(int(psutil.virtual_memory().available * share))
    return Burners(max(1, round(share * (os.cpu_count() or 1))), pinned=True)


def path_of(out: Path, name: str) -> Path:
    """Where measurements of a context go: ``m.load50.jsonl`` for ``m.jsonl``."""
    return out if name == IDLE else out.with_name(f"{out.stem}.{name}{out.suffix}")


def sweep(
    bundle: Bundle,
    delegates: Sequence[str],
    threads: Sequence[int],
    contexts: Sequence[str],
    *,
    out: Path,
    tick: Tick = silent,
    branches: Sequence[str] | None = None,
    again: bool = False,
    anchors: bool = True,
) -> list[Measurement]:
    """Measure branches in every context but idle; what is done already is not done again."""
    cells = table.choose(bundle, delegates, threads, ROUNDS, branches)
    measured: list[Measurement] = []
    for name in contexts:
        if name != IDLE:
            settings = {"seconds": BLOCK_S, "most": MOST, "context": name}
            load = functools.partial(beside, name)
            measured += take(bundle, cells, settings, path_of(out, name), tick=tick, load=load, again=again,
                             anchors=anchors)  # fmt: skip
    return measured


def take(
    bundle: Bundle,
    cells: Sequence[Cell],
    settings: dict[str, Any],
    out: Path,
    *,
    tick: Tick = silent,
    load: Load = contextlib.nullcontext,
    again: bool = False,
    anchors: bool = True,
) -> list[Measurement]:
    """Time cells in interleaved rounds on random inputs, for latency alone, and append the measurements to ``out``.

    Continues after a kill, as :func:`profiling.measure.profile` does.

    Args:
        bundle: The bundle.
        cells: What to measure.
        settings: ``seconds`` of a block, ``most`` runs in it, and what else the measurements should carry.
        out: A file of measurements (JSON lines).
        tick: Told ``("profile CONTEXT", ...)`` at every job.
        load: Runs beside the blocks.
        again: Measure once more what ``out`` holds.
        anchors: Whether anchors run beside the blocks.
    """
    own = part(bundle, cells, settings, out, beside=Surroundings(load), again=again, anchors=anchors)
    (measured,) = together.measure([own], tick=tick, label=f"profile {settings.get('context', IDLE)}")
    return measured


def part(
    bundle: Bundle,
    cells: Sequence[Cell],
    settings: dict[str, Any],
    out: Path,
    *,
    beside: Surroundings,
    journal: Path | None = None,
    memory: Sequence[str] = (),
    again: bool = False,
    anchors: bool = True,
) -> Part:
    """What :func:`take` measures, for common rounds with other parts.

    Args:
        bundle: The bundle.
        cells: What to measure.
        settings: As for :func:`take`.
        out: A file of measurements (JSON lines).
        beside: What runs beside the blocks; parts that are measured together share it.
        journal: Where facts go until all are there; parts that are measured together need different ones. None: a file
            beside ``out``.
        memory: Ids of branches whose memory is measured, too.
        again: Measure once more what ``out`` holds.
        anchors: Whether anchors run beside the blocks.
    """
    for _, sentence in crashes.find(bundle, cells, True):
        raise AdaScaleError(sentence)
    whole = settings if anchors else {**settings, "anchors": False}
    study = Study(bundle, cells, device.facts(), whole, out, journal or Path(f"{out}.journal"), again)
    return Part(
        study, StrainedRunner(bundle, settings["seconds"], beside, memory, anchors),
        Schedule(settings["most"], ROUNDS, first=("process",), last=(), whole=True), _conclude,
        lambda journal: journal.forget("block", lambda block: block.context is None),
    )  # fmt: skip


def _conclude(cell: Cell, journal: Journal, begun: str) -> None:
    """What is known of a cell when its blocks are done: the contexts of the even rounds, and of the odd ones."""
    blocks = [block.context for block in journal.all("block", f"{cell.key}#")]
    before, after = (mean(part) for part in (blocks[::2], blocks[1::2]))
    journal.add("start", cell.key, Start(before, delegation_reason=_LATENCY_ONLY, started=begun))
    journal.add("energy", cell.key, EnergyFact(reason="energy is measured on the idle machine"))
    journal.add("end", cell.key, End(after))


class Surroundings:
    """What runs beside the blocks: the load, and a look at the system again and again. Several runners may share it:
    it lasts from the first ``with`` block that begins until the last one ends."""

    def __init__(self, load: Load = contextlib.nullcontext) -> None:
        self.monitor = Monitor(period_s=SNAPSHOT_S)
        self._load, self._users, self._held = load, 0, contextlib.ExitStack()

    def __enter__(self) -> Surroundings:
        if not self._users:
            with contextlib.ExitStack() as held:
                held.enter_context(self._load())
                held.enter_context(self.monitor)
                time.sleep(SETTLE_S)
                self._held = held.pop_all()
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users:
            self._held.close()


class StrainedRunner(HostRunner):
    """This machine under a load: runs on random inputs for so many seconds, with the context meanwhile."""

    def __init__(
        self, bundle: Bundle, seconds: float, beside: Surroundings, memory: Sequence[str], anchors: bool = True
    ) -> None:
        super().__init__(HostOptions(allow_fallback=True, anchors=anchors), bundle)
        self._seconds, self._beside, self._memory = seconds, beside, memory

    def begin(self, beside: contextlib.ExitStack) -> None:
        beside.enter_context(self._beside)

    def process(self, job: Job) -> Process:
        return in_own_process(self.bundle, job) if job.branch in self._memory else Process(reason=_NO_MEMORY)

    def block(self, job: Job) -> Block:
        opened = self.opened(job)
        # Not zeros: LiteRT's own hybrid kernels skip what is zero.
        stored = opened.quantize(np.random.default_rng(0).normal(size=self.branch(job).input.shape))
        others = _Others()
        latencies, paces = work.paced(opened, [stored], job.runs, self._seconds, self.anchors, least=LEAST)
        context = replace(self._beside.monitor.latest(), cpu_load=others.load(), time_s=time.monotonic())
        return Block(tuple(round(ms, 4) for ms in latencies), context=context, paces=tuple(paces))


class _Others:
    """The share of all cores that other processes used since this was made."""

    def __init__(self) -> None:
        self._begun = self._now()

    def load(self) -> float | None:
        """None if no time that the kernel counts has passed."""
        (wall, busy, own), (now, all_busy, all_own) = self._begun, self._now()
        if now - wall < 0.02:  # two ticks
            return None
        taken = (all_busy - busy - (all_own - own)) / ((now - wall) * (os.cpu_count() or 1))
        return max(0.0, min(1.0, taken))

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        return time.monotonic(), sum(times) - idle - getattr(times, "guest", 0.0), time.process_time()


def mean(contexts: Sequence[Context]) -> Context:
    """The mean of snapshots that were taken while this process ran; of what some do not report, that of the others.

    The system counts this process among those that want a core, a context does not.
    """

    def known(name: str) -> float | None:
        values = [getattr(c, name) for c in contexts if getattr(c, name) is not None]
        return sum(values) / len(values) if values else None

    runnable = known("runnable")
    return replace(
        contexts[-1],
        cpu_load=known("cpu_load"),
        runnable=None if runnable is None else max(0, round(runnable - 1)),
        cpu_freq_mhz=known("cpu_freq_mhz"),
        clock_cap_mhz=known("clock_cap_mhz"),
        memory_free_mb=known("memory_free_mb"),
    )
