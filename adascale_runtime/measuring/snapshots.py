"""Snapshots of a device's context, for the begin and the end of measurements."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Protocol

from adascale_runtime.seams.records import Context


class Sampler(Protocol):
    """What gives contexts; the load of others is the difference between two of its samples."""

    def sample(self, time_s: float) -> Context: ...


def snapshot(sampler: Sampler, interval_s: float, longest_s: float = 0.0) -> Context:
    """The context now; the load of other processes is taken over ``interval_s`` seconds.

    ``longest_s``: where the load is not told after the interval, because a kernel counts in ticks, it is asked for
    again until then. ``time_s`` is the system's monotonic clock, so that snapshots of one device can be put in order.
    """
    sampler.sample(0.0)
    patience = time.monotonic() + longest_s
    time.sleep(interval_s)
    context = sampler.sample(time.monotonic())
    while context.cpu_load is None and time.monotonic() < patience:
        time.sleep(interval_s / 20)
        context = sampler.sample(time.monotonic())
    return replace(context, time_s=time.monotonic())
