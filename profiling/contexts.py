"""Branches in other contexts than idle: real load beside them, interleaved rounds, means over whole blocks of time.

The names of contexts: ``idle``; ``loadN``, N % of the cores kept busy by others; ``memoryN``, N % of the free memory
held and read by another process. Measurements carry the name in ``settings["context"]``; those of a context go to a
file of their own, ``m.load50.jsonl`` beside ``m.jsonl``. A lower clock cannot be asked for without the rights of the
system; where it changes by itself, the contexts record it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines.delegates import LoadedBranch, open_branch
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Context, Measurement
from profiling import cells as table
from profiling import crashes, device, facts
from profiling.cells import Cell
from profiling.facts import Block, End, EnergyFact, Process, Start
from profiling.journal import Journal, work
from profiling.load import Burners, Holder
from profiling.memory import in_own_process

IDLE = "idle"
ROUNDS = 8
#: Seconds of a block under load: a scheduler takes a core away for 3 to 20 ms, so a mean needs many such turns.
BLOCK_S = 0.15
MOST = 1000
#: Seconds until a load that has just begun shows in what the system tells, and between looks at it while it lasts.
SETTLE_S, SNAPSHOT_S = 0.3, 0.1
_NAME = re.compile(r"(load|memory)(\d{1,3})")
_NO_MEMORY = "memory is measured on the idle machine"
_LATENCY_ONLY = "only latency was looked at"


def parse(text: str) -> list[str]:
    """The contexts of a comma-separated list, in order, each once; :class:`BadInput` names one that is none."""
    names = list(dict.fromkeys(piece.strip() for piece in text.split(",") if piece.strip()))
    for name in names:
        found = _NAME.fullmatch(name)
        most = 0 if found is None else {"load": 400, "memory": 90}[found.group(1)]
        if name != IDLE and (found is None or not 1 <= int(found.group(2)) <= most):
            raise BadInput(
                f"There is no context '{name}'; write idle, load50 (% of the cores that others keep busy) or "
                "memory50 (% of the free memory that others hold)."
            )
    if not names:
        raise BadInput("No context is named; write for example idle,load50,load100.")
    return names


def beside(name: str) -> AbstractContextManager[Any]:
    """The load that belongs to a context, for a ``with`` block."""
    found = _NAME.fullmatch(name)
    if found is None:
        return contextlib.nullcontext()
    share = int(found.group(2)) / 100
    if found.group(1) == "memory":
        return Holder(int(psutil.virtual_memory().available * share))
    return Burners(max(1, round(share * (os.cpu_count() or 1))), pinned=True)


def path_of(out: Path, name: str) -> Path:
    """Where measurements of a context go: ``m.load50.jsonl`` for ``m.jsonl``."""
    return out if name == IDLE else out.with_name(f"{out.stem}.{name}{out.suffix}")


def sweep(
    bundle: Bundle, delegates: Sequence[str], threads: Sequence[int], contexts: Sequence[str], out: Path,
    tick: Tick = silent, branches: Sequence[str] | None = None, again: bool = False,
) -> list[Measurement]:  # fmt: skip
    """Measure branches in every context but idle; what is done already is not done again."""
    cells = table.choose(bundle, delegates, threads, ROUNDS, branches)
    found: list[Measurement] = []
    for name in contexts:
        if name != IDLE:
            settings = {"seconds": BLOCK_S, "most": MOST, "context": name}
            found += take(bundle, cells, settings, path_of(out, name), tick, functools.partial(beside, name), (), again)
    return found


def take(
    bundle: Bundle, cells: Sequence[Cell], settings: dict[str, Any], out: Path, tick: Tick = silent,
    load: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext, memory: Sequence[str] = (),
    again: bool = False,
) -> list[Measurement]:  # fmt: skip
    """Time cells in interleaved rounds on random inputs, for latency alone, and append the measurements to ``out``.

    ``settings``: ``seconds`` of a block, ``most`` runs in it, and what else the measurements should carry. ``load``
    runs beside. ``memory``: branches whose memory is measured, too. ``again``: also what ``out`` holds already.
    Continues after a kill, as :func:`profiling.measure.profile` does.
    """
    for _, sentence in crashes.find(bundle, cells, True):
        raise AdaScaleError(sentence)
    described = device.facts()
    path = Path(f"{out}.journal")
    with work(path, bundle, cells, described["name"], settings, out, again) as found:
        finished, todo = found.finished, found.todo
        if todo:
            with Journal(path, found.settings, tick) as journal:
                for cell in todo:
                    if not journal.has("process", cell.key):
                        journal.add("process", cell.key, _memory(bundle, cell, cell.branch.id in memory))
                runners = {c.key: open_branch(bundle, c.branch, c.delegate, c.threads, True) for c in todo}
                with load():
                    _rounds(todo, runners, settings, journal, tick)
                versions = device.versions()
                measured = [table.measurement(bundle, c, journal, described, versions, settings) for c in todo]
                table.append(out, measured)
                journal.remove()
            finished.update({cell.key: m for cell, m in zip(todo, measured, strict=True)})
    return [finished[cell.key] for cell in cells]


def _memory(bundle: Bundle, cell: Cell, wanted: bool) -> Process:
    told = in_own_process(bundle, cell) if wanted else {"reason": _NO_MEMORY}
    return facts.check("process", told, f"the memory of {cell.key}")  # type: ignore[return-value]


def _rounds(
    cells: list[Cell], runners: dict[str, LoadedBranch], settings: dict[str, Any], journal: Journal, tick: Tick
) -> None:
    name, seconds, most = settings.get("context", "kernels"), settings["seconds"], settings["most"]
    seen: dict[str, list[Context]] = {cell.key: [] for cell in cells}
    begun = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with Monitor(period_s=SNAPSHOT_S) as monitor:
        time.sleep(SETTLE_S)
        for number in range(ROUNDS):
            order = list(cells)
            random.Random(number).shuffle(order)
            for done, cell in enumerate(order):
                key = f"{cell.key}#{number}"
                if not journal.has("block", key) or journal.get("block", key).context is None:
                    others = _Others()
                    latencies = list(_block(runners[cell.key], seconds, most))
                    context = replace(monitor.latest(), cpu_load=others.load(), time_s=time.monotonic())
                    journal.add("block", key, Block(tuple(latencies), context=context))
                seen[cell.key].append(journal.get("block", key).context)
                tick(f"profile {name}", number * len(cells) + done + 1, ROUNDS * len(cells), cell.key)
    for cell in cells:
        before, after = (mean(part) for part in (seen[cell.key][::2], seen[cell.key][1::2]))
        journal.add("start", cell.key, Start(before, delegation_reason=_LATENCY_ONLY, started=begun))
        journal.add("energy", cell.key, EnergyFact(reason="energy is measured on the idle machine"))
        journal.add("end", cell.key, End(after))


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
    """The mean of snapshots that were taken while this process ran; of what some do not tell, that of the others.

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
        memory_free_mb=known("memory_free_mb"),
    )


def _block(run: LoadedBranch, seconds: float, most: int) -> Iterator[float]:
    """Latencies in ms, rounded to 0.1 us, of runs one after the other for so long: 3 to ``most``, after one more."""
    # Not zeros: LiteRT's own hybrid kernels skip what is zero.
    stored = run.quantize(np.random.default_rng(0).normal(size=run.branch.input.shape))
    run.invoke(stored)
    begun = time.perf_counter()
    count = 0
    while count < 3 or (count < most and time.perf_counter() - begun < seconds):
        before = time.perf_counter_ns()
        run.invoke(stored)
        count += 1
        yield round((time.perf_counter_ns() - before) / 1e6, 4)
