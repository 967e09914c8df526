"""Opening branches on a delegate, which :mod:`.registry` describes.

``cpu`` is LiteRT with XNNPACK, ``builtin`` its own optimized kernels without XNNPACK, ``reference`` its plain ones, the
yardstick for outputs; ``gpu`` and ``npu`` are its accelerators, through its C library. ``nnapi`` is Android's.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable

from adascale_runtime.engines import litert, registry, trial
from adascale_runtime.engines.built_in import library, open_cpu, open_gpu, open_npu, open_reference
from adascale_runtime.engines.loaded import LoadedBranch
from adascale_runtime.engines.registry import (
    DELEGATES,
    Delegate,
    Opener,
    available,
    delegate,
    install,
    lookup,
    names,
    opener,
)
from adascale_runtime.engines.served import served
from adascale_runtime.engines.vendors import wheel_library
from adascale_runtime.engines.warm import Room
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch

__all__ = [
    "DELEGATES", "Delegate", "LoadedBranch", "Opener", "available", "check_delegate", "delegate", "examine", "install",
    "library", "lookup", "names", "open_branch", "open_cpu", "open_gpu", "open_npu", "open_reference", "open_untried",
    "opener", "wheel_library",
]  # fmt: skip


def check_delegate(name: str) -> None:
    """Refuse, before long work, a name that nothing opens in this process, or an NPU without its vendor's libraries."""
    registry.check_delegate(name)
    record = lookup(name)
    if registry.is_declared(name) and record.hardware == "npu" and record.litert:
        library().vendor(litert.HARDWARE["npu"])


def open_branch(
    bundle: Bundle, branch: Branch, name: str = "cpu", threads: int = 1, allow_fallback: bool = False
) -> Any:
    """Open a branch on a delegate with a fixed number of threads, allocate it and run it once on zeros.

    Gives a :class:`LoadedBranch`, or what another opener in the registry gives (a phone without numpy has its own). A
    file that this machine has not run yet is tried in a child process first. Raises :class:`AdaScaleError` if it
    crashes there, or if the delegate does not take all of the branch, unless ``allow_fallback``.
    """
    opener(name)
    if registry.is_declared(name):
        trial.check(bundle, branch, name, threads, allow_fallback)
    return open_untried(bundle, branch, name, threads, allow_fallback)


def open_untried(
    bundle: Bundle, branch: Branch, name: str = "cpu", threads: int = 1, allow_fallback: bool = False
) -> Any:
    """As :func:`open_branch`, in this very process: for processes that may crash."""
    runner = opener(name)(bundle.path(served(branch, name).file), branch, threads, allow_fallback)
    runner.warm()
    return runner


def examine(
    bundle: Bundle,
    branches: Iterable[Branch],
    name: str = "cpu",
    threads: int = 1,
    allow_fallback: bool = False,
    *,
    room: Room = Room(),  # noqa: B008  (immutable)
) -> Dict[str, str]:
    """Try all branches in one child process; gives the sentence for each id that crashes, or that the device has no
    memory to try. :func:`open_branch` then finds the others tried."""
    opener(name)
    if not registry.is_declared(name):
        return {}
    return trial.examine(bundle, branches, name, threads, allow_fallback, room=room)
