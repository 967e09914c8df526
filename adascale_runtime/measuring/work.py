"""The steps of measuring jobs: load a branch, check its first runs and outputs, time blocks of runs, keep it busy.

Hosts and phones do the same work with branches of different kinds: of numpy arrays, or of
:class:`adascale_runtime.engines.tensor.Tensor`. A timed run is one call of ``invoke`` on an input that is in the
branch's own dtype already, until its output has been read.
"""

from __future__ import annotations

import math
import time
from typing import Any, Callable, List, Optional, Protocol, Sequence, Tuple

from adascale_runtime.engines import accelerators, litert
from adascale_runtime.engines.served import compiled_for
from adascale_runtime.measuring.anchors import Anchors
from adascale_runtime.seams.facts import Busy, Process, Start
from adascale_runtime.seams.jobs import Job
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.pace import Pace
from adascale_runtime.seams.records import Context, Delegation, OperatorTime

WARMUP = 3
#: A block that has taken its time ends with at least so many runs.
LEAST = 2
#: The anchors run after so many milliseconds of timed runs, or later where they are slow themselves: chunks last at
#: least so many times what the anchors take.
CHUNK_MS, SPARE = 10.0, 7
#: A branch that takes longer than this hardly notices that the anchors have used its caches.
LONG_MS = 20.0


class Opened(Protocol):
    """A branch that is ready to run, as openers of delegates give it.

    ``x`` is a real-valued input or output, ``stored`` one in the branch's own dtype.
    """

    branch: Branch

    def __call__(self, x: Any) -> Any: ...

    def quantize(self, x: Any) -> Any: ...

    def invoke(self, stored: Any) -> Any: ...

    def warm(self) -> None: ...


#: Of an output and the expected one: the share of equal classes, and the largest difference.
Compare = Callable[[Any, Any], Tuple[float, float]]
#: What the delegate took of a branch, or None with the reason, and the times of its operators.
Inspected = Tuple[Optional[Delegation], Optional[str], Tuple[OperatorTime, ...]]


def timed(opened: Opened, stored: Any) -> float:
    """One inference in milliseconds, until its output has been read on the CPU."""
    before = time.perf_counter_ns()
    opened.invoke(stored)
    return (time.perf_counter_ns() - before) / 1e6


def process(load: Callable[[], Opened], peak_kb: Callable[[], Optional[int]]) -> Process:
    """Load time, and growth of this process's peak memory by loading the branch and three runs.

    ``peak_kb`` gives the peak resident size of this process so far, which nothing else may have raised.
    """
    before, begun = peak_kb(), time.perf_counter()
    opened = load()
    load_ms = 1e3 * (time.perf_counter() - begun)
    for _ in range(3):
        opened.warm()
    after = peak_kb()
    if before is None or after is None:
        return Process(load_ms, None, "this system does not report a process's peak memory")
    return Process(load_ms, (after - before) / 1024)


def own_peak_kb() -> Optional[int]:
    """The peak resident size of this process in kB, from the kernel (VmHWM), which exec resets, unlike ru_maxrss."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def start(
    opened: Opened,
    pairs: Sequence[Tuple[Any, Any]],
    compare: Compare,
    context: Callable[[], Context],
    inspect: Callable[[], Inspected],
) -> Start:
    """What is known before the first timed run.

    Args:
        opened: The branch, which has run on zeros only, so that the warm-up is what it is after loading.
        pairs: The bundle's real inputs with the outputs that are expected for them.
        compare: How two outputs differ.
        context: Gives the context, before anything runs.
        inspect: Says what the delegate took, after all runs.
    """
    before = context()
    warmup = [timed(opened, opened.quantize(pairs[0][0])) for _ in range(WARMUP)]  # before anything else warms it up
    compared = [compare(opened(x), wanted) for x, wanted in pairs]
    gaps = [gap if math.isfinite(gap) else math.inf for _, gap in compared]
    taken, reason, operators = inspect()
    return Start(
        context=before,
        warmup_ms=tuple(warmup),
        agreement=sum(same for same, _ in compared) / len(compared),
        difference=None if math.inf in gaps else max(gaps),
        delegation=taken,
        delegation_reason=reason,
        operators=operators,
    )


def inspect(
    library: Optional[litert.Library], path: str, branch: Branch, job: Job, op_profile: bool = False
) -> Inspected:
    """What the delegate took of a branch and, if ``op_profile``, what its operators take; LiteRT's C library tells.

    ``path``: the file that the delegate runs, :func:`~adascale_runtime.engines.served.served`.
    """
    if library is None:
        return None, "the Python package of LiteRT does not report it", ()
    compiled = compiled_for(branch, job.delegate)
    operators_before = None if compiled is None else compiled.operators
    taken, reason = accelerators.taken(library, path, branch.signature, job.delegate, operators_before)
    operators: Tuple[OperatorTime, ...] = ()
    if op_profile:
        operators = tuple(accelerators.profile(library, path, branch.signature, job.delegate, job.threads))
    return taken, reason, operators


def turned(inputs: Sequence[Any], skip: int) -> List[Any]:
    """The inputs, beginning with the one whose turn it is after so many runs."""
    first = skip % len(inputs)
    return [*inputs[first:], *inputs[:first]]


def paced(
    opened: Opened,
    stored: Sequence[Any],
    runs: int,
    seconds: float,
    anchors: Optional[Anchors] = None,
    *,
    least: int = LEAST,
    lasting_ms: float = 0.0,
) -> Tuple[List[float], List[Pace]]:
    """Timed runs, one after the other, in chunks of about 10 ms with the anchors before, between and after them.

    An untimed run comes first, and after the anchors, which leave the caches to others.

    Args:
        opened: The branch.
        stored: Inputs in the branch's own dtype, which take turns.
        runs: How many runs at most; more, until they have taken ``lasting_ms``.
        seconds: When the timed runs have taken this long the block ends, with at least ``least`` runs: reference
            kernels are 30 times slower than XNNPACK.
        anchors: What tells the device's speed; None for runs alone.
        least: See ``seconds``.
        lasting_ms: See ``runs``.

    Returns:
        Milliseconds of each run, and what the anchors took: none without ``anchors``, else the first before all runs
        and the last after them.
    """
    spent: List[float] = []
    paces: List[Pace] = []
    total_ms, anchors_ms = 0.0, math.inf

    def goes_on() -> bool:
        count = len(spent)
        return (count < runs or total_ms < lasting_ms) and (count < least or total_ms < 1e3 * seconds)

    while goes_on():
        ends_ms = math.inf
        if anchors is not None:
            begun = time.perf_counter()
            paces.append(anchors.pace(len(spent)))
            anchors_ms = min(anchors_ms, 1e3 * (time.perf_counter() - begun))  # others may have interrupted them
            ends_ms = total_ms + max(CHUNK_MS, SPARE * anchors_ms)
        if not spent or spent[-1] < LONG_MS:
            timed(opened, stored[len(spent) % len(stored)])
        while goes_on() and total_ms < ends_ms:
            spent.append(timed(opened, stored[len(spent) % len(stored)]))
            total_ms += spent[-1]
    if anchors is not None:
        paces.append(anchors.pace(len(spent)))
    return spent, paces


def busy(opened: Opened, stored: Any, seconds: float) -> Busy:
    """Runs without a pause for so long; when they began and ended, by the monotonic clock."""
    count, begun = 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        opened.invoke(stored)
        count += 1
    return Busy(begun, time.monotonic(), count)
