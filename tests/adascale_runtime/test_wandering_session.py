"""A session that opens at a slow moment, on this machine: with anchors it knows, without it takes that for usual."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from adascale_runtime import habits, loop
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.errors import BadInput
from adascale_runtime.files import cache
from adascale_runtime.policies.limits import Settings
from adascale_runtime.policies.replay import replay
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session
from profiling import wander

ROOMY = Budget(latency_ms=1000.0)
#: Of the full speed, while the machine is slowed down.
SLOW = 0.6


def full_ms(bundle: Bundle, anchors: bool) -> float:
    """What a session thinks that the costliest branch takes."""
    with Session(bundle, ROOMY, anchors=anchors) as session:
        return next(option.latency_ms for option in session.table if option.id == "full")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(wander.refusal() is not None, reason=str(wander.refusal()))
def test_a_slow_moment_bends_the_table_only_without_anchors(
    healthy: Bundle, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(6):
        full_ms(healthy, True)
    place = cache.place(habits.FILE)
    assert place is not None
    at_full_speed = place.read_bytes()
    apart: dict[bool, list[float]] = {True: [], False: []}
    refused, slowdowns = [], []
    for _ in range(7):
        place.write_bytes(at_full_speed)  # half of all sessions here open at slow moments, so that would be the usual
        usual = {anchors: full_ms(healthy, anchors) for anchors in (True, False)}
        # Between what the branch takes at full speed and while the machine is slow.
        tight = Budget(latency_ms=usual[False] * SLOW**-0.5, min_accuracy=0.9)
        with wander.Wander(wander.steady(SLOW)):
            time.sleep(0.3)
            for anchors in (True, False):
                apart[anchors].append(abs(math.log(full_ms(healthy, anchors) / usual[anchors])))
            for anchors in (True, False):
                try:
                    with Session(healthy, tight, anchors=anchors) as session:
                        session.predict(image)
                        if anchors:
                            slowdowns.append(session.last.slowdown)
                except BadInput:
                    refused.append(anchors)
    assert median(apart[False]) > math.log(1.25)
    assert median(apart[True]) < 0.6 * median(apart[False])
    assert refused.count(False) > refused.count(True)
    assert median(slowdowns) > 1.2  # and the first decision knows


@pytest.mark.parametrize("settings", [Settings(), Settings(forecast_s=2.0), Settings(clock=1.0, reserve_mb=0.0)])
def test_a_trace_with_caps_memory_load_and_heat_comes_back(
    healthy: Bundle, image: np.ndarray, tmp_path: Path, settings: Settings
) -> None:
    rng = random.Random(1)

    class Sampler:
        def sample(self, time_s: float) -> Context:
            return Context(
                time_s, cores=2, runnable=rng.randrange(6), memory_free_mb=rng.choice([10.0, 90.0, 1e5]),
                temperature_c=rng.uniform(40.0, 60.0), clock_cap_mhz=rng.choice([None, 800.0, 1500.0, 2000.0]),
            )  # fmt: skip

    idle = {option.id: option.latency_ms for option in Session(healthy, ROOMY).table}
    budget = Budget(latency_ms=1.3 * idle["full"], temperature_c=60.0)
    monitor = Monitor(period_s=0.005, sampler=Sampler())
    with (
        Session(healthy, budget, monitor=monitor, settings=settings) as session,
        loop.writer(tmp_path / "t.jsonl") as write,
    ):
        loop.run(session, ((image, 0) for _ in range(10**6)), 0.6, write)
    header, recorded = traces.read(tmp_path / "t.jsonl")
    assert {event.context.clock_cap_mhz for event in recorded if event.context} >= {None, 800.0, 2000.0}
    assert replay(healthy, header, recorded, budget, "adaptive") == recorded
