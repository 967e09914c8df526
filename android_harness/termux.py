"""Profiling in Termux, for phones whose adb shell has no Python: files for the phone's storage, and their results.

The agent does the same jobs there, and what it says goes to a file. That file becomes measurements here.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import EnergyFact, Fact
from adascale_runtime.seams.jobs import Failed, Finished, Job, parse
from adascale_runtime.seams.records import Measurement
from adascale_runtime.text import excerpt
from android_harness import package, store
from android_harness.adb import Adb
from android_harness.harness import NOT_ASKED
from android_harness.runner import Options
from profiling import cells as table
from profiling.cells import Cell
from profiling.driver import NoFact, usable
from profiling.jobs import jobs_of

#: Where files of a computer and of Termux meet.
SHARED = "/sdcard/Download/adascale"
RESULTS = "results.log"
#: Bytes of a plan or of results: those of a thousand cells have some 10 MB.
MOST = 128 << 20
LINES = (
    "pkg install -y python && termux-setup-storage",
    f"mkdir -p ~/adascale && cd ~/adascale && cp {SHARED}/* . && python -m zipfile -e bundle.zip bundle",
    f"python agent.pyz {{litert}}bench plan.json | tee {SHARED}/{RESULTS}",
)


def commands(with_library: bool) -> list[str]:
    """The three lines to paste into Termux."""
    return [line.format(litert="--litert ./libLiteRt.so " if with_library else "") for line in LINES]


def files(bundle: Bundle, cells: Sequence[Cell], options: Options, library: Path | None) -> dict[str, bytes]:
    """What Termux needs: the agent, the bundle as a .zip, the plan, and LiteRT's library for arm64 if it is given."""
    agenda = options.agenda("bundle", jobs_of(cells, options.schedule))
    text = {**codec.to_json(agenda), "digest": bundle.digest, "settings": {**options.settings(), "where": "termux"}}
    brought = {"agent.pyz": package.agent(), "plan.json": codec.dump(text).encode(), "bundle.zip": _zipped(bundle)}
    if library is not None:
        for name, content in store.libraries(library, "arm64-v8a").items():
            brought[name] = content if isinstance(content, bytes) else content.read_bytes()
    return brought


def _zipped(bundle: Bundle) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in store.bundle_files(bundle).items():
            assert isinstance(content, Path)
            archive.write(content, name.partition("/")[2])
    return buffer.getvalue()


@dataclass(frozen=True)
class Brought:
    """The plan as it lies on the phone: whose bundle, what the measurements are to carry, and the jobs."""

    digest: str
    settings: dict[str, Any]
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Pulled:
    """What came back: ``missing`` says of cells why they were not measured, ``unfinished`` those that wait."""

    measurements: list[Measurement]
    missing: list[str]
    unfinished: bool


def pull(adb: Adb, device: dict[str, Any], bundle: Bundle) -> Pulled:
    """The measurements in the results on the phone; :class:`BadInput` if the plan there is another bundle's."""
    where = f"The plan on {adb.address}"
    plan = codec.from_json(Brought, codec.parse(_fetched(adb, "plan.json"), where), where)
    if plan.digest != bundle.digest:
        raise BadInput(f"{where} is of another bundle; give that bundle, or run 'adascale agent' again.")
    text = _fetched(adb, RESULTS).decode(errors="replace")
    return collect(text, plan, bundle, device)


def _fetched(adb: Adb, name: str) -> bytes:
    """A file of the phone's storage, if it is no larger than such files are."""

    def tell(done: int) -> None:
        if done > MOST:
            raise BadInput(f"{SHARED}/{name} on {adb.address} has more than {MOST >> 20} MB; run the plan there again.")

    return adb.pull(f"{SHARED}/{name}", tell)


def clean(adb: Adb) -> None:
    """Remove what was brought to the phone's storage, and the results."""
    names = " ".join(("agent.pyz", "bundle.zip", "plan.json", RESULTS, "libLiteRt*.so"))
    adb.shell(f"cd {SHARED} && rm -f {names}; rmdir {SHARED}", timeout_s=60)


def new(measurements: Sequence[Measurement], out: Path) -> list[Measurement]:
    """Those that ``out`` does not hold yet: the same cell of the same device with the same latencies is there."""
    there = {_identity(m) for m in records.runs([out])} if out.exists() else set()
    return [m for m in measurements if _identity(m) not in there]


def _identity(m: Measurement) -> Any:
    return m.key, m.device.get("name"), m.latency_ms


def collect(text: str, plan: Brought, bundle: Bundle, device: dict[str, Any]) -> Pulled:
    """Measurements from what the agent said; pure."""
    known: dict[tuple[str, str], Fact] = {}
    failed: dict[str, str] = {}
    named = {(job.kind, job.key): job for job in plan.jobs}
    for message in map(parse, text.splitlines()):
        if isinstance(message, (Finished, Failed)) and (message.kind, message.key) in named:
            job = named[message.kind, message.key]
            try:
                known[job.kind, job.key] = usable(job, message)
            except NoFact as error:
                failed.setdefault(job.cell, str(error))
    pulled = Pulled([], [], False)
    for cell in _cells(plan, bundle):
        complete = all((job.kind, job.key) in known for job in plan.jobs if job.cell == cell.key)
        if cell.key in failed or not complete:
            pulled.missing.append(f"{cell.key}: {failed.get(cell.key, 'not finished')}")
            pulled = replace(pulled, unfinished=pulled.unfinished or cell.key not in failed)
            continue
        known.setdefault(("energy", cell.key), EnergyFact(reason=NOT_ASKED))
        try:
            pulled.measurements.append(table.measurement(bundle, cell, PulledFacts(known), device, {}, plan.settings))
        except (BadInput, KeyError) as error:  # a plan without one of the kinds
            pulled.missing.append(f"{cell.key}: its facts make no measurement ({excerpt(str(error), 200)})")
    return pulled


def _cells(plan: Brought, bundle: Bundle) -> list[Cell]:
    cells: dict[str, Cell] = {}
    for job in plan.jobs:
        cell = Cell(bundle.manifest.branch(job.branch), job.delegate, job.threads)
        if cell.key != job.cell:
            raise BadInput(
                f"The plan's job {job.kind} {excerpt(job.key)} is of no cell of the bundle; run 'adascale agent' again."
            )
        cells[cell.key] = cell
    return list(cells.values())


class PulledFacts:
    """Facts by kind and key that are known already, as a journal gives them."""

    def __init__(self, known: dict[tuple[str, str], Fact]) -> None:
        self._known = known

    def get(self, kind: str, key: str) -> Any:
        return self._known[kind, key]

    def all(self, kind: str, prefix: str) -> list[Any]:
        return [value for (k, key), value in self._known.items() if k == kind and key.startswith(prefix)]
