"""The energy of a run, from a meter's readings at rest and over a span of continuous runs."""

from __future__ import annotations

import time
from typing import Callable, Optional, Protocol, Tuple

from adascale_runtime.device.meters import Gauge, Meter
from adascale_runtime.seams.facts import Busy, EnergyFact

#: Gauges are read this often; the fastest change some four times a second.
SAMPLE_S = 0.05
#: A span is made longer at most this often, twice as long each time, where the gauge is slow.
LONGER = 3


class Spend(Protocol):
    """Keeps the branch running for so many seconds, and calls ``meanwhile`` every :data:`SAMPLE_S` seconds."""

    def __call__(self, seconds: float, meanwhile: Callable[[], None]) -> Busy: ...


def energy(
    meter: Optional[Tuple[str, Meter]],
    spend: Spend,
    wait: Callable[[Callable[[], Optional[str]]], bool],
    idle_s: float,
    batch_s: float,
) -> EnergyFact:
    """Energy of one run; None with the reason where it cannot be measured.

    Args:
        meter: The name of a meter of this device and the meter; None where there is none.
        spend: Runs the branch.
        wait: Waits while its argument gives a reason to; whether that went away in time.
        idle_s: Seconds of rest before.
        batch_s: Seconds of running.
    """
    if meter is None:
        return EnergyFact(reason="the adb shell sees no battery on this device")
    name, opened = meter
    if not isinstance(opened, Gauge):
        before = opened()
        busy = spend(batch_s, lambda: None)
        spent = opened() - before
        if not spent > 0:
            return EnergyFact(reason="the energy meter {} did not move".format(name))
        return EnergyFact(1e3 * spent / busy.runs, "measured:{}".format(name))
    if not wait(opened.obstacle):
        return EnergyFact(reason=opened.in_vain)
    for _ in range(LONGER + 1):
        begun = time.monotonic()
        while time.monotonic() - begun < idle_s:
            opened.sample()
            time.sleep(SAMPLE_S)
        idle = (begun, time.monotonic())
        busy = spend(batch_s, opened.sample)
        opened.sample()
        told = opened.energy(idle, busy)
        if not told.retry_longer:
            break
        idle_s, batch_s = 2 * idle_s, 2 * batch_s
    return told
