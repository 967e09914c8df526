"""What the harness costs, each against a peer in the same run, on an emulated phone in a process of its own.

* Push and pull of a file against the real ``adb`` client: its own printed figure, which leaves its start out.
* Time of a profile that is not spent on the phone's tasks.
* A call of the agent (ctypes on LiteRT's C library) against one of LiteRT's Python wheel.

All of it is repeated with a fresh phone; with ``--wander`` this machine's speed wanders meanwhile. Prints the middle
repeat and the worst with the goals, and writes ``benchmarks/results/harness.json``.

    python benchmarks/harness.py build/demo/bundle
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import drift
import evidence
import numpy as np
from goals import repeated, show
from phones import phone

from adascale_runtime.engines import accelerators
from adascale_runtime.engines.delegates import library
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import bundle
from adascale_runtime.seams.records import quantile
from android_harness import keys
from android_harness.adb import Address, connect
from android_harness.harness import Harness
from android_harness.runner import Options

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "android_harness/adb.py",
    "android_harness/transport.py",
    "android_harness/harness.py",
    "android_harness/runner.py",
    "android_harness/store.py",
    "android_harness/agent",
    "adascale_runtime",
)
RESULTS = Path(__file__).parent / "results" / "harness.json"
ADB_PORT = "5047"  # of an adb server of our own, so that a running one is left alone


@dataclass(frozen=True)
class Size:
    """Bytes of the file that is sent and how often, runs of each branch, calls of the agent, and repeats of it all."""

    size: int = 20_000_000
    rounds: int = 11
    runs: int = 50
    calls: int = 3000
    repeats: int = 3


SMOKE = Size(size=2_000_000, rounds=3, runs=5, calls=100, repeats=2)


def transfers(port: int, folder: Path, sizes: Size) -> dict[str, list[float]]:
    """Seconds of each push and pull, ours and adb's in turn."""
    source, target = folder / "source.bin", folder / "target.bin"
    source.write_bytes(np.random.default_rng(0).bytes(sizes.size))
    environment = {**os.environ, "HOME": str(folder)}
    seconds: dict[str, list[float]] = {"push": [], "adb push": [], "pull": [], "adb pull": []}

    def client(*words: str) -> str:
        done = subprocess.run(
            ["adb", "-P", ADB_PORT, *words], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout + done.stderr

    def printed(text: str) -> float:
        return float(re.search(r"bytes in ([\d.]+)s", text).group(1))  # type: ignore[union-attr]

    client("connect", f"127.0.0.1:{port}")
    try:
        with connect(Address("127.0.0.1", port), keys.load(folder / "adbkey")[0]) as adb:
            for _ in range(sizes.rounds):
                begun = time.perf_counter()
                adb.push(source, "/data/local/tmp/ours.bin")
                seconds["push"].append(time.perf_counter() - begun)
                seconds["adb push"].append(printed(client("push", str(source), "/data/local/tmp/adbs.bin")))
                begun = time.perf_counter()
                target.write_bytes(adb.pull("/data/local/tmp/ours.bin"))
                seconds["pull"].append(time.perf_counter() - begun)
                seconds["adb pull"].append(printed(client("pull", "/data/local/tmp/adbs.bin", str(folder / "adb.bin"))))
                assert target.read_bytes() == source.read_bytes()
    finally:
        client("kill-server")
    return seconds


def overhead(port: int, opened: bundle.Bundle, folder: Path, runs: int) -> dict[str, float]:
    """A profile of all branches on two delegates: seconds in all, on the phone's tasks, and in timed runs."""
    harness = Harness(
        opened,
        Address("127.0.0.1", port),
        Options(runs=runs),
        folder / "m.jsonl",
        signer=keys.load(folder / "adbkey")[0],
    )
    outcome = harness.profile(["cpu", "builtin"], [1])
    if outcome.failed:
        raise AdaScaleError(f"{len(outcome.failed)} cells failed: {next(iter(outcome.failed.values()))}")
    timed = sum(sum(m.latency_ms) for m in outcome.measurements) / 1e3
    count = len(outcome.measurements)
    return {"seconds": outcome.seconds, "tasks_s": outcome.measuring_s, "timed_runs_s": timed, "measurements": count}


def calls(opened: bundle.Bundle, count: int) -> dict[str, list[float]]:
    """Milliseconds of a call of the cheapest branch: write, run, read; ours and the wheel's in turn."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.cpu_options import CpuOptions
    from ai_edge_litert.options import Options as WheelOptions

    branch = min(opened.manifest.branches, key=lambda b: b.cost.macs)
    path = str(opened.path(branch.file))
    ours = accelerators.open_compiled(library(), path, branch.signature, "cpu")
    wheel = CompiledModel.from_file(path, options=WheelOptions(cpu_options=CpuOptions(num_threads=1)))
    index = wheel.get_signature_index(branch.signature)
    source, target = wheel.create_input_buffers(index), wheel.create_output_buffers(index)
    x = np.zeros(branch.input.shape, branch.input.dtype)
    stored, values = x.tobytes(), int(np.prod(branch.output.shape))

    def theirs() -> Any:
        source[0].write(x)
        wheel.run_by_index(index, source, target)
        return target[0].read(values, np.dtype(branch.output.dtype).type)

    assert ours.run(stored) == np.asarray(theirs()).tobytes()
    opening_ms: dict[str, list[float]] = {"ctypes": [], "wheel": []}
    for _ in range(count):
        for name, call in (("ctypes", lambda: ours.run(stored)), ("wheel", theirs)):
            begun = time.perf_counter()
            call()
            opening_ms[name].append(1e3 * (time.perf_counter() - begun))
    return opening_ms


def once(opened: bundle.Bundle, sizes: Size) -> dict[str, Any]:
    """All of it, with a fresh phone."""
    with tempfile.TemporaryDirectory() as name, phone(Path(name) / "phone") as (_, address):
        moved = transfers(address.port, Path(name), sizes)
        spent = overhead(address.port, opened, Path(name), sizes.runs)
    called = {n: {"p50": quantile(v, 0.5), "p90": quantile(v, 0.9)} for n, v in calls(opened, sizes.calls).items()}
    return {
        "transfers_s": moved, "profile": spent, "calls_ms": called,
        "push": quantile(moved["adb push"], 0.5) / quantile(moved["push"], 0.5),
        "pull": quantile(moved["adb pull"], 0.5) / quantile(moved["pull"], 0.5),
        "outside": 1 - spent["tasks_s"] / spent["seconds"],
        "call": called["ctypes"]["p50"] / called["wheel"]["p50"],
    }  # fmt: skip


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repeats", type=int, default=Size.repeats, help="(default: %(default)s)")
    drift.add_option(parser)
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    if shutil.which("adb") is None:
        print("The peer is missing; install the adb client (Debian's package 'adb').", file=sys.stderr)
        return 2
    sizes = SMOKE if options.smoke else Size(repeats=max(1, options.repeats))
    try:
        drift.check(options)
        opened = bundle.load(options.bundle)
        with drift.machine(options, 60.0 * sizes.repeats):
            runs = [once(opened, sizes) for _ in range(sizes.repeats)]
        rows = [
            repeated("push speed against adb", ">= 0.8", [run["push"] for run in runs]),
            repeated("pull speed against adb", ">= 0.8", [run["pull"] for run in runs]),
            repeated("share of a profile outside the phone's tasks", "<= 0.2", [run["outside"] for run in runs]),
            repeated("agent's call against the wheel's", "<= 1.1", [run["call"] for run in runs]),
        ]
        facts = {"bundle": opened.digest, "bytes": sizes.size, "rows": [asdict(row) for row in rows], "runs": runs}
        evidence.write(options, __file__, facts)
    except AdaScaleError as error:
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    show("Harness on a machine that wanders" if options.wander else "Harness", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
