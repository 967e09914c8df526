"""A model of inferences on a busy, wandering device: a slowdown of all, and excesses that hit long runs more often.

The latency of a run is L * s + excess. L is its idle latency. s, the slowdown, comes from frequencies, heat and shared
caches, moves slowly and is shared by all branches of an engine. An excess is what a run is longer than that: an
interrupt takes hundredths of a millisecond, a time slice that others get takes several. Excesses come at a rate per
millisecond of running, so a run of L ms meets one that is longer than its slack x with probability
1 - exp(-rate(x) * L * s). So what is seen on one branch predicts all others.

Neither rates nor lengths are constants: both are counted, by length, over a decaying window. A cheap branch runs too
little in it to say that excesses are over, or that they have begun, so the window is joined by the device's *habits*:
the same counts over minutes, apart for each level of crowding, which a session keeps and the next one begins with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Optional, Tuple

from adascale_runtime.engines.registry import preempted
from adascale_runtime.seams.records import Context

#: Runs that a branch's correction of 1 is worth before any: the first after a switch are slow, and say little.
OWN_TRUST = 10.0
#: Runs that a slowdown is worth that was told before any, and the range of what can be told.
TOLD, SLOWDOWNS = 3.0, (0.1, 10.0)
#: Lengths of excesses in ms that are told apart, each twice the one before: 2 us to 16 ms.
SHORTEST_MS = 0.002
LENGTHS = 14
#: Levels of crowding, by how many threads too many want each core: none, up to 0.5, 1, 2, more; and not known.
LEVELS = (0.0, 0.5, 1.0, 2.0)
UNKNOWN = len(LEVELS) + 1


@dataclass(frozen=True)
class Learning:
    """How fast what was seen is learned and forgotten."""

    #: The time constants of the slowdown, of excesses, and of each branch's own correction, in seconds.
    window_s: float = 0.5
    excess_s: float = 4.0
    memory_s: float = 10.0
    #: The running time, in ms, after which excesses are forgotten, too: who runs all the time knows sooner.
    excess_ms: float = 200.0
    #: A run counts towards the slowdown with at most so many times what was expected. What takes longer than
    #: ``surely`` times that is an excess at once; other runs are if those before and after them are not as long.
    stall: float = 1.6
    surely: float = 2.5
    #: The running time, in ms, that the habits are worth beside the window, and that habits remember.
    trust_ms: float = 4.0
    habit_ms: float = 1000.0
    #: Standard deviations that are added to estimates to get upper bounds.
    caution: float = 1.0


class Window(NamedTuple):
    """How fast an engine was lately, as decayed sums over its runs."""

    #: Their number, their slowdowns, and how far these lay from their mean.
    weight: float = 0.0
    ratios: float = 0.0
    apart: float = 0.0
    #: When this was true, in seconds.
    time_s: float = 0.0
    #: The option that ran last, and how much of the weight is of others.
    option: str = ""
    others: float = 0.0
    #: The slowdowns of the latest two runs, the upper bound that held for the last one, and its idle latency while it
    #: is not known whether it met an excess; else 0.
    before: float = 0.0
    last: float = 0.0
    upper: float = 0.0
    open_ms: float = 0.0

    def mean(self) -> float:
        """The mean slowdown; pulled towards 1 by one run's weight, so that it is 1 before anything was seen."""
        return (self.ratios + 1.0) / (self.weight + 1.0)

    def deviation(self) -> float:
        """The standard deviation of the slowdown between runs, from absolute differences, which outliers bend less."""
        return 1.25 * self.apart / (self.weight + 1.0)

    def decayed(self, time_s: float, constant_s: float) -> "Window":
        """The window at a later time; a clock that jumps backwards only means no decay."""
        keep = math.exp(-max(0.0, time_s - self.time_s) / constant_s)
        return Window(  # _replace() takes three times as long
            self.weight * keep, self.ratios * keep, self.apart * keep, time_s, self.option, self.others * keep,
            self.before, self.last, self.upper, self.open_ms,
        )  # fmt: skip

    def slower(self, factor: float) -> "Window":
        """The window of the same runs, had each taken so many times longer."""
        return self._replace(
            ratios=self.ratios * factor, apart=self.apart * factor, before=self.before * factor,
            last=self.last * factor, upper=self.upper * factor,
        )  # fmt: skip


def throttled(then_mhz: Optional[float], now_mhz: float, most: float) -> float:
    """How many times longer things take since the cap of the clock was lowered, in [1, ``most``]; 1 if it was not.

    Args:
        then_mhz: The cap before, in MHz; None or 0 where it is not known.
        now_mhz: The cap now.
        most: The highest factor: what waits for memory does not slow down like the clock.
    """
    if not then_mhz or now_mhz >= then_mhz:
        return 1.0
    return most if then_mhz >= most * now_mhz else then_mhz / now_mhz


class Excesses(NamedTuple):
    """Counted excesses: how many were at least so long, and over how much running."""

    #: Of each of :data:`LENGTHS` lengths, those that were at least so long.
    counts: Tuple[float, ...] = (0.0,) * LENGTHS
    exposure_ms: float = 0.0

    def longer(self, slack_ms: float) -> float:
        """How many were longer than that; between two lengths on the line over the logarithm."""
        if slack_ms <= SHORTEST_MS:
            return self.counts[0]
        place = math.log2(slack_ms / SHORTEST_MS)
        below = int(place)
        if below >= LENGTHS - 1:
            return self.counts[-1] * 2.0 ** (LENGTHS - 1 - place)
        return self.counts[below] + (place - below) * (self.counts[below + 1] - self.counts[below])

    def with_run(self, excess_ms: float, exposure_ms: float = 0.0) -> "Excesses":
        """The same and an excess more, or none (0), and so much more running."""
        counts = self.counts
        if excess_ms >= SHORTEST_MS:
            reached = min(LENGTHS, int(math.log2(excess_ms / SHORTEST_MS)) + 1)
            counts = tuple([count + (number < reached) for number, count in enumerate(counts)])
        elif not exposure_ms:
            return self
        return Excesses(counts, self.exposure_ms + exposure_ms)

    def kept(self, share: float) -> "Excesses":
        """A share of them."""
        return Excesses(tuple([share * count for count in self.counts]), share * self.exposure_ms)


class Correction(NamedTuple):
    """How an option differs from the others of its engine."""

    #: The option.
    id: str
    #: The decayed number of its runs, and the sum of their slowdowns over the shared one.
    weight: float
    total: float
    #: When this was true, in seconds.
    time_s: float
    #: Its latency over its idle latency, excesses included, as a mean over some ten runs.
    recent: float = 1.0

    def factor(self) -> float:
        """1 before anything was seen."""
        return (self.total + OWN_TRUST) / (self.weight + OWN_TRUST)

    def factor_at(self, time_s: float, constant_s: float) -> float:
        """The factor at a later time: a branch that did not run for long is thought to be as the others again."""
        keep = math.exp(-max(0.0, time_s - self.time_s) / constant_s)
        return (self.total * keep + OWN_TRUST) / (self.weight * keep + OWN_TRUST)


EMPTY = Window()
NONE = Excesses()


def begun(slowdown: float, time_s: float) -> Window:
    """The window of an engine that nothing has run on yet, but whose slowdown is told by something else.

    It is worth :data:`TOLD` runs, and its mean is just that slowdown until runs say more.

    Args:
        slowdown: How many times longer than usual things take, in :data:`SLOWDOWNS`.
        time_s: When that was so, in seconds.
    """
    return Window(TOLD, (TOLD + 1.0) * slowdown - 1.0, 0.0, time_s)


def crowd(context: Context) -> Optional[float]:
    """How many cores others want; None where that is not known."""
    if context.runnable is not None:
        return float(context.runnable)
    if context.cpu_load is not None and context.cores:
        return context.cpu_load * context.cores
    return None


def crowding(context: Optional[Context], delegate: str, threads: int = 1, more: float = 0.0) -> int:
    """The level of crowding, an index of :data:`LEVELS`, one more, or :data:`UNKNOWN`.

    Args:
        context: What the device has left; None if nothing is known.
        delegate: What executes the branch; accelerators are not taken away by processes.
        threads: On how many threads.
        more: How many cores others are going to want besides.
    """
    if not preempted(delegate):
        return 0
    if context is None or not context.cores:
        return UNKNOWN
    if context.runnable is not None:
        wanted = (context.runnable + threads - context.cores) / context.cores
    elif context.cpu_load is not None:
        wanted = (context.cpu_load - (1 - threads / context.cores)) * context.cores
    else:
        return UNKNOWN
    if more:
        wanted += more / context.cores
    for level, limit in enumerate(LEVELS):
        if wanted <= limit:
            return level
    return len(LEVELS)


def presumed(level: int, slack_ms: float) -> float:
    """Excesses per millisecond of running that are longer than ``slack_ms``, on a device that nothing is known of.

    Interrupts of about a tenth of a millisecond, and time slices of about six once cores are shared. It is worth
    ``trust_ms`` of running, so it matters in a session's first second.
    """
    slices = (0.001, 0.1, 0.2, 0.3, 0.3, 0.01)[level]
    return 0.02 * math.exp(-slack_ms / 0.1) + slices * math.exp(-slack_ms / 6.0)


def rate(
    window: Excesses, habit: Excesses, level: int, slack_ms: float, learning: Learning, fresh: float = 1.0
) -> float:
    """An upper bound of the excesses per millisecond of running that are longer than ``slack_ms``.

    What was seen lately, and ``trust_ms`` of running like the device's habits at that level, which themselves begin
    with ``trust_ms`` of what is presumed. ``fresh``: the share of the window that still counts.
    """
    trust_ms = learning.trust_ms
    usual = (habit.longer(slack_ms) + trust_ms * presumed(level, slack_ms)) / (habit.exposure_ms + trust_ms)
    lately = fresh * window.longer(slack_ms)
    cautious = lately + learning.caution * math.sqrt(lately)
    return (cautious + trust_ms * usual) / (fresh * window.exposure_ms + trust_ms)


class Seen(NamedTuple):
    """What is known of an engine, at one level of crowding, and of one of its options."""

    window: Window
    excesses: Excesses
    habit: Excesses
    correction: Correction


def seen(known: Seen, latency_ms: float, idle_ms: float, time_s: float, learning: Learning) -> Seen:
    """What is known after a run.

    Args:
        known: What was known before.
        latency_ms: What the run took, in ms.
        idle_ms: What it takes at rest, in ms.
        time_s: When it ended, in seconds.
        learning: How fast to learn.
    """
    window = known.window.decayed(time_s, learning.window_s)
    correction = known.correction
    shared, own = window.mean(), correction.factor()
    ratio = latency_ms / idle_ms
    recent = correction.recent + 0.1 * (ratio - correction.recent)
    expected = shared * own
    upper = shared + learning.caution * window.deviation()
    own_ms = idle_ms * own
    exposure_ms = min(latency_ms, own_ms * upper)
    settled_ms, sure_ms, open_ms = _judge(window, latency_ms, own_ms, upper, learning)
    step_s = max(0.0, time_s - known.window.time_s)
    keep = math.exp(-step_s / learning.excess_s - exposure_ms / learning.excess_ms)
    excesses = known.excesses.kept(keep).with_run(settled_ms, exposure_ms).with_run(sure_ms)
    habit = known.habit.with_run(settled_ms, exposure_ms).with_run(sure_ms)
    if habit.exposure_ms > learning.habit_ms:
        habit = habit.kept(learning.habit_ms / habit.exposure_ms)
    slow = ratio > learning.stall * expected
    # A lasting slowdown is no stall: let it in, bounded, so that the estimate can follow within some runs.
    common = min(ratio, learning.stall * expected) / own
    others = window.others if window.option in (correction.id, "") else window.weight  # anchors are no option
    tells = others / (window.weight + 1.0)
    window = Window(
        window.weight + 1.0, window.ratios + common, window.apart + abs(common - shared), time_s, correction.id, others,
        window.last, latency_ms / own_ms, upper, open_ms,
    )  # fmt: skip
    if slow:
        return Seen(window, excesses, habit, correction._replace(recent=recent))
    # How it differs from others is told only while these are in the window: a branch alone is the window.
    apart = min(2.0, max(0.5, ratio / shared))
    keep = math.exp(-max(0.0, time_s - correction.time_s) / learning.memory_s)
    weight, total = keep * correction.weight + tells, keep * correction.total + tells * apart
    return Seen(window, excesses, habit, Correction(correction.id, weight, total, time_s, recent))


def _judge(
    window: Window, latency_ms: float, own_ms: float, upper: float, learning: Learning
) -> Tuple[float, float, float]:
    """The excesses of the run before and of this one, in ms, and this one's idle latency if the next has to judge it.

    A run that is longer than expected met an excess if it stands alone. If the runs before and after it are as long,
    the device has become slower, which the slowdown will tell: the middle one of three runs is taken for its speed.
    """
    ratio, settled_ms = latency_ms / own_ms, 0.0
    if window.open_ms:
        speed = sorted((window.before, window.last, ratio))[1]
        settled_ms = window.open_ms * max(0.0, window.last - max(window.upper, speed))
    if ratio <= upper:
        return settled_ms, 0.0, 0.0
    if ratio > learning.surely * upper:
        return settled_ms, latency_ms - own_ms * upper, 0.0
    return settled_ms, 0.0, own_ms
