"""Pace: how fast a device was while something was measured, told by anchors.

Devices wander: the same inference takes 0.7 ms now and 1.0 ms half a minute later, with nothing else running. Anchors
are small fixed kernels that run beside every block of timed runs (:mod:`adascale_runtime.measuring.anchors`). A latency
divided by the time of the anchor of the same arithmetic is a relative cost, which hardly depends on the moment; times
what that anchor usually takes on the device it is the latency at the device's usual speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from adascale_runtime.errors import BadInput

#: Kinds of anchors: floating-point and integer arithmetic in the caches, and moving memory.
KINDS = ("float", "integer", "memory")


@dataclass(frozen=True)
class Pace:
    """What the anchors took at a moment, in milliseconds; None for one that this device cannot run."""

    #: How many timed runs were done before.
    run: int
    float_ms: Optional[float] = None
    integer_ms: Optional[float] = None
    memory_ms: Optional[float] = None
    #: When, in seconds on the monotonic clock of the device, as contexts have it.
    time_s: Optional[float] = None

    def of(self, kind: str) -> Optional[float]:
        """What the anchor of that kind (one of :data:`KINDS`) took, in milliseconds."""
        value: Optional[float] = getattr(self, "{}_ms".format(kind))
        return value


#: What an anchor can take, in milliseconds: from the resolution of clocks to eleven days, as other latencies.
SHORTEST_MS, LONGEST_MS = 1e-6, 1e9
LATEST_S = 1e15


def check(paces: Sequence[Pace], runs: int, where: str) -> None:
    """Refuse paces that cannot stand beside ``runs`` timed runs; :class:`BadInput` names the place.

    The first is taken before the runs and the last after them, and none before one that precedes it.
    """
    if paces and (paces[0].run != 0 or paces[-1].run != runs):
        raise BadInput(
            "{} goes from run {} to run {}, but there are {} runs; it must begin before the first and end after the "
            "last.".format(where, paces[0].run, paces[-1].run, runs)
        )
    before = 0
    for pace in paces:
        if pace.run < before:
            raise BadInput("{}.run falls from {} to {}, but runs are counted upwards.".format(where, before, pace.run))
        before = pace.run
        if pace.time_s is not None and not -LATEST_S <= pace.time_s <= LATEST_S:
            raise BadInput("{}.time_s is {:g}, which is not a possible time.".format(where, pace.time_s))
        for kind in KINDS:
            ms = pace.of(kind)
            if ms is not None and not SHORTEST_MS <= ms <= LONGEST_MS:
                raise BadInput(
                    "{}.{}_ms is {:g}, which is not in the range from {:g} to {:g}.".format(
                        where, kind, ms, SHORTEST_MS, LONGEST_MS
                    )
                )
