"""Running for long: what the policy remembers does not grow, nor does the memory of the process."""

from __future__ import annotations

import gc
import itertools
import math
import random
import tracemalloc

import pytest

from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.policies import policy, pressure, rivals
from adascale_runtime.policies.cascade import RECENT, Gate
from adascale_runtime.policies.policy import POLICIES, Option, Settings, State
from adascale_runtime.policies.state import forget, observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session

SETTINGS = Settings()
TABLE = tuple(
    Option(f"{name}@{delegate}x{threads}", accuracy, ms / threads**0.5, ms * 2.0, 1.0, delegate, threads)
    for name, accuracy, ms in (("full", 0.9, 1.0), ("tiny", 0.6, 0.1))
    for delegate, threads in (("cpu", 1), ("cpu", 2), ("gpu", 1))
)
BUDGET = Budget(latency_ms=1.5, power_mw=4000.0, temperature_c=70.0)


def live(name, count, seed=0):
    """That many decisions and observations, in contexts that change all the time; gives the states now and then."""
    rng, state, now, context = random.Random(seed), State(), 0.0, Context(0.0)
    options = {option.id: option for option in TABLE}
    decide = POLICIES[name]
    for number in range(count):
        if number % 50 == 0:
            context = Context(
                now,
                cpu_load=rng.choice([None, rng.random()]),
                runnable=rng.choice([None, rng.randrange(12)]),
                cores=4,
                battery=rng.random(),
                temperature_c=rng.uniform(30, 75),
            )
            if rng.random() < 0.01:
                now += rng.choice([3600.0, -3600.0])  # a phone that slept, a clock that was set
        decision = decide(Context(now, context.cpu_load, context.runnable, 4), BUDGET, TABLE, state, SETTINGS)
        option = options[decision.branch]
        latency_ms = option.latency_ms * rng.uniform(0.9, 1.3) + (6.0 if rng.random() < 0.02 else 0.0)
        now += latency_ms / 1e3 + rng.choice([0.0, 0.01])
        state = observe(decision.state, option, latency_ms, now, SETTINGS, late=latency_ms > 1.5, context=context)
        if rng.random() < 0.001:
            state = forget(state, option.id)
        if number % 1000 == 999:
            yield state


def check(state):
    assert len(state.windows) <= 3 and len(state.habits) <= 3 * (pressure.UNKNOWN + 1)
    assert len(state.corrections) <= len(TABLE)
    assert all(math.isfinite(value) for window in state.windows.values() for value in window[:4])
    assert 0.0 <= state.late <= state.served < 1e6


def grown_kb(states):
    """How much more memory is held at the end than after the first thousand decisions."""
    gc.collect()
    tracemalloc.start()
    try:
        check(next(states))
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for state in states:
            check(state)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / 1024
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(POLICIES) - set(rivals.REPLAY_ONLY)))
def test_what_a_policy_remembers_does_not_grow(name):
    assert grown_kb(live(name, 20_000 if name == "adaptive" else 4_000)) < 64


def test_a_gate_remembers_no_more_than_it_needs():
    gate, rng = Gate(), random.Random(0)
    for _ in range(20 * RECENT):
        gate.asks(rng.choice([rng.random(), 0.5]), 0.3)
    assert len(gate._recent) == RECENT and 0 <= gate._owed < 2


def test_a_session_does_not_grow(healthy, image):
    idle = {option.id: option.latency_ms for option in Session(healthy, Budget(latency_ms=1000.0)).table}
    with Session(healthy, Budget(latency_ms=1.2 * idle["half"]), warm_mb=0.002) as session:
        for _ in range(300):
            session.predict(image)
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(300):
                session.predict(image)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(1500):
                session.predict(image)
            gc.collect()
            assert (tracemalloc.get_traced_memory()[0] - before) / 1024 < 128
        finally:
            tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_decisions_grow_nothing():
    psutil = pytest.importorskip("psutil")
    process, before, states = psutil.Process(), None, 0
    for state in live("adaptive", 1_000_000):
        check(state)
        states += 1
        if states == 100:
            gc.collect()
            before = process.memory_info().rss
    gc.collect()
    assert states == 1000
    assert (process.memory_info().rss - before) / 1e6 < 16


def test_opening_and_giving_up_branches_for_long_grows_nothing(healthy, image, monkeypatch):
    """Memory holds two of three branches, and the policy wants another one all the time: thousands of reopenings."""
    psutil = pytest.importorskip("psutil")
    turn = itertools.count()

    def rotate(context, budget, table, state, settings):
        return policy.settle(table[next(turn) % len(table)], "its turn", state, context)

    monkeypatch.setitem(POLICIES, "rotate", rotate)
    own = {b.id: open_branch(healthy, b)(image[None]) for b in healthy.manifest.branches}
    opened: list[str] = []
    with Session(healthy, Budget(latency_ms=1000.0), warm_mb=1e-6, policy="rotate") as session:
        open_one = session.ready._warm._open
        monkeypatch.setattr(session.ready._warm, "_open", lambda key: opened.append(key) or open_one(key))
        process, before, half = psutil.Process(), 0, 0
        for number in itertools.count():
            output = session.predict(image)
            assert (output == own[session.last.branch]).all()
            if number == 4000:
                gc.collect()
                before, half = process.memory_info().rss, len(opened)
            if number >= 8000 and len(opened) - half > 100:  # a busy machine opens slowly
                break
        gc.collect()
        assert (process.memory_info().rss - before) / 1e6 < 30
