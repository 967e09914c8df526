"""Cells, the combinations to measure, and how the facts about a cell become a measurement.

The same for this machine and for a phone: a runner's facts (:mod:`adascale_runtime.seams.facts`) go into a journal, of
the kinds ``process`` (memory, load time), ``start`` (context, correctness, warm-up, delegation), ``block`` (timed
runs), ``energy`` and ``end`` (context), under the cell's key.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from adascale_runtime.engines.delegates import lookup
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec, disk
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Block, EnergyFact, Process, Start
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.pace import Pace
from adascale_runtime.seams.records import Agreement, Delegation, Energy, Measurement
from profiling import meters
from profiling.promises import supported


@dataclass(frozen=True)
class Cell:
    """One row of the table to measure."""

    branch: Branch
    delegate: str
    threads: int

    @property
    def key(self) -> str:
        return f"{self.branch.id}/{self.delegate}x{self.threads}"


def choose(
    bundle: Bundle, delegates: Sequence[str], threads: Sequence[int], runs: int, branches: Sequence[str] | None = None
) -> list[Cell]:
    """All combinations; :class:`BadInput` says what is missing or unknown. ``branches``: ids, None for all."""
    if runs < 1 or not threads or min(threads) < 1:
        numbers = ", ".join(map(str, threads)) or "no"
        raise BadInput(f"{runs} runs on {numbers} threads cannot be measured; give at least one of each.")
    if not delegates:
        raise BadInput("No delegate is named; choose at least one, for example 'cpu'.")
    manifest = bundle.manifest
    chosen = manifest.branches if branches is None else [manifest.branch(i) for i in dict.fromkeys(branches)]
    if not chosen:
        raise BadInput(f"No branch is named; choose among {', '.join(b.id for b in manifest.branches)}.")
    return [
        Cell(branch, name, count)
        for name in dict.fromkeys(delegates)
        for count in dict.fromkeys(threads)
        for branch in chosen
    ]


def finished(
    bundle: Bundle, cells: Sequence[Cell], settings: dict[str, Any], device: str, out: Path, since: int = 0
) -> dict[str, Measurement]:
    """The latest measurements of these cells in ``out``, of this device and taken with the same settings, by cell.

    ``since``: so many of the first measurements in ``out`` do not count.
    """
    if not out.exists():
        return {}
    wanted = {(bundle.digest, c.branch.id, c.delegate, c.threads): c.key for c in cells}
    return {
        wanted[m.key]: m
        for m in records.runs([out])[since:]
        if m.key in wanted and m.device.get("name") == device and m.settings == settings
    }


class Facts(Protocol):
    """Where facts are: a journal, or what an agent wrote elsewhere."""

    def get(self, kind: str, key: str) -> Any: ...

    def all(self, kind: str, prefix: str) -> list[Any]: ...


def measurement(
    bundle: Bundle, cell: Cell, journal: Facts, device: dict[str, Any], versions: dict[str, str],
    settings: dict[str, Any],
) -> Measurement:  # fmt: skip
    """What the journal knows of a cell that is done; :class:`BadInput` if that could not be read again."""
    start: Start = journal.get("start", cell.key)
    process: Process = journal.get("process", cell.key)
    blocks = journal.all("block", f"{cell.key}#")
    branch = cell.branch
    known = None if start.delegation is not None else supported(branch, cell.delegate, device, versions)
    promised = None if known is None else known.partitions
    measured = Measurement(
        format=records.FORMAT,
        bundle=bundle.digest,
        branch=branch.id,
        recipe=branch.recipe,
        precision=branch.precision,
        delegate=cell.delegate,
        threads=cell.threads,
        device=device,
        cost=branch.cost,
        warmup_ms=start.warmup_ms,
        latency_ms=tuple(ms for block in blocks for ms in block.latency_ms),
        paces=joined(blocks),
        rounds=len(blocks),
        load_ms=process.load_ms,
        memory_mb=process.memory_mb,
        memory_reason=process.reason,
        energy=_energy(branch, journal.get("energy", cell.key)),
        delegation=start.delegation,
        delegation_reason=delegation_reason(cell.delegate, start.delegation, start.delegation_reason),
        outputs=_agreement(bundle.manifest.samples.count, start),
        context_before=start.context,
        context_after=journal.get("end", cell.key).context,
        started=start.started,
        versions=versions,
        settings=settings,
        operators=start.operators,
        promised_partitions=promised,
    )
    line(measured)
    return measured


def joined(blocks: Sequence[Block]) -> tuple[Pace, ...]:
    """The paces of blocks, counted over the runs of all of them; none if one of them has none."""
    paces: list[Pace] = []
    before = 0
    for block in blocks:
        if not block.paces:
            return ()
        paces += [replace(pace, run=before + pace.run) for pace in block.paces]
        before += len(block.latency_ms)
    return tuple(paces)


def delegation_reason(name: str, taken: Delegation | None, reason: str | None = None) -> str | None:
    """Why nothing is known of what the delegate took, or that it took nothing although it is there to take."""
    if taken is None:
        return reason or f"LiteRT does not report it for the delegate {name}"
    if not lookup(name).plain and taken.verdict == "not":
        return f"{name} took none of the {taken.nodes} operators, so plain kernels ran"
    return None


def _agreement(samples: int, start: Start) -> Agreement | None:
    """None where outputs are not finite numbers: no difference can be stated, and a file of null could not be read."""
    if start.difference is None or start.agreement is None:
        return None
    return Agreement(samples, start.agreement, start.difference)


def _energy(branch: Branch, told: EnergyFact) -> Energy:
    """What was measured, else the estimate with the reason why nothing was."""
    if told.value_mj is None:
        return meters.estimate(branch.cost, branch.precision, told.reason or "no energy was measured")
    return Energy(told.value_mj, told.how, told.reason, told.uncertainty_mj, told.details)


def line(measured: Measurement) -> str:
    """A measurement as a line of a file; :class:`BadInput` if readers would refuse it."""
    where = f"The measurement of {measured.branch}"
    written = codec.dump_line(measured)
    codec.from_json(Measurement, codec.parse(written, where), where)
    return written


def append(out: Path, measurements: Sequence[Measurement]) -> None:
    """Add measurements to a file, at a cost that does not grow with it; others who add at the same time wait.

    All are added or none: :class:`BadInput` for one that could not be read again, or a disk that does not take them. A
    kill meanwhile leaves whole lines and at most a part of one, which the next who adds removes, as readers do.
    """
    data = "".join(map(line, measurements)).encode()
    with disk.writing(out, "free some space or choose another --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = _whole(file)
            file.truncate(end)
            try:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())  # the journal is deleted next, so the measurements must be on the disk
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise


def _whole(file: FileIO) -> int:
    """The size of a file up to the end of its last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - 65536)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0
