"""The registry of delegates: name, hardware, kernels, and the function that opens a branch.

A delegate is declared once, by a function that opens a branch::

    @delegate("gpu", hardware="gpu", kernels="vendor", runners=("host", "agent"))
    def open_gpu(path, branch, threads, allow_fallback=False):
        \"\"\"LiteRT's GPU accelerator.\"\"\"

Whatever else needs to know something of a delegate reads its record. The built-in ones are in
:mod:`adascale_runtime.engines.built_in`; others come from plug-ins (:mod:`adascale_runtime.plugins`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from adascale_runtime import plugins
from adascale_runtime.errors import UnknownDelegate
from adascale_runtime.seams.manifest import Branch

#: ``open(path, branch, threads, allow_fallback)`` gives a :class:`adascale_runtime.engines.loaded.LoadedBranch`, or
#: what a process without numpy uses in its place. It fails rather than falls back, unless ``allow_fallback``.
Opener = Callable[[Path, Branch, int, bool], Any]
#: What measures branches: this machine, the agent on a phone, Google's benchmark_model on a phone.
RUNNERS = ("host", "agent", "benchmark_model")


@dataclass(frozen=True)
class Delegate:
    """What executes branches, as it was declared."""

    name: str
    #: Opens a branch in this process; None where only other processes or devices have the delegate.
    open: Optional[Opener]
    #: One line for help and documentation.
    summary: str
    #: ``cpu``, ``gpu`` or ``npu``.
    hardware: str
    #: Whose kernels run: ``xnnpack``, ``builtin`` (LiteRT's optimized), ``reference`` (its plain ones) or ``vendor``.
    kernels: str
    #: Whether other processes take its time away.
    preempted: bool
    #: Whether LiteRT tells how many operators it took.
    counts_operators: bool
    #: Which of :data:`RUNNERS` have it.
    runners: Tuple[str, ...]
    #: Whether LiteRT executes it, so that its C library can be asked what it took of a branch.
    litert: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is LiteRT's own kernels, to which nothing is delegated."""
        return self.kernels in ("builtin", "reference")


DELEGATES: Dict[str, Delegate] = {}
#: The openers that were declared, which every process finds; :func:`install` and tests put others in their place.
_DECLARED: Dict[str, Opener] = {}


def delegate(
    name: str,
    *,
    hardware: str = "cpu",
    kernels: str = "vendor",
    preempted: Optional[bool] = None,
    counts_operators: bool = False,
    runners: Tuple[str, ...] = ("host",),
    litert: bool = False,
) -> Callable[[Opener], Opener]:
    """Declare a delegate by the function that opens a branch on it; its docstring's first line is the summary.

    Args:
        name: What ``--delegates`` and measurements call it.
        hardware, kernels, preempted, counts_operators, runners, litert: See :class:`Delegate`. Processes take the time
            of ``cpu`` away and of nothing else, unless ``preempted`` says so.
    """

    def register(opener: Opener) -> Opener:
        summary = (opener.__doc__ or "").strip().split("\n")[0]
        taken_away = hardware == "cpu" if preempted is None else preempted
        record = Delegate(name, opener, summary, hardware, kernels, taken_away, counts_operators, runners, litert)
        plugins.claim("delegates", DELEGATES, name, record, opener)
        _DECLARED[name] = opener
        return opener

    return register


def elsewhere(name: str, summary: str, *, hardware: str, kernels: str = "vendor", runners: Tuple[str, ...]) -> None:
    """Declare a delegate that no process of ours opens, such as one that only Google's benchmark_model has."""
    DELEGATES[name] = Delegate(name, None, summary, hardware, kernels, hardware == "cpu", False, runners)


def lookup(name: str) -> Delegate:
    """The record of a delegate; :class:`UnknownDelegate` lists the known ones."""
    if name not in DELEGATES:
        plugins.load("delegates")
    if name not in DELEGATES:
        raise UnknownDelegate(plugins.unknown("delegates", "delegate", name, DELEGATES))
    return DELEGATES[name]


def opener(name: str) -> Opener:
    """What opens branches on a delegate in this process; :class:`UnknownDelegate` says who else has it, if anybody."""
    record = lookup(name)
    if record.open is None:
        others = "only the runner {} has it; ".format(" or ".join(record.runners)) if record.runners else ""
        raise UnknownDelegate(
            "The delegate '{}' does not open here: {}choose among {}.".format(name, others, ", ".join(available()))
        )
    return record.open


def check_delegate(name: str) -> None:
    """Refuse a name that nothing opens in this process, before long work."""
    opener(name)


def preempted(name: str) -> bool:
    """Whether other processes take a delegate's time away; not of one that only the machine behind a trace knows."""
    record = DELEGATES.get(name)
    return record is not None and record.preempted


def names(runner: Optional[str] = None) -> Tuple[str, ...]:
    """The names of all delegates, or of those that one of :data:`RUNNERS` has; sorted, plug-ins included."""
    plugins.load("delegates")
    return tuple(sorted(d.name for d in DELEGATES.values() if runner is None or runner in d.runners))


def available() -> Tuple[str, ...]:
    """The names of the delegates that open in this process, sorted."""
    return tuple(sorted(record.name for record in DELEGATES.values() if record.open is not None))


def install(openers: Mapping[str, Opener]) -> None:
    """Put this process's own openers in the place of the declared ones; delegates without one do not open here."""
    for name, record in list(DELEGATES.items()):
        DELEGATES[name] = replace(record, open=openers.get(name))


def is_declared(name: str) -> bool:
    """Whether another process that imports this package opens the delegate in the same way."""
    return lookup(name).open is not None and lookup(name).open is _DECLARED.get(name)
