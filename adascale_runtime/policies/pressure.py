"""A model of inferences on a busy device: a slowdown of all, and stalls that hit long runs more often.

Under CPU pressure the latency of a run is L * s + stalls. L is its idle latency. s, the slowdown, comes from lower
frequencies and shared caches and moves slowly. Stalls, when the system gives the core to others, take milliseconds and
come at a rate of so many per millisecond of running, so a run of L ms meets one with probability
1 - exp(-rate * L * s), and is late by it with exp(-slack / mean stall), slack being the time left. On two cores with
two burners each, branches of 0.07 to 0.56 ms missed 1.3 % to 15 % of their deadlines, at 0.17 to 0.33 stalls a
millisecond, while their medians grew by 2 to 4 %.

So what is seen on one branch predicts all others. Both figures are estimated over a decaying window of wall time; what
the context tells of the load is the rate's prior, since a cheap branch runs too little to say that stalls are over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Optional, Tuple

from adascale_runtime.engines.registry import preempted
from adascale_runtime.seams.records import Context

#: Runs that a branch's correction of 1 is worth before any: the first after a switch are slow, and say little.
OWN_TRUST = 10.0


@dataclass(frozen=True)
class Learning:
    """How fast what was seen is learned and forgotten."""

    #: The time constant of what all branches of an engine share, and of each branch's own correction, in seconds.
    window_s: float = 0.5
    memory_s: float = 10.0
    #: A run is stalled if it takes so many times what was expected, and ``hiccup_ms`` longer: interrupts hold up short
    #: runs, too, but not for long.
    stall: float = 1.6
    hiccup_ms: float = 0.3
    #: The running time, in ms, that the prior of the stall rate is worth.
    trust_ms: float = 4.0
    #: Standard errors that are added to estimates to get upper bounds.
    caution: float = 0.5


class Window(NamedTuple):
    """What was seen on an engine lately, as decayed sums."""

    #: Runs that were not stalled: their number, their slowdowns, and the squares of these.
    weight: float = 0.0
    ratios: float = 0.0
    squares: float = 0.0
    #: Over all runs: the number of stalls, how long they lasted, and the time that was spent running.
    stalls: float = 0.0
    stalled_ms: float = 0.0
    exposure_ms: float = 0.0
    #: When this was true, in seconds.
    time_s: float = 0.0

    def mean(self) -> float:
        """The mean slowdown; pulled towards 1 by one run's weight, so that it is 1 before anything was seen."""
        return (self.ratios + 1.0) / (self.weight + 1.0)

    def deviation(self) -> float:
        """The standard deviation of the slowdown between runs."""
        mean = self.mean()
        return math.sqrt(max(0.0, (self.squares + 1.0) / (self.weight + 1.0) - mean * mean))

    def stall_ms(self) -> float:
        """The mean length of a stall; before one was seen, that of two time slices of Linux's scheduler."""
        return (self.stalled_ms + 6.0) / (self.stalls + 1.0)

    def decayed(self, time_s: float, constant_s: float) -> "Window":
        """The window at a later time; a clock that jumps backwards only means no decay."""
        keep = math.exp(-max(0.0, time_s - self.time_s) / constant_s)
        return Window(
            self.weight * keep, self.ratios * keep, self.squares * keep, self.stalls * keep, self.stalled_ms * keep,
            self.exposure_ms * keep, time_s,
        )  # fmt: skip


class Correction(NamedTuple):
    """How an option differs from the others of its engine."""

    #: The option.
    id: str
    #: The decayed number of its runs, and the sum of their slowdowns over the shared one.
    weight: float
    total: float
    #: When this was true, in seconds.
    time_s: float
    #: Its latency over its idle latency, stalls included, as a mean over some ten runs.
    recent: float = 1.0

    def factor(self) -> float:
        """1 before anything was seen."""
        return (self.total + OWN_TRUST) / (self.weight + OWN_TRUST)

    def decayed(self, time_s: float, constant_s: float) -> "Correction":
        """The correction at a later time: a branch that did not run for long is thought to be as the others again."""
        keep = math.exp(-max(0.0, time_s - self.time_s) / constant_s)
        return self._replace(weight=self.weight * keep, total=self.total * keep, time_s=time_s)


EMPTY = Window()


def prior_rate(context: Optional[Context], delegate: str, threads: int = 1) -> float:
    """How many stalls per millisecond of running the context lets expect; 0.01 where it does not report it.

    On a CPU none come while there is a free core for each thread, and about 0.3 once everybody waits (measured with one
    to four burners a core). Accelerators are not taken away by processes.

    Args:
        context: What the device has left; None if nothing is known.
        delegate: What executes the branch.
        threads: On how many threads.
    """
    if not preempted(delegate):
        return 0.001
    if context is None or not context.cores:
        return 0.01
    if context.runnable is not None:
        crowd = (context.runnable + threads - context.cores) / context.cores
    elif context.cpu_load is not None:
        crowd = (context.cpu_load - (1 - threads / context.cores)) * context.cores
    else:
        return 0.01
    return 0.001 + 0.3 * min(1.0, max(0.0, crowd))


def stall_rate(window: Window, prior: float, learning: Learning) -> float:
    """An upper bound of stalls per millisecond: the prior, worth ``trust_ms`` of running, and what was seen, with
    ``caution`` standard errors of its count."""
    seen = window.stalls + learning.caution * math.sqrt(window.stalls)
    return (seen + prior * learning.trust_ms) / (window.exposure_ms + learning.trust_ms)


def seen(
    window: Window, correction: Correction, latency_ms: float, idle_ms: float, time_s: float, learning: Learning
) -> Tuple[Window, Correction]:
    """What is known after a run.

    Args:
        window: What was seen on its engine before.
        correction: How its option differed before.
        latency_ms: What the run took, in ms.
        idle_ms: What it takes at rest, in ms.
        time_s: When it ended, in seconds.
        learning: How fast to learn.

    Returns:
        The window and the correction after it.
    """
    window = window.decayed(time_s, learning.window_s)
    shared, own = window.mean(), correction.factor()
    ratio = latency_ms / idle_ms
    recent = correction.recent + 0.1 * (ratio - correction.recent)
    expected = shared * own
    slow = ratio > learning.stall * expected
    stalled = slow and latency_ms > idle_ms * expected + learning.hiccup_ms
    window = window._replace(
        stalls=window.stalls + stalled,
        stalled_ms=window.stalled_ms + (latency_ms - idle_ms * expected if stalled else 0.0),
        exposure_ms=window.exposure_ms + min(latency_ms, idle_ms * expected),
    )
    if slow:
        # A lasting slowdown is no stall: let it in, bounded, so that the estimate can follow within some runs.
        ratio = learning.stall * expected
    keep = math.exp(-max(0.0, time_s - correction.time_s) / learning.memory_s)
    common = ratio / own
    window = window._replace(
        weight=window.weight + 1, ratios=window.ratios + common, squares=window.squares + common * common
    )
    if slow:
        return window, correction._replace(recent=recent)
    apart = min(2.0, max(0.5, ratio / shared))
    total = correction.total * keep + apart
    return window, Correction(correction.id, correction.weight * keep + 1, total, time_s, recent)
