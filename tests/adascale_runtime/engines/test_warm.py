"""Branches that are ready: within memory, the least recently used give way, and what fails to open says so."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime import loop
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.engines.warm import Warm
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.policies import policy
from adascale_runtime.policies.policy import settle as settle_on
from adascale_runtime.policies.replay import replay
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget
from adascale_runtime.session import Session
from tests.fixtures.openers import KEYS, ROOMY, SIZES, Opened, Opener, settle

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
