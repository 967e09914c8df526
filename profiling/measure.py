"""Measuring every branch on every delegate of this machine, in interleaved rounds that survive a kill.

In each round every cell (branch x delegate) runs a block of its runs, in a newly shuffled order, so that a drift of the
machine (heat, a neighbour) spreads over all cells alike. Each finished block goes to a journal beside the output at
once; when all rounds are done, the measurements are written and the journal is removed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from adascale_runtime.engines import accelerators
from adascale_runtime.engines.delegates import LoadedBranch, check_delegate, library, open_branch
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import tflite_file
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from adascale_runtime.text import excerpt
from profiling import cells as table
from profiling import crashes, device, facts, meters
from profiling.cells import Cell
from profiling.facts import Block, End, EnergyFact, Start
from profiling.journal import Journal, work
from profiling.memory import in_own_process

ROUNDS = 10
WARMUP = 3
#: A cell stops its block after this long, with at least two runs: reference kernels are 30 times slower than XNNPACK.
BLOCK_S = 0.25
#: Seconds over which the load of other processes is taken, before and after each cell.
SNAPSHOT_S = 0.1


def profile(
    bundle: Bundle,
    delegates: Sequence[str],
    threads: Sequence[int],
    runs: int,
    out: Path,
    tick: Tick = silent,
    branches: Sequence[str] | None = None,
    allow_fallback: bool = False,
    op_profile: bool = False,
    again: bool = False,
    failed: Callable[[Cell, str], None] | None = None,
) -> list[Measurement]:
    """Measure branches of a bundle (all, or those of the ids ``branches``), append to ``out`` (JSON lines).

    ``runs`` timed runs per cell, in ``min(10, runs)`` rounds. A call that was killed continues where it was, if its
    settings are the same; a finished ``out`` of the same settings is returned as it is, unless ``again`` asks for one
    more run, and other ``runs`` measure anew. ``tick("profile", ...)`` after every block. ``op_profile`` adds the times
    of each branch's operators. ``failed(cell, sentence)`` is called for each cell that crashes or never ends, which is
    left out; without it that is an :class:`AdaScaleError`. Raises :class:`BadInput` for an unknown delegate or branch,
    a journal of other settings, or one that another process writes; :class:`AdaScaleError` where a delegate does not
    take all of a branch, unless ``allow_fallback``.
    """
    for name in delegates:
        check_delegate(name)
    tflite_file.check_inputs(bundle.manifest.branches)
    cells = table.choose(bundle, delegates, threads, runs, branches)
    for crashed, sentence in crashes.find(bundle, cells, allow_fallback):
        if failed is None:
            raise AdaScaleError(sentence)
        failed(crashed, sentence)
        cells.remove(crashed)
    described, settings = device.facts(), {"runs": runs}
    name = described["name"]
    path = Path(f"{out}.journal")
    with work(path, bundle, cells, name, settings, out, again) as found:
        finished, todo = found.finished, found.todo
        if todo:
            with Journal(path, found.settings, tick) as journal:
                _run(bundle, todo, runs, journal, tick, allow_fallback, op_profile)
                versions = device.versions()
                measured = [table.measurement(bundle, c, journal, described, versions, settings) for c in todo]
                table.append(out, measured)
                journal.remove()
            finished.update({cell.key: m for cell, m in zip(todo, measured, strict=True)})
    return [finished[cell.key] for cell in cells]


def _run(
    bundle: Bundle, cells: list[Cell], runs: int, journal: Journal, tick: Tick, allow_fallback: bool, op_profile: bool
) -> None:
    rounds = min(ROUNDS, runs)
    total = len(cells) * (rounds + 1)
    done = 0
    for cell in cells:
        if not journal.has("process", cell.key):
            told = in_own_process(bundle, cell, allow_fallback)
            journal.add("process", cell.key, facts.check("process", told, f"the memory of {cell.key}"))
        done += 1
        tick("profile", done, total, f"memory {cell.key}")
    inputs = samples(bundle)
    runners = {c.key: open_branch(bundle, c.branch, c.delegate, c.threads, allow_fallback) for c in cells}
    found = meters.find()
    for cell in cells:
        if not journal.has("start", cell.key):
            journal.add("start", cell.key, _start(bundle, cell, runners[cell.key], inputs, op_profile))
    for number in range(rounds):
        order = list(cells)
        random.Random(number).shuffle(order)
        for cell in order:
            key = f"{cell.key}#{number}"
            if not journal.has("block", key):
                share = table.share(runs, rounds, number)
                turned = np.roll(inputs, -(runs * number // rounds), axis=0)  # so that every sample has its turn
                journal.add("block", key, _block(runners[cell.key], turned, share, found))
            done += 1
            tick("profile", done, total, f"round {number + 1} {cell.key}")
    for cell in cells:
        if not journal.has("energy", cell.key):
            journal.add("energy", cell.key, _energy(journal.all("block", f"{cell.key}#")))
        if not journal.has("end", cell.key):
            journal.add("end", cell.key, End(device.snapshot(SNAPSHOT_S)))


def samples(bundle: Bundle) -> np.ndarray:
    """The bundle's real sample inputs: float32 (count, *input shape without batch)."""
    spec = bundle.manifest.samples
    if not spec.count:
        raise BadInput(f"The bundle '{excerpt(bundle.manifest.name)}' has no samples to run; give another one.")
    shape = bundle.manifest.branches[0].input.shape[1:]
    return np.fromfile(bundle.path(spec.file), "<f4").reshape(spec.count, *shape)


def _start(bundle: Bundle, cell: Cell, run: LoadedBranch, inputs: np.ndarray, op_profile: bool = False) -> Start:
    """What is known before the first timed run: context, correctness, what the delegate took, the warm-up."""
    context = device.snapshot(SNAPSHOT_S)
    warmup = [_timed(run, run.quantize(inputs[:1])) for _ in range(WARMUP)]  # before anything else warms it up
    outputs = np.concatenate([run(x[np.newaxis]) for x in inputs])
    expected = np.fromfile(bundle.path(cell.branch.expected), "<f4").reshape(outputs.shape)
    difference = float(np.abs(outputs - expected).max())
    path, signature = str(bundle.path(cell.branch.file)), cell.branch.signature
    taken, reason = accelerators.taken(library(), path, signature, cell.delegate)
    # The C library's "reference" are other kernels than this machine's, see litert.Compiled; their times are not these.
    op_profile = op_profile and cell.delegate != "reference"
    times = accelerators.profile(library(), path, signature, cell.delegate, cell.threads) if op_profile else ()
    return Start(
        context,
        tuple(warmup),
        float(np.mean(outputs.argmax(-1) == expected.argmax(-1))),
        difference if np.isfinite(difference) else None,
        taken,
        reason,
        tuple(times),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _block(run: LoadedBranch, inputs: np.ndarray, runs: int, found: Any) -> Block:
    """A block of timed runs after one that re-warms the caches; then, where a meter is, runs for the energy alone."""
    stored = [run.quantize(x[np.newaxis]) for x in inputs]
    _timed(run, stored[0])
    begun = time.perf_counter()
    latencies: list[float] = []
    while len(latencies) < runs and (len(latencies) < 2 or time.perf_counter() - begun < BLOCK_S):
        latencies.append(_timed(run, stored[len(latencies) % len(stored)]))
    name, counter = found or (None, None)
    spent = None if counter is None else meters.per_run_mj(lambda: run.invoke(stored[0]), counter)
    return Block(tuple(latencies), spent, name)


def _timed(run: LoadedBranch, stored: np.ndarray) -> float:
    """One inference in milliseconds, until its output lies in an array on the CPU."""
    before = time.perf_counter_ns()
    run.invoke(stored)
    return (time.perf_counter_ns() - before) / 1e6


def _energy(blocks: list[Block]) -> EnergyFact:
    """The median of the blocks' readings of one meter, or the reason why there is none."""
    measured = [block.energy_mj for block in blocks if block.energy_mj is not None]
    names = {block.meter for block in blocks if block.meter}
    if measured and len(names) == 1:
        return EnergyFact(records.quantile(measured, 0.5), f"measured:{names.pop()}")
    still = f"the energy meter {', '.join(sorted(names))} did not move" if names else "no energy meter on this machine"
    return EnergyFact(reason=still)
