"""Branches that are ready: within memory, the least recently used give way, and what fails to open says so."""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
import time
import weakref
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime import loop
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.engines.warm import PAUSE_S, Room, Warm, fits, giving_way, in_need
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.policies import policy
from adascale_runtime.policies.policy import settle as settle_on
from adascale_runtime.policies.replay import replay
from adascale_runtime.ready import _open_all
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session

KEYS = ("a", "b", "c", "d", "e")
SIZES = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": None}


class Opened:
    """A runner that knows whether it was closed."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Opener:
    """Opens runners and counts; those of ``failing`` raise."""

    def __init__(self, failing: tuple[str, ...] = (), error: Exception | None = None) -> None:
        self.count = dict.fromkeys(KEYS, 0)
        self.failing, self.error = failing, error or AdaScaleError("It cannot be opened.")
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def __call__(self, key: str) -> Opened:
        with self._lock:
            self.count[key] += 1
        assert self.gate.wait(20)
        if key in self.failing:
            raise self.error
        return Opened(key)


def settle(warm: Warm) -> None:
    """Wait until nothing is being prepared any more."""
    for thread in threading.enumerate():
        if thread.name == "adascale-prepare":
            thread.join(20)
    assert not warm._preparing


actions = st.lists(
    st.tuples(st.sampled_from(["put", "get", "drop", "prepare"]), st.sampled_from(KEYS)), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(actions, st.none() | st.floats(0.5, 12.0), st.sampled_from(KEYS))
def test_it_does_what_a_plain_list_by_use_would(todo, limit, safe):
    opener = Opener()
    warm, model = Warm(opener, SIZES, limit, safe), OrderedDict()
    for action, key in todo:
        if action == "get":
            assert (warm.get(key) is not None) == (key in model)
            if key in model:
                model.move_to_end(key)
        elif action == "drop":
            warm.drop(key)
            model.pop(key, None)
        else:
            if action == "put":
                warm.put(key, Opened(key))
            else:
                warm.prepare(key)
                settle(warm)
            newest = key not in model or action == "put"
            model[key] = None  # in its place if it was there
            for old in list(model) if newest and limit is not None else ():
                if sum(SIZES[k] or 0.0 for k in model) > limit and old not in (key, safe):
                    del model[old]
        assert list(warm._runners) == list(model)
        assert warm.held_mb() == sum(SIZES[k] or 0.0 for k in model)
        assert [k for k in KEYS if warm.ready(k)] == sorted(model)
    assert warm.broken == {}


@given(st.lists(st.sampled_from(KEYS), max_size=30), st.floats(0.5, 12.0), st.sampled_from(KEYS))
def test_the_limit_is_kept_but_for_the_safe_and_the_newest(order, limit, safe):
    warm = Warm(Opener(), SIZES, limit, safe)
    warm.put(safe, Opened(safe))
    for key in order:
        warm.put(key, Opened(key))
        assert warm.ready(key) and warm.ready(safe)
        assert warm.held_mb() <= limit or set(warm._runners) <= {key, safe}


def test_the_least_recently_used_gives_way():
    warm = Warm(Opener(), dict.fromkeys(KEYS, 1.0), 3.0, "a")
    for key in "abc":
        warm.put(key, Opened(key))
    warm.get("b")
    warm.put("d", Opened("d"))  # c was used the longest ago; a is safe
    assert [key for key in KEYS if warm.ready(key)] == ["a", "b", "d"]


def test_what_gives_way_stays_usable_and_what_is_dropped_is_closed():
    warm = Warm(Opener(), dict.fromkeys(KEYS, 1.0), 1.0, "a")
    running = Opened("b")
    warm.put("b", running)
    warm.put("c", Opened("c"))
    assert not warm.ready("b") and not running.closed  # an inference may still run on it
    dropped = warm.get("c")
    warm.drop("c")
    warm.drop("never there")
    assert dropped.closed and not warm.ready("c")


def test_it_is_prepared_once_however_often_it_is_asked_for():
    opener = Opener()
    opener.gate.clear()
    warm = Warm(opener, SIZES, None, "a")
    begun = time.perf_counter()
    for _ in range(100):
        warm.prepare("b")
        assert warm.get("b") is None
    assert time.perf_counter() - begun < 10  # it waits for nothing
    opener.gate.set()
    settle(warm)
    warm.prepare("b")
    settle(warm)
    assert opener.count["b"] == 1 and warm.get("b").key == "b"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AdaScaleError("It cannot be opened."), "It cannot be opened."),
        (OSError("no such file"), "no such file"),
        (RuntimeError("tensors"), "tensors"),
        (KeyError("signature"), "'signature'"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_what_cannot_be_opened_is_told_and_not_tried_again(error, told, recwarn):
    opener = Opener(failing=("b",), error=error)
    warm = Warm(opener, SIZES, 5.0, "a")
    warm.put("a", Opened("a"))
    for _ in range(3):
        warm.prepare("b")
        settle(warm)
    assert warm.broken == {"b": told}
    assert opener.count["b"] == 1
    assert warm.get("b") is None and warm.ready("a") and warm.held_mb() == 1.0
    assert not recwarn.list  # no thread died of it


def test_what_is_dropped_while_it_is_opened_does_not_come_back():
    opener = Opener()
    opener.gate.clear()
    warm = Warm(opener, SIZES, None, "a")
    warm.prepare("b")
    warm.drop("b")
    opener.gate.set()
    settle(warm)
    assert not warm.ready("b")


def test_only_these_stay_whatever_they_hold():
    opener = Opener()
    warm = Warm(opener, SIZES, 4.0, "a")
    for key in "ab":
        warm.put(key, Opened(key))
    kept = warm.get("b")
    opener.gate.clear()
    warm.prepare("c")
    opener.gate.set()
    warm.only(["b", "d"])
    settle(warm)
    assert [key for key in KEYS if warm.ready(key)] == ["b", "d"]
    assert warm.get("b") is kept and opener.count["d"] == 1
    with pytest.raises(AdaScaleError, match="cannot be opened"):
        Warm(Opener(failing=("c",)), SIZES, None, "a").only(["c"])


def test_threads_may_hammer_it():
    opener = Opener(failing=("d",))
    warm = Warm(opener, SIZES, 4.0, "a")
    warm.put("a", Opened("a"))
    wrong: list[object] = []
    done = threading.Event()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(1500):
                key = rng.choice(KEYS)
                found = warm.get(key)
                if found is None:
                    warm.prepare(key)
                elif found.key != key or found.closed:
                    wrong.append((key, found))
                if not warm.ready("a"):
                    wrong.append("the safe one is gone")
        except BaseException as error:
            wrong.append(error)

    def watch() -> None:
        try:
            while not done.is_set():
                warm.held_mb()
        except BaseException as error:
            wrong.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    done.set()
    watcher.join(20)
    settle(warm)
    assert wrong == []
    assert warm.broken == {"d": "It cannot be opened."} and opener.count["d"] == 1
    assert warm.held_mb() <= 4.0


# --- sessions whose memory holds one or two branches

ROOMY = Budget(latency_ms=1000.0)
TWO = 0.002  # MB; each branch of the bundle holds 0.0014


@pytest.fixture
def rotating(monkeypatch):
    """A policy that wants another branch every 20 ms, of those that there are."""

    def rotate(context, budget, table, state, settings):
        return settle_on(table[int(context.time_s * 50) % len(table)], "its turn", state, context)

    monkeypatch.setitem(policy.POLICIES, "rotate", rotate)
    return "rotate"


def endless(x):
    return zip(itertools.repeat(x), itertools.repeat(0), strict=False)


def alone(bundle, x):
    return {b.id: open_branch(bundle, b)(x[None]) for b in bundle.manifest.branches}


@pytest.mark.parametrize("warm_mb", [1e-6, TWO, 0.003, 1.0])
def test_no_inference_is_lost_where_memory_is_short_and_the_trace_comes_back(
    healthy, image, tmp_path, rotating, warm_mb
):
    own, answers = alone(healthy, image), []
    with (
        Session(healthy, ROOMY, warm_mb=warm_mb, policy=rotating) as session,
        loop.writer(tmp_path / "t.jsonl") as write,
    ):
        predict = session.predict
        session.predict = lambda x, phase=None: answers.append(predict(x, phase)) or answers[-1]
        recorded = loop.run(session, endless(image), 1.0, write)
        assert session.ready.held_mb() <= max(warm_mb, 0.003)  # the safe branch and the newest
    assert len(answers) == len(recorded) > 20
    for output, event in zip(answers, recorded, strict=True):
        np.testing.assert_array_equal(output, own[event.branch])
        assert event.branch not in event.absent and "tiny" not in event.absent
        assert len(event.absent) <= 2
    assert {event.branch for event in recorded} == {"full", "half", "tiny"}
    assert any(event.absent for event in recorded) == (warm_mb < 0.0042)
    header, read = traces.read(tmp_path / "t.jsonl")
    assert read == recorded
    assert replay(healthy, header, read, ROOMY, rotating) == recorded


def test_the_default_policy_comes_back_from_short_memory_too(healthy, image, tmp_path):
    idle = {option.id: option.latency_ms for option in Session(healthy, ROOMY).table}
    budget = Budget(latency_ms=1.12 * idle["half"])  # noise alone makes it switch
    with Session(healthy, budget, warm_mb=TWO) as session, loop.writer(tmp_path / "t.jsonl") as write:
        loop.run(session, endless(image), 1.0, write)
    header, recorded = traces.read(tmp_path / "t.jsonl")
    assert replay(healthy, header, recorded, budget, "adaptive") == recorded


def test_several_numbers_of_threads_come_back(healthy, image, tmp_path, rotating):
    with (
        Session(healthy, ROOMY, threads=(2, 1), policy=rotating, warm_mb=0.0045) as session,
        loop.writer(tmp_path / "t.jsonl") as write,
    ):
        assert [option.id for option in session.table] == [
            "full", "half", "tiny", "full@cpux1", "half@cpux1", "tiny@cpux1",
        ]  # fmt: skip
        assert {option.id: option.threads for option in session.table}["half@cpux1"] == 1
        own = alone(healthy, image)
        for _ in range(60):
            output = session.predict(image)
            np.testing.assert_allclose(output, own[session.last.branch.partition("@")[0]], rtol=1e-4, atol=1e-6)
        loop.run(session, endless(image), 0.6, write)
    header, recorded = traces.read(tmp_path / "t.jsonl")
    assert {event.branch.partition("@")[2] for event in recorded} == {"", "cpux1"}
    assert replay(healthy, header, recorded, ROOMY, rotating) == recorded
    for name in ("adaptive", "epsilon-greedy", "oracle"):
        assert len(replay(healthy, header, recorded, ROOMY, name)) == len(recorded)


def test_threads_may_share_a_session_that_is_short_of_memory(healthy, image, rotating):
    own, wrong, count = alone(healthy, image), [], 100
    with Session(healthy, ROOMY, warm_mb=1e-6, policy=rotating) as session:

        def work() -> None:
            try:
                for _ in range(count):
                    output = session.predict(image)
                    if not any(np.array_equal(output, one) for one in own.values()):
                        wrong.append(output)
                    time.sleep(0.001)
            except BaseException as error:
                wrong.append(error)

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    assert wrong == []
    assert session.observer.state.served > 0


# --- what the device has left

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


def test_what_serves_is_left_when_it_holds_what_is_missing(healthy, image):
    free = [1e6]
    manifest = healthy.manifest
    branches = tuple(
        dataclasses.replace(b, cost=dataclasses.replace(b.cost, weight_bytes=30_000_000)) for b in manifest.branches
    )
    heavy = dataclasses.replace(healthy, manifest=dataclasses.replace(manifest, branches=branches))
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
