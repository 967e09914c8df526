"""Measuring every branch on every delegate of this machine, in interleaved rounds that survive a kill.

In each round every cell (branch x delegate) runs a block of its runs, in a newly shuffled order, so that a drift of the
machine (heat, a neighbour) spreads over all cells alike. Each finished block goes to a journal beside the output at
once; when all rounds are done, the measurements are written and the journal is removed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from adascale_tf import codec, records
from adascale_tf.bundle import Branch, Bundle
from adascale_tf.errors import BadInput
from adascale_tf.progress import Tick, silent
from adascale_tf.records import Agreement, Context, Delegation, Energy, Measurement
from adascale_tf.runtime.delegates import Runner, check_delegate, delegation, open_runner
from profiling import device, meters
from profiling.journal import Journal, discard_if_done
from profiling.memory import in_own_process

ROUNDS = 10
WARMUP = 3
#: A cell stops its block after this long, with at least two runs: reference kernels are 30 times slower than XNNPACK.
BLOCK_S = 0.25
#: Seconds over which the load of other processes is taken, before and after each cell.
SNAPSHOT_S = 0.1


@dataclass(frozen=True)
class Cell:
    """One row of the table to measure."""

    branch: Branch
    delegate: str

    @property
    def key(self) -> str:
        return f"{self.branch.id}/{self.delegate}"


def profile(
    bundle: Bundle,
    delegates: Sequence[str],
    threads: int,
    runs: int,
    out: Path,
    tick: Tick = silent,
    branches: Sequence[str] | None = None,
) -> list[Measurement]:
    """Measure branches of a bundle (all, or those of the ids ``branches``), append to ``out`` (JSON lines).

    ``runs`` timed runs per cell, in ``min(10, runs)`` rounds. A call that was killed continues where it was, if its
    settings are the same; a finished ``out`` of the same settings is returned as it is, and other ``runs`` measure
    anew. ``tick("profile", ...)`` after every block. Raises :class:`BadInput` for an unknown delegate or branch, or a
    journal of other settings.
    """
    if runs < 1 or threads < 1:
        raise BadInput(f"{runs} runs on {threads} threads cannot be measured; give at least one of each.")
    for name in delegates:
        check_delegate(name)
    if not delegates:
        raise BadInput("No delegate is named; choose at least one, for example 'cpu'.")
    manifest = bundle.manifest
    chosen = manifest.branches if branches is None else [manifest.branch(i) for i in dict.fromkeys(branches)]
    if not chosen:
        raise BadInput(f"No branch is named; choose among {', '.join(b.id for b in manifest.branches)}.")
    cells = [Cell(branch, name) for name in dict.fromkeys(delegates) for branch in chosen]
    finished = _finished(bundle, cells, threads, runs, out)
    todo = [cell for cell in cells if cell.key not in finished]
    unfinished = Path(f"{out}.journal")
    same = {"bundle": bundle.digest, "threads": threads, "runs": runs, "device": device.facts()["name"]}
    discard_if_done(unfinished, same, finished)
    if todo:
        with Journal(unfinished, {**same, "cells": [c.key for c in todo]}) as journal:
            _run(bundle, todo, threads, runs, journal, tick)
            measured = [_measurement(bundle, cell, threads, journal) for cell in todo]
            _append(out, measured)
            journal.remove()
        finished.update({f"{m.branch}/{m.delegate}": m for m in measured})
    return [finished[cell.key] for cell in cells]


def _finished(bundle: Bundle, cells: list[Cell], threads: int, runs: int, out: Path) -> dict[str, Measurement]:
    """Measurements of these cells that ``out`` holds already, from this device and with as many runs."""
    if not out.exists():
        return {}
    name = device.facts()["name"]
    wanted = {(bundle.digest, c.branch.id, c.delegate, threads): c.key for c in cells}
    found = {}
    for m in records.read([out]):
        if m.key in wanted and m.device.get("name") == name and m.settings.get("runs") == runs:
            found[wanted[m.key]] = m
    return found


def _run(bundle: Bundle, cells: list[Cell], threads: int, runs: int, journal: Journal, tick: Tick) -> None:
    rounds = min(ROUNDS, runs)
    total = len(cells) * (rounds + 1)
    done = 0
    for cell in cells:
        if not journal.has("process", cell.key):
            journal.add("process", cell.key, in_own_process(bundle, cell.branch, cell.delegate, threads))
        done += 1
        tick("profile", done, total, f"memory {cell.key}")
    inputs = samples(bundle)
    runners = {cell.key: open_runner(bundle, cell.branch, cell.delegate, threads) for cell in cells}
    found = meters.find()
    for cell in cells:
        if not journal.has("start", cell.key):
            journal.add("start", cell.key, _start(bundle, cell, runners[cell.key], inputs))
    for number in range(rounds):
        order = list(cells)
        random.Random(number).shuffle(order)
        for cell in order:
            key = f"{cell.key}#{number}"
            if not journal.has("block", key):
                share = runs * (number + 1) // rounds - runs * number // rounds
                turned = np.roll(inputs, -(runs * number // rounds), axis=0)  # so that every sample has its turn
                journal.add("block", key, _block(runners[cell.key], turned, share, found))
            done += 1
            tick("profile", done, total, f"round {number + 1} {cell.key}")
    for cell in cells:
        if not journal.has("end", cell.key):
            journal.add("end", cell.key, {"context": codec.to_json(device.snapshot(SNAPSHOT_S))})


def samples(bundle: Bundle) -> np.ndarray:
    """The bundle's real sample inputs: float32 (count, *input shape without batch)."""
    spec = bundle.manifest.samples
    shape = bundle.manifest.branches[0].input.shape[1:]
    return np.fromfile(bundle.path(spec.file), "<f4").reshape(spec.count, *shape)


def _start(bundle: Bundle, cell: Cell, run: Runner, inputs: np.ndarray) -> dict[str, Any]:
    """What is known before the first timed run: context, correctness, what the delegate took, the warm-up."""
    from converters import flatbuffer

    context = codec.to_json(device.snapshot(SNAPSHOT_S))
    warmup = [_timed(run, run.quantize(inputs[:1])) for _ in range(WARMUP)]  # before anything else warms it up
    outputs = np.concatenate([run(x[np.newaxis]) for x in inputs])
    expected = np.fromfile(bundle.path(cell.branch.expected), "<f4").reshape(outputs.shape)
    difference = float(np.abs(outputs - expected).max())
    alone = flatbuffer.extract(bundle.path(cell.branch.file).read_bytes(), cell.branch.signature)
    return {
        "context": context,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "agreement": float(np.mean(outputs.argmax(-1) == expected.argmax(-1))),
        "difference": difference if np.isfinite(difference) else None,
        "warmup_ms": warmup,
        "delegation": codec.to_json(delegation(alone, cell.delegate)),
    }


def _block(run: Runner, inputs: np.ndarray, runs: int, found: Any) -> dict[str, Any]:
    """A block of timed runs after one that re-warms the caches; then, where a meter is, runs for the energy alone."""
    stored = [run.quantize(x[np.newaxis]) for x in inputs]
    _timed(run, stored[0])
    begun = time.perf_counter()
    latencies: list[float] = []
    while len(latencies) < runs and (len(latencies) < 2 or time.perf_counter() - begun < BLOCK_S):
        latencies.append(_timed(run, stored[len(latencies) % len(stored)]))
    name, counter = found or (None, None)
    spent = None if counter is None else meters.per_run_mj(lambda: run.invoke(stored[0]), counter)
    return {"latency_ms": latencies, "energy_mj": spent, "meter": name}


def _timed(run: Runner, stored: np.ndarray) -> float:
    """One inference in milliseconds, until its output lies in an array on the CPU."""
    before = time.perf_counter_ns()
    run.invoke(stored)
    return (time.perf_counter_ns() - before) / 1e6


def _measurement(bundle: Bundle, cell: Cell, threads: int, journal: Journal) -> Measurement:
    start, process = journal.get("start", cell.key), journal.get("process", cell.key)
    blocks = journal.all("block", f"{cell.key}#")
    branch = cell.branch
    taken = start["delegation"]
    return Measurement(
        format=records.FORMAT,
        bundle=bundle.digest,
        branch=branch.id,
        recipe=branch.recipe,
        precision=branch.precision,
        delegate=cell.delegate,
        threads=threads,
        device=device.facts(),
        cost=branch.cost,
        warmup_ms=tuple(start["warmup_ms"]),
        latency_ms=tuple(ms for block in blocks for ms in block["latency_ms"]),
        rounds=len(blocks),
        load_ms=process.get("load_ms"),
        memory_mb=process.get("memory_mb"),
        memory_reason=process.get("reason"),
        energy=_energy(branch, blocks),
        delegation=None if taken is None else codec.from_json(Delegation, taken, "delegation"),
        delegation_reason=_delegation_reason(cell.delegate, taken),
        outputs=_agreement(bundle.manifest.samples.count, start),
        context_before=codec.from_json(Context, start["context"], "context"),
        context_after=codec.from_json(Context, journal.get("end", cell.key)["context"], "context"),
        started=start["started"],
        versions=device.versions(),
        settings={"runs": journal.settings["runs"]},
    )


def _delegation_reason(name: str, taken: dict[str, int] | None) -> str | None:
    """Why nothing is known of what the delegate took, or that it took nothing although it is there to take."""
    if taken is None:
        return f"LiteRT does not tell for the delegate {name}"
    if name != "reference" and codec.from_json(Delegation, taken, "delegation").verdict == "not":
        return f"{name} took none of the {taken['nodes']} operators, so plain kernels ran"
    return None


def _agreement(samples: int, start: dict[str, Any]) -> Agreement | None:
    """None where outputs are not finite numbers: no difference can be stated, and a file of null could not be read."""
    return None if start["difference"] is None else Agreement(samples, start["agreement"], start["difference"])


def _energy(branch: Branch, blocks: list[dict[str, Any]]) -> Energy:
    measured = [block["energy_mj"] for block in blocks if block["energy_mj"] is not None]
    names = {block["meter"] for block in blocks if block.get("meter")}
    if measured and len(names) == 1:
        return Energy(records.quantile(measured, 0.5), f"measured:{names.pop()}")
    if names:
        still = f"the energy meter {', '.join(sorted(names))} did not move"
        return meters.estimate(branch.cost, branch.precision, still)
    return meters.estimate(branch.cost, branch.precision)


def _append(out: Path, measurements: list[Measurement]) -> None:
    text = "".join(codec.dump_line(m) for m in measurements)
    before = out.read_text(encoding="utf-8") if out.exists() else ""
    codec.write_text(out, before[: before.rfind("\n") + 1] + text)
    with out.open("rb") as file:  # the journal is deleted next, so the measurements must be on the disk
        os.fsync(file.fileno())
