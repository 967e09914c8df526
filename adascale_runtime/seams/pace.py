"""Pace: how fast a device was while something was measured, told by anchors.

Devices wander: the same inference takes 0.7 ms now and 1.0 ms half a minute later, with nothing else running. Anchors
are small fixed kernels that run beside every block of timed runs (:mod:`adascale_runtime.measuring.anchors`). A latency
divided by the time of the anchor of the same arithmetic is a relative cost, which hardly depends on the moment; times
what that anchor usually takes on the device it is the latency at the device's usual speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

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
