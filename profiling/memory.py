"""Peak memory and load time of one branch, measured in a separate process.

Its command line: ``python -m profiling.memory BUNDLE BRANCH DELEGATE THREADS 0|1``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.measuring import work
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Process
from adascale_runtime.seams.jobs import Job
from adascale_runtime.seams.manifest import Manifest
from adascale_runtime.text import excerpt


def in_own_process(bundle: Bundle, job: Job, allow_fallback: bool = False) -> Process:
    """What :func:`adascale_runtime.measuring.work.process` tells there; why there is none is its reason."""
    arguments = [str(bundle.root.resolve()), job.branch, job.delegate, str(job.threads), str(int(allow_fallback))]
    command = [sys.executable, "-m", "profiling.memory", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return Process(reason="the process that measures memory did not end within 120 s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        last = excerpt(lines[-1], 300)
        return Process(reason=f"the process that measures memory ended with code {done.returncode}: {last}")
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        return codec.from_json(Process, told, f"the memory of {job.cell}")
    except (IndexError, ValueError, BadInput):
        return Process(reason="the process that measures memory printed no result")


def main(root: str, branch_id: str, delegate: str, threads: str, allow_fallback: str) -> None:
    """Measure and print JSON."""
    import numpy  # noqa: F401  (its own memory is not the branch's)
    from ai_edge_litert.interpreter import Interpreter  # noqa: F401  (nor is this)

    from adascale_runtime.engines.delegates import open_untried
    from adascale_runtime.seams import bundle

    # The checksums were verified by the parent; reading the files again here would count as their memory.
    manifest = codec.from_json(Manifest, codec.read_json(Path(root) / bundle.MANIFEST), bundle.MANIFEST)
    opened, branch = Bundle(Path(root), manifest), manifest.branch(branch_id)

    def load() -> work.Opened:
        loaded: work.Opened = open_untried(opened, branch, delegate, int(threads), allow_fallback == "1")
        return loaded

    print(codec.dump_line(work.process(load, work.own_peak_kb)), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
