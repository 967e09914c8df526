"""A cascade asks twice as often as its budget allows, and never gives an answer that is not a branch's own."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adascale_runtime import loop
from adascale_runtime.cascade_session import PLANNED, CascadeSession
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.engines.tensor import Tensor
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.policies import cascade
from adascale_runtime.policies.cascade import Gate, Pair, choose, confidence, fit_temperature, share_of, softmax
from adascale_runtime.policies.policy import Option
from adascale_runtime.policies.replay import replay
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget

rows = st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20)


@given(rows, st.floats(0.05, 20))
def test_probabilities_sum_to_one_and_keep_their_order(logits, temperature):
    found = softmax(logits, temperature)
    assert sum(found) == pytest.approx(1.0)
    assert all(0 <= p <= 1 for p in found)
    for (a, p), (b, q) in itertools.combinations(zip(logits, found, strict=True), 2):
        assert p >= q if a >= b else p <= q


@given(rows, st.floats(0.05, 10), st.floats(1, 4))
def test_a_higher_temperature_is_less_sure(logits, temperature, factor):
    sure, unsure = (
        confidence(np.array([logits], np.float64), t) for t in (temperature, temperature * factor)
    )  # fmt: skip
    assert unsure <= sure * (1 + 1e-9)
    assert 1 / len(logits) <= unsure * (1 + 1e-9)


def test_confidence_is_the_same_with_and_without_numpy():
    logits = [0.5, -1.25, 3.0]
    plain = confidence(Tensor(logits, (1, 3)), 2.0)
    assert plain == confidence(np.array([logits], np.float32), 2.0) == max(softmax(logits, 2.0))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3 * temperature, (1500, 4))
    powers = np.exp(logits / temperature)
    chances = powers / powers.sum(axis=1, keepdims=True)
    labels = [int(rng.choice(4, p=row)) for row in chances]
    found = fit_temperature(logits.tolist(), labels)
    assert found == pytest.approx(temperature, rel=0.15)
    sure = [confidence(row[None], found) for row in logits]
    right = np.mean(logits.argmax(axis=1) == labels)
    assert np.mean(sure) == pytest.approx(right, abs=0.03)  # which is what it is for


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), st.integers(0, 2)), max_size=12))
def test_a_temperature_is_found_for_any_logits(examples):
    found = fit_temperature([row for row, _ in examples], [label for _, label in examples])
    assert 0.049 <= found <= 20.1


# --- the gate


def asked(confidences, share, sure=0.999):
    gate = Gate(sure)
    return sum(gate.asks(value, share) for value in confidences) / len(confidences)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_wanted_share_is_asked_again(share, seed):
    rng = np.random.default_rng(seed)
    spread = rng.random(4000) * 0.99
    assert asked(spread.tolist(), share) == pytest.approx(share, abs=0.03)
    bunched = (rng.beta(8, 1, 4000) * 0.99).tolist()
    assert asked(bunched, share) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("values", [(0.6,), (0.5, 0.9), (0.3, 0.6, 0.95)])
def test_the_wanted_share_is_asked_again_where_many_answers_are_alike(values, share):
    rng = np.random.default_rng(0)
    assert asked(rng.choice(values, 4000).tolist(), share) == pytest.approx(share, abs=0.04)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 0.99), min_size=1, max_size=8), st.floats(0.1, 0.9), st.randoms(use_true_random=False))
def test_the_wanted_share_is_asked_again_of_any_few_values(values, share, rng):
    assert asked([rng.choice(values) for _ in range(2000)], share) == pytest.approx(share, abs=0.08)


def test_the_least_sure_are_asked_and_the_sure_never():
    rng = np.random.default_rng(0)
    gate = Gate()
    for value in rng.random(500) * 0.9 + 0.05:
        gate.asks(float(value), 0.3)
    assert gate.asks(0.01, 0.3) and not gate.asks(0.99, 0.3)
    assert not gate.asks(0.9995, 1.0)  # right in more than 999 of 1000 cases
    assert asked([1.0] * 100, 1.0) == 0.0


# --- the pair

tables = st.lists(
    st.builds(Option, st.sampled_from("abcdefgh"), st.floats(0.01, 1.0), st.floats(0.01, 100)),
    min_size=1,
    max_size=7,
    unique_by=lambda option: option.id,
).map(tuple)


@given(tables, st.floats(0.01, 200))
def test_the_pair_is_sensible(table, budget_ms):
    fitting = [option for option in table if option.latency_ms <= budget_ms]
    if not fitting:
        with pytest.raises(BadInput, match=r"\.$"):
            choose(table, budget_ms)
        return
    pair = choose(table, budget_ms)
    assert pair.first in fitting and pair.second in table
    assert pair.first is pair.second or pair.second.accuracy > pair.first.accuracy
    share = share_of(pair, budget_ms)
    assert 0 <= share <= 1
    promise = pair.first.accuracy
    if pair.first is not pair.second:
        promise += min(share, 1 - pair.first.accuracy) * pair.second.accuracy
        mean_ms = pair.first.latency_ms + share * pair.second.latency_ms
        assert mean_ms <= budget_ms * (1 + 1e-9)
    assert promise >= max(option.accuracy for option in fitting) - 1e-8  # else one branch alone were better
    assert pair == choose(tuple(reversed(table)), budget_ms)


def test_one_branch_alone_where_a_second_answer_buys_too_little():
    full, half = Option("full", 0.9, 1.0), Option("half", 0.8, 0.9)
    assert choose((half, full), 1.0) == Pair(full, full)  # half first leaves time for a tenth of the inputs
    assert choose((half, full), 1.2) == Pair(half, full)


@given(tables, st.floats(0.01, 200), st.floats(1, 50), st.floats(1, 50))
def test_a_busier_device_is_asked_less_often(table, budget_ms, slowdown, more):
    assume(any(option.latency_ms <= budget_ms for option in table))
    pair = choose(table, budget_ms)
    assert share_of(pair, budget_ms, slowdown * more) <= share_of(pair, budget_ms, slowdown)


# --- sessions on a real bundle


@pytest.fixture
def own(healthy, image):
    """What each branch answers alone."""
    return {b.id: open_branch(healthy, b)(image[None]) for b in healthy.manifest.branches}


def test_every_answer_is_the_branchs_own_and_the_mean_is_kept(healthy, image, own):
    with CascadeSession(healthy, Budget(latency_ms=1000.0)) as session:
        assert session.pair.first.accuracy < session.pair.second.accuracy == 0.9
        total = 0.0
        for number in range(1, 201):
            output = session.predict(image, "here")
            event = session.last
            total += event.latency_ms
            np.testing.assert_array_equal(output, own[event.branch])
            assert event.branch == (session.pair.second if event.switched else session.pair.first).id
            assert event.kept == (total / number <= 1000.0) and event.phase == "here"
            assert event.reason.startswith("asked again" if event.switched else "sure enough")


def test_it_asks_again_as_often_as_the_budget_allows(healthy, image, monkeypatch):
    with CascadeSession(healthy, Budget(latency_ms=1000.0)) as session:
        wanted = 0.3
        monkeypatch.setattr(cascade, "share_of", lambda *arguments: wanted)
        events = loop.run(session, zip([image] * 300, itertools.repeat(0), strict=False), 60.0)
    assert sum(event.switched for event in events) / 300 == pytest.approx(wanted, abs=0.05)


def test_a_spent_budget_asks_no_more(healthy, image):
    with CascadeSession(healthy, Budget(latency_ms=1000.0)) as session:
        session.predict(image)
        session._total_ms = 2000.0 * PLANNED
        for _ in range(20):
            session.predict(image)
            assert not session.last.switched or session._total_ms <= PLANNED * 1000.0 * session._count
        session.restart()
        assert (session._total_ms, session._count) == (0.0, 0)


def test_a_budget_of_latency_is_needed_and_others_are_kept_or_refused(healthy):
    with pytest.raises(BadInput, match="latency_ms"):
        CascadeSession(healthy, Budget(min_accuracy=0.5))
    session = CascadeSession(healthy, Budget(latency_ms=1000.0, min_accuracy=0.7))
    assert {session.pair.first.id, session.pair.second.id} == {"half", "full"}
    with pytest.raises(BadInput, match="temperature_c"):
        CascadeSession(healthy, Budget(latency_ms=1000.0, temperature_c=60.0))
    with pytest.raises(BadInput):
        CascadeSession(healthy, Budget(latency_ms=1e-6))


def test_it_is_calibrated_by_its_first_branchs_answers(healthy, image, own):
    inputs = [image, image[None], 0.5 * image]
    with CascadeSession(healthy, Budget(latency_ms=1000.0)) as session:
        assert session.temperature == 1.0
        session.calibrate(inputs, (0, 1, 0))
        first = open_branch(healthy, healthy.manifest.branch(session.pair.first.id))
        logits = [first(x.reshape(1, *image.shape)).reshape(-1).tolist() for x in inputs]
        assert session.temperature == fit_temperature(logits, (0, 1, 0)) != 1.0
        with pytest.raises(BadInput, match="shape"):
            session.calibrate([image[0]], (0,))


def test_it_serves_where_memory_keeps_only_its_pair_ready(healthy, image, own):
    with CascadeSession(healthy, Budget(latency_ms=1000.0), warm_mb=1e-6) as session:
        for _ in range(30):
            output = session.predict(image)
            np.testing.assert_array_equal(output, own[session.last.branch])
        assert {option.id for option in session.ready.now()} == {session.pair.first.id, session.pair.second.id}


def test_a_pair_on_several_numbers_of_threads(healthy, image, own):
    with CascadeSession(healthy, Budget(latency_ms=1000.0), threads=(2, 1)) as session:
        for _ in range(20):
            output = session.predict(image)
            np.testing.assert_allclose(output, own[session.last.branch.partition("@")[0]], rtol=1e-4, atol=1e-6)


def test_a_branch_that_answers_nan_is_a_sentence(poisoned, image):
    with CascadeSession(poisoned, Budget(latency_ms=1000.0)) as session:
        assert session.pair.second.id == "poisoned"
        with pytest.raises(AdaScaleError, match=r"poisoned .* fails .*\.$"):
            for _ in range(50):  # the first answer is always asked again
                session.predict(image)
        nan = np.full_like(image, math.nan)
        with pytest.raises(BadInput, match="not finite"):
            session.predict(nan)


def test_threads_may_share_it(healthy, image, own):
    answers: list[np.ndarray] = []
    with CascadeSession(healthy, Budget(latency_ms=1000.0)) as session:

        def work() -> None:
            for _ in range(20):
                answers.append(session.predict(image))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert session._count == len(answers) == 80
    pair = [own[session.pair.first.id], own[session.pair.second.id]]
    assert all(any(np.array_equal(answer, one) for one in pair) for answer in answers)


def test_a_trace_of_a_cascade_tells_other_policies_what_one_branch_takes(healthy, image, tmp_path):
    path = tmp_path / "t.jsonl"
    with CascadeSession(healthy, Budget(latency_ms=1000.0)) as session, loop.writer(path) as write:
        loop.run(session, zip([image] * 60, itertools.repeat(0), strict=False), 60.0, write)
    header, recorded = traces.read(path)
    twice = dataclasses.replace(recorded[0], branch="full", base_ms=1.0, slowdown=1.0, latency_ms=1.0)
    full_ms = header.table["full"]["latency_ms"]
    (alone,) = replay(healthy, header, [twice], Budget(latency_ms=1000.0), "static-full")
    assert alone.branch == "full" and alone.latency_ms == pytest.approx(full_ms)
    replayed = replay(healthy, header, recorded, Budget(latency_ms=1000.0), "adaptive")
    assert len(replayed) == 60 and {event.branch for event in replayed} == {"full"}
