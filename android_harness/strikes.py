"""Strikes: when to give up a job that ends its runner repeatedly; pure.

A strike counts only while nothing at all gets done: on a bad network most jobs die sooner or later, and none of them
is to blame. A runner that died while the connection lived is its job's doing, a lost connection hardly ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

#: A job that so often in a row is the runner's last belongs to a cell that fails.
STRIKES = 2
#: The same where the connection was lost: a job may need longer than the network ever lasts.
LOSSES = 5


class Strikes:
    """Counts how runners ended since anything was done."""

    def __init__(self) -> None:
        self._died: Counter[Hashable] = Counter()
        self._lost: Counter[Hashable] = Counter()

    def ended(self, job: Hashable, progress: bool, lost: bool) -> int:
        """Count a runner that ended in the middle of ``job`` (None: before it began one).

        ``progress``: whether anything was done since the last end; ``lost``: whether the connection was lost. Gives how
        often in a row the job ended its runner so, if that is too often, else 0.
        """
        if progress:
            self._died.clear()
            self._lost.clear()
        counts, limit = (self._lost, LOSSES) if lost else (self._died, STRIKES)
        counts[job] += 1
        return counts[job] if counts[job] >= limit else 0
