"""A delegate: what executes a branch. It fails rather than falls back."""

from __future__ import annotations

from pathlib import Path

from adascale_runtime.engines.delegates import LoadedBranch, delegate, open_cpu
from adascale_runtime.seams.manifest import Branch


@delegate("single", hardware="cpu", kernels="xnnpack", counts_operators=True)
def open_single(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> LoadedBranch:
    """LiteRT's CPU kernels on one thread, however many are asked for."""
    return open_cpu(path, branch, 1, allow_fallback)
