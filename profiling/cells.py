"""The cells of the table to measure, and how the facts that were found out about a cell become a measurement.

The same for this machine (``measure.py``) and for a phone (``android_harness``): whoever measures puts facts into a
journal, of the kinds ``process`` (memory, load time), ``start`` (context, correctness, warm-up, delegation), ``block``
(timed runs), ``energy`` and ``end`` (context), under the cell's key.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from adascale_tf import codec, records
from adascale_tf.bundle import Branch, Bundle
from adascale_tf.errors import BadInput
from adascale_tf.records import Agreement, Context, Delegation, Energy, Measurement, OperatorTime
from profiling import meters


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


def share(runs: int, rounds: int, number: int) -> int:
    """How many of ``runs`` timed runs belong to round ``number`` of ``rounds``."""
    return runs * (number + 1) // rounds - runs * number // rounds


def finished(bundle: Bundle, cells: Sequence[Cell], settings: dict[str, Any], device: str, out: Path) -> dict[str, Any]:
    """Measurements of these cells that ``out`` holds already, of this device and taken with the same settings."""
    if not out.exists():
        return {}
    wanted = {(bundle.digest, c.branch.id, c.delegate, c.threads): c.key for c in cells}
    return {
        wanted[m.key]: m
        for m in records.read([out])
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
    """What the journal knows of a cell that is done."""
    start, process = journal.get("start", cell.key), journal.get("process", cell.key)
    blocks = journal.all("block", f"{cell.key}#")
    branch, taken = cell.branch, start["delegation"]
    return Measurement(
        format=records.FORMAT,
        bundle=bundle.digest,
        branch=branch.id,
        recipe=branch.recipe,
        precision=branch.precision,
        delegate=cell.delegate,
        threads=cell.threads,
        device=device,
        cost=branch.cost,
        warmup_ms=tuple(start["warmup_ms"]),
        latency_ms=tuple(ms for block in blocks for ms in block["latency_ms"]),
        rounds=len(blocks),
        load_ms=process.get("load_ms"),
        memory_mb=process.get("memory_mb"),
        memory_reason=process.get("reason"),
        energy=_energy(branch, journal.get("energy", cell.key)),
        delegation=None if taken is None else codec.from_json(Delegation, taken, "delegation"),
        delegation_reason=delegation_reason(cell.delegate, taken, start.get("delegation_reason")),
        outputs=_agreement(bundle.manifest.samples.count, start),
        context_before=codec.from_json(Context, start["context"], "context"),
        context_after=codec.from_json(Context, journal.get("end", cell.key)["context"], "context"),
        started=start["started"],
        versions=versions,
        settings=settings,
        operators=tuple(codec.from_json(OperatorTime, o, "operators") for o in start.get("operators", ())),
    )


def delegation_reason(name: str, taken: dict[str, int] | None, reason: str | None = None) -> str | None:
    """Why nothing is known of what the delegate took, or that it took nothing although it is there to take."""
    if taken is None:
        return reason or f"LiteRT does not tell for the delegate {name}"
    if name != "reference" and codec.from_json(Delegation, taken, "delegation").verdict == "not":
        return f"{name} took none of the {taken['nodes']} operators, so plain kernels ran"
    return None


def _agreement(samples: int, start: dict[str, Any]) -> Agreement | None:
    """None where outputs are not finite numbers: no difference can be stated, and a file of null could not be read."""
    return None if start["difference"] is None else Agreement(samples, start["agreement"], start["difference"])


def _energy(branch: Branch, found: dict[str, Any]) -> Energy:
    """What was measured, else the estimate with the reason why nothing was."""
    if found.get("value_mj") is None:
        return meters.estimate(branch.cost, branch.precision, found["reason"])
    return codec.from_json(Energy, found, "energy")


def append(out: Path, measurements: Sequence[Measurement]) -> None:
    """Add measurements to a file, at a cost that does not grow with it; others who add at the same time wait.

    A kill meanwhile leaves whole lines and at most a part of one, which the next who adds removes, as readers do.
    """
    data = "".join(codec.dump_line(m) for m in measurements).encode()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(_whole(file))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the journal is deleted next, so the measurements must be on the disk
    except OSError as error:
        raise BadInput(f"{out} cannot be written ({error.strerror}); choose another --out.") from None


def _whole(file: BinaryIO) -> int:
    """The size of a file up to the end of its last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - 65536)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
