"""Branches that are kept ready within what the device has left of its memory."""

from __future__ import annotations

import dataclasses
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime import loop
from adascale_runtime.cascade_session import CascadeSession
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.engines.warm import PAUSE_S, Room, Warm, fits, giving_way, in_need
from adascale_runtime.policies.replay import replay
from adascale_runtime.ready import _open_all
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session
from tests.fixtures.openers import KEYS, ROOMY, SIZES, Opened, Opener, settle

sizes = st.dictionaries(st.sampled_from(KEYS), st.none() | st.floats(0.0, 10.0))


@given(st.permutations(KEYS), sizes, st.floats(-5.0, 50.0), st.sets(st.sampled_from(KEYS)))
def test_the_least_recently_used_go_until_there_is_enough(held, sizes_mb, missing_mb, kept):
    given_up = giving_way(held, sizes_mb, missing_mb, kept)
    assert not kept & set(given_up) and len(given_up) < len(held)
    assert given_up == [key for key in held if key in given_up]
    freed = [sizes_mb.get(key) or 0.0 for key in given_up]
    if given_up:
        assert missing_mb > 0.0 and sum(freed[:-1]) < missing_mb  # none too many
    if sum(freed) < missing_mb:  # all that may go has gone, but for one
        assert len(set(held) - kept - set(given_up)) <= 1


@given(st.floats(0, 100), st.none() | st.floats(0, 200), st.floats(0, 100))
def test_what_fits_leaves_the_reserve(size_mb, free_mb, reserve_mb):
    room = Room(lambda: free_mb, reserve_mb)
    assert room.holds(size_mb) == fits(size_mb, free_mb, reserve_mb)
    if free_mb is None or size_mb == 0.0:
        assert room.holds(size_mb)
    elif room.holds(size_mb):
        assert free_mb - size_mb >= reserve_mb - 1e-9


def test_what_does_not_fit_is_not_opened_and_what_gave_way_waits(monkeypatch):
    opener, free, now = Opener(), [14.0], [100.0]
    monkeypatch.setattr("adascale_runtime.engines.warm.time.monotonic", lambda: now[0])
    warm = Warm(opener, SIZES, None, "a", Room(lambda: free[0], 10.0))
    warm.put("a", Opened("a"))
    warm.prepare("d")
    settle(warm)
    assert warm.ready("d")  # 4 MB of the 4 that are free
    free[0] = 8.5
    assert warm.give_way(free[0], "d") == [] and warm.ready("d")  # it serves
    assert warm.give_way(free[0], "a") == ["d"] and not warm.ready("d") and warm.ready("a")
    free[0] = 100.0
    assert not warm.holds("d", free[0]) and warm.holds("c", free[0])
    now[0] += PAUSE_S
    assert warm.holds("d", free[0])
    free[0] = 13.9
    warm.prepare("d")
    settle(warm)
    assert not warm.ready("d") and opener.count["d"] == 1 and warm.broken == {}
    assert warm.give_way(None) == [] and warm.ready("a")


def test_two_that_fit_alone_but_not_together_are_not_both_opened():
    opener, free = Opener(), [17.0]
    warm = Warm(opener, SIZES, None, "a", Room(lambda: free[0], 10.0))
    warm.put("a", Opened("a"))
    opener.gate.clear()
    warm.prepare("d")
    assert warm.holds("c", free[0]) and not warm.holds("c", 16.9)
    opener.gate.set()
    settle(warm)
    assert warm.ready("d")


def memory_sampler(free_mb):
    class Sampler:
        def sample(self, time_s: float) -> Context:
            return Context(time_s, cores=2, runnable=0, memory_free_mb=free_mb[0])

    return Sampler()


def test_a_session_opens_what_fits_and_says_what_does_not(healthy, image):
    free = [1e6]
    with Session(healthy, ROOMY, monitor=Monitor(sampler=memory_sampler(free))) as session:
        assert [o.id for o in session.table] == ["full", "half", "tiny"] and session.broken == {}
    free[0] = 64.0
    with Session(healthy, ROOMY, monitor=Monitor(sampler=memory_sampler(free))) as session:
        assert len(session.table) == 1 and len(session.broken) == 2
        assert all("MB are free" in why and why.endswith(".") for why in session.broken.values())
        assert session.predict(image).shape == (1, 2)


def test_options_are_timed_in_groups_where_not_all_fit_together(healthy):
    class Opening:
        held = 0

        def __call__(self, key):
            runner = open_branch(healthy, healthy.manifest.branch(key))
            Opening.held += 1
            weakref.finalize(runner, self.gone)
            return runner

        @staticmethod
        def gone():
            Opening.held -= 1

    size = 10.0
    runners, probed, broken = _open_all(
        Opening(),
        dict.fromkeys(("full", "half", "tiny"), size),
        Room(lambda: 64.0 + 25.0 - size * Opening.held, 64.0),
        None,
    )
    assert set(probed.latency_ms) == {"full", "half", "tiny"} and broken == {}
    assert list(runners) == ["full", "tiny"] and Opening.held == 2


def test_a_session_gives_way_when_memory_runs_short_and_the_trace_comes_back(healthy, image, tmp_path):
    free = [1e6]
    monitor = Monitor(period_s=0.005, sampler=memory_sampler(free))
    budget = Budget(latency_ms=1000.0)
    with Session(healthy, budget, monitor=monitor) as session, loop.writer(tmp_path / "t.jsonl") as write:

        def inputs():
            begun = time.monotonic()
            while True:
                if time.monotonic() - begun > 0.2:
                    free[0] = 10.0  # below the reserve
                yield image, 0

        recorded = loop.run(session, inputs(), 0.6, write)
        assert {o.id for o in session.ready.now()} == {"full", "tiny"}  # what serves, and the fallback
    assert recorded[0].absent == () and recorded[-1].absent == ("half",)
    assert {event.branch for event in recorded} == {"full"}
    header, read = traces.read(tmp_path / "t.jsonl")
    assert replay(healthy, header, read, budget, "adaptive") == read == recorded


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_what_serves_is_left_only_where_that_helps(size_mb, free_mb, reserve_mb):
    if in_need(size_mb, free_mb, reserve_mb):
        assert free_mb < reserve_mb / 2 and size_mb >= (reserve_mb - free_mb) / 4
    assert not in_need(size_mb, None, reserve_mb) and not in_need(size_mb, reserve_mb, reserve_mb)


@pytest.fixture
def heavy(healthy):
    """A bundle whose branches are said to hold 30 MB each."""
    manifest = healthy.manifest
    branches = tuple(
        dataclasses.replace(b, cost=dataclasses.replace(b.cost, weight_bytes=30_000_000)) for b in manifest.branches
    )
    return dataclasses.replace(healthy, manifest=dataclasses.replace(manifest, branches=branches))


def test_what_serves_is_left_when_it_holds_what_is_missing(heavy, image):
    free = [1e6]
    with Session(heavy, ROOMY, monitor=Monitor(period_s=0.005, sampler=memory_sampler(free))) as session:
        session.predict(image)
        assert session.last.branch == "full" and session.last.absent == ()
        free[0] = 10.0
        deadline = time.monotonic() + 10
        while session.last.branch != "tiny" and time.monotonic() < deadline:
            assert session.predict(image).shape == (1, 2)
            time.sleep(0.002)
        assert session.last.branch == "tiny" and set(session.last.absent) == {"full", "half"}
        while len(session.ready.now()) > 1 and time.monotonic() < deadline:
            session.predict(image)
            time.sleep(0.002)
        assert [option.id for option in session.ready.now()] == ["tiny"]


def test_memory_is_given_back_while_no_inference_comes(heavy, image):
    free = [1e6]
    with Session(heavy, ROOMY, monitor=Monitor(period_s=0.005, sampler=memory_sampler(free))) as session:
        session.predict(image)
        assert session.last.branch == "full" and len(session.ready.now()) == 3
        free[0] = 40.0  # enough for what serves: it would not help to leave it before others are gone
        wait(lambda: {option.id for option in session.ready.now()} == {"full", "tiny"})
        free[0] = 10.0
        wait(lambda: [option.id for option in session.ready.now()] == ["tiny"])
        session.predict(image)
        assert session.last.branch == "tiny" and set(session.last.absent) == {"full", "half"}
    free[0] = 1e6
    with CascadeSession(heavy, ROOMY, monitor=Monitor(period_s=0.005, sampler=memory_sampler(free))) as session:
        both = {option.id for option in session.ready.now()}
        free[0] = 1.0
        time.sleep(0.05)
        assert {option.id for option in session.ready.now()} == both  # it keeps what it needs whatever happens


def wait(done):
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.002)
