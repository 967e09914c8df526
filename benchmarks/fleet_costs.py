"""What a lease really costs: the harness on emulated phones, the output file, and Dask, each with all raw samples."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fleet_assumed import Costs
from phones import phone

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec
from adascale_runtime.progress import silent
from adascale_runtime.seams import bundle, records
from android_harness import keys, phone_facts, store
from android_harness.adb import Address, connect
from android_harness.harness import Harness, Outcome
from android_harness.runner import AgentRunner, Options, host_library
from profiling import cells as table

CELLS_PER_LEASE = 4
#: Short times where only what comes on top of them is looked for.
IMPATIENT = Options(runs=5, patience_s=2.0, idle_s=0.1, batch_s=0.1)


class Watch:
    """A tick that keeps the seconds of each task of the phone, by kind and cell; ``then`` hears of each begin."""

    def __init__(self, then: Callable[[str], None] = lambda kind: None) -> None:
        self.tasks: list[tuple[str, str, float]] = []
        self._then, self._begun, self._done = then, 0.0, -1

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        kind, _, cell = note.partition(" ")
        if not what.startswith("profile") or kind.endswith(":"):
            return
        if done > self._done >= 0:
            self.tasks.append((kind, cell, now - self._begun))
        else:
            self._then(kind)
        self._begun, self._done = now, done


def leases(opened: bundle.Bundle, folder: Path, repeats: int) -> dict[str, Any]:
    """All branches on two delegates, a lease of some cells at a time as a fleet does it, again and again; energy once.

    The phone keeps the files between the leases of a repetition and is bare before the next.
    """
    ids = [branch.id for branch in opened.manifest.branches]
    leases: dict[str, Any] = {
        "cells": {}, "tasks": {}, "first": [], "next": [], "energy": [], "seconds": [], "host_cpu_s": [],
        "lines": [], "measured_cells": 0,
    }  # fmt: skip
    signer = keys.load(folder / "adbkey")[0]
    with phone(folder / "phone") as (_, address):
        for repeat in range(repeats):
            for place, (delegate, start) in enumerate(
                (d, s) for d in ("cpu", "builtin") for s in range(0, len(ids), CELLS_PER_LEASE)
            ):
                out = folder / f"{repeat}.jsonl"
                watch, chosen = Watch(), ids[start : start + CELLS_PER_LEASE]
                harness = Harness(opened, address, Options(), out, signer=signer, tick=watch)
                cpu = time.process_time()
                outcome = harness.profile([delegate], [1], chosen, keep=True, clean=place == 0)
                _note(leases, outcome, watch, time.process_time() - cpu, "next" if place else "first")
        watch, out = Watch(), folder / "energy.jsonl"
        energetic = Options(energy=True, patience_s=30.0)
        outcome = Harness(opened, address, energetic, out, signer=signer, tick=watch).profile(
            ["cpu"], [1], ids[: 2 * repeats]
        )
        leases["energy"] = [seconds for kind, _, seconds in watch.tasks if kind == "energy"]
        leases["energy_lines"] = [codec.dump_line(m) for m in outcome.measurements]
        leases["steps"] = _steps(address, signer, opened, repeats)
    leases["pushed_bytes"] = _pushed(opened)
    return leases


def _note(leases: dict[str, Any], outcome: Outcome, watch: Watch, cpu_s: float, place: str) -> None:
    """Keep what a lease took: each cell's tasks together, and what is beside them."""
    if outcome.failed:
        raise AdaScaleError(f"{len(outcome.failed)} cells failed: {next(iter(outcome.failed.values()))}")
    sums: dict[str, float] = {}
    for kind, cell, seconds in watch.tasks:
        leases["tasks"].setdefault(kind, []).append(seconds)
        sums[cell] = sums.get(cell, 0.0) + seconds
    for cell, seconds in sums.items():
        leases["cells"].setdefault(cell, []).append(seconds)
    leases[place].append(outcome.seconds - sum(sums.values()))
    leases["seconds"].append(outcome.seconds)
    leases["host_cpu_s"].append(cpu_s)
    leases["measured_cells"] += len(sums)
    leases["lines"] += [codec.dump_line(m) for m in outcome.measurements]


def _steps(address: Address, signer: Any, opened: bundle.Bundle, repeats: int) -> dict[str, list[float]]:
    """Seconds of what surrounds the tasks, each step by itself: files sent to a bare phone, seen there, removed."""
    spent: dict[str, list[float]] = {name: [] for name in ("connect", "facts", "bring", "see", "agent", "remove")}

    def timed(name: str, act: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        told = act()
        spent[name].append(time.monotonic() - begun)
        return told

    for _ in range(repeats):
        adb = timed("connect", partial(connect, address, signer))
        told = timed("facts", partial(phone_facts.read, adb))
        store.remove(adb)
        for name in ("bring", "see"):
            timed(name, partial(store.bring, adb, store.bundle_files(opened)))
        prepare = partial(AgentRunner(Options()).prepare, adb, told, ["cpu"], silent)
        prepare()
        timed("agent", prepare)
        timed("remove", partial(store.remove, adb))
        adb.close()
    return spent


def _pushed(opened: bundle.Bundle) -> dict[str, int]:
    """Bytes that a bare phone gets."""
    import platform

    def size(files: dict[str, store.Content]) -> int:
        return sum(len(c) if isinstance(c, bytes) else c.stat().st_size for c in files.values())

    machine = platform.machine()
    agent = size(store.agent_files(host_library(machine), machine, False))
    return {"bundle": size(store.bundle_files(opened)), "agent and LiteRT": agent}


def deaths(opened: bundle.Bundle, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds from a phone's death in the middle of a block to the harness giving up, beyond its patience.

    ``cut``: connections are closed and refused. ``silent``: nothing answers any more; beyond the silence that a task
    may keep, too.
    """
    signer = keys.load(folder / "adbkey")[0]

    def once(name: str, number: signal.Signals) -> float:
        with phone(folder / name) as (process, address):
            died: list[float] = []

            def then(kind: str) -> None:
                if kind == "block" and not died:
                    process.send_signal(number)
                    died.append(time.monotonic())

            try:
                Harness(opened, address, IMPATIENT, folder / f"{name}.jsonl", signer=signer, tick=Watch(then)).profile(
                    ["cpu"], [1]
                )
            except AdaScaleError:
                return time.monotonic() - died[0] - IMPATIENT.patience_s
            finally:
                process.kill()  # one that is stopped does not hear of anything else
            raise AssertionError("a phone that is gone was measured")

    return {
        "cut": [once(f"cut{n}", signal.SIGKILL) for n in range(repeats)],
        "silent": [once("silent", signal.SIGSTOP) - IMPATIENT.silence_s],
    }


def storage(lines: list[str], folder: Path) -> dict[str, Any]:
    """Bytes of measurements as they are and packed; seconds to add a lease's to files of several sizes."""
    sizes = [len(line) for line in lines]
    packed = len(gzip.compress("".join(lines).encode())) / len(lines)
    some = [codec.from_json(records.Measurement, json.loads(line), "line") for line in lines[:CELLS_PER_LEASE]]
    appends = []
    for count in (0, 10_000, 100_000):
        out = folder / f"append{count}.jsonl"
        out.write_text("".join((lines * (count // len(lines) + 1))[:count]))
        seconds = []
        for _ in range(10):
            begun = time.monotonic()
            table.append(out, some)
            seconds.append(time.monotonic() - begun)
        appends.append({"lines": count, "bytes": out.stat().st_size, "seconds": seconds})
        out.unlink()
    return {"line_bytes": sizes, "gzip_bytes_per_line": packed, "appends": appends}


def dask(tasks: int = 2000, answer_bytes: int = 16_000) -> dict[str, Any]:
    """Tasks a second of a scheduler with two worker processes on this machine, pinned as a fleet's are.

    ``nothing``: tasks that give nothing; ``answers``: as large as a lease's. All at once, then one after the other.
    """
    import logging

    from distributed import Client, LocalCluster, as_completed

    logging.getLogger("distributed").setLevel(logging.ERROR)
    dask: dict[str, Any] = {"tasks": tasks, "answer_bytes": answer_bytes}
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=4, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        workers = list(client.scheduler_info()["workers"])

        def submit(number: int, size: int) -> Any:
            return client.submit(bytes, size, pure=False, workers=[workers[number % 2]])

        client.gather([submit(n, 0) for n in range(100)])
        for name, size in (("nothing", 0), ("answers", answer_bytes)):
            begun = time.monotonic()
            futures = [submit(n, size) for n in range(tasks)]
            for future in as_completed(futures):
                assert len(future.result()) == size
            dask[f"{name}_per_s"] = tasks / (time.monotonic() - begun)
            del futures
        dask["round_trip_s"] = []
        for number in range(100):
            begun = time.monotonic()
            submit(number, answer_bytes).result()
            dask["round_trip_s"].append(time.monotonic() - begun)
    return dask


def measure(opened: bundle.Bundle, folder: Path, repeats: int, tasks: int) -> dict[str, Any]:
    """All of the above as plain JSON."""
    leased = leases(opened, folder, repeats)
    died = deaths(opened, folder, repeats)
    stored = storage(leased.pop("lines"), folder) | {
        "energy_line_bytes": [len(line) for line in leased.pop("energy_lines")]
    }
    shutil.rmtree(folder / "phone", ignore_errors=True)
    return {"leases": leased, "deaths": died, "storage": stored, "dask": dask(tasks)}


def costs(measured: dict[str, Any]) -> Costs:
    """What the simulation draws from."""
    leased, died = measured["leases"], measured["deaths"]
    appends = [seconds for size in measured["storage"]["appends"] for seconds in size["seconds"]]
    return Costs(
        tuple(map(tuple, leased["cells"].values())), tuple(leased["energy"]), tuple(leased["first"]),
        tuple(leased["next"]), tuple(died["cut"]), tuple(died["silent"]), sum(leased["pushed_bytes"].values()),
        1 / measured["dask"]["answers_per_s"], records.quantile(appends, 0.5),
    )  # fmt: skip
