"""Peak memory and load time of one branch, in a process of its own.

Its command line: ``python -m profiling.memory BUNDLE BRANCH DELEGATE THREADS 0|1``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from adascale_runtime.seams.bundle import Bundle, Manifest
from adascale_runtime.text import excerpt
from profiling.cells import Cell


def in_own_process(bundle: Bundle, cell: Cell, allow_fallback: bool = False) -> dict[str, Any]:
    """``memory_mb`` (growth of the peak resident size by loading and three runs) and ``load_ms``, or ``reason``."""
    arguments = [str(bundle.root.resolve()), cell.branch.id, cell.delegate, str(cell.threads), str(int(allow_fallback))]
    command = [sys.executable, "-m", "profiling.memory", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return {"reason": "the process that measures memory did not end within 120 s"}
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        last = excerpt(lines[-1], 300)
        return {"reason": f"the process that measures memory ended with code {done.returncode}: {last}"}
    try:
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"reason": "the process that measures memory printed no result"}
    return facts


def peak_kb() -> int | None:
    """The peak resident size of this process in kB, from the kernel (VmHWM), which exec resets, unlike ru_maxrss."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def main(root: str, branch_id: str, delegate: str, threads: str, allow_fallback: str) -> None:
    """Measure and print JSON."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter  # noqa: F401  (its own memory is not the branch's)

    from adascale_runtime.engines.delegates import open_untried
    from adascale_runtime.files import codec
    from adascale_runtime.seams import bundle

    # The checksums were verified by the parent; reading the files again here would count as their memory.
    manifest = codec.from_json(Manifest, codec.read_json(Path(root) / bundle.MANIFEST), bundle.MANIFEST)
    branch = manifest.branch(branch_id)
    before = peak_kb()
    started = time.perf_counter()
    run = open_untried(Bundle(Path(root), manifest), branch, delegate, int(threads), allow_fallback == "1")
    load_ms = 1e3 * (time.perf_counter() - started)
    for _ in range(3):
        run.invoke(np.zeros(branch.input.shape, branch.input.dtype))
    after = peak_kb()
    memory_mb = None if before is None or after is None else (after - before) / 1024
    reason = "this system does not tell a process's peak memory" if memory_mb is None else None
    print(json.dumps({"memory_mb": memory_mb, "reason": reason, "load_ms": load_ms}))


if __name__ == "__main__":
    main(*sys.argv[1:])
