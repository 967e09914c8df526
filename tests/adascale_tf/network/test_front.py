"""Fronts on made-up costs: pure, so thousands of cases are cheap."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.seams.recipe import parse
from adascale_tf.network import front as fronts
from adascale_tf.network.front import OBJECTIVES, Candidate

QUANTITIES = [one.quantity for one in OBJECTIVES.values()]


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Some candidates with one to four objectives, many of them alike in some."""
    names = QUANTITIES[: draw(st.integers(1, 4))]
    cost = st.one_of(st.floats(0.01, 100), st.sampled_from([0.0, 1.0, 2.0]))
    accuracy = st.one_of(st.floats(0, 1), st.sampled_from([0.5, 0.6]))
    rows = draw(st.lists(st.tuples(accuracy, st.tuples(*[cost] * len(names))), min_size=1, max_size=20))
    return [
        Candidate(parse(f"width(0.{number:02d})"), accuracy, dict(zip(names, costs, strict=True)))
        for number, (accuracy, costs) in enumerate(rows, start=1)
    ]


def covers(one: Candidate, other: Candidate) -> bool:
    return one.accuracy >= other.accuracy and all(one.costs[name] <= other.costs[name] for name in one.costs)


@given(candidates())
def test_the_front_is_what_nobody_beats(some: list[Candidate]) -> None:
    front = fronts.front(some)
    for one in some:
        assert one in front or any(covers(other, one) for other in front)
    for one, other in product(front, front):
        assert one is other or not covers(one, other)
    first = [next(iter(one.costs.values())) for one in front]
    assert first == sorted(first)


def test_of_two_that_are_alike_the_first_stays() -> None:
    both = [Candidate(parse(recipe), 0.9, {"latency_ms": 1.0}) for recipe in ("int8", "qat")]
    assert fronts.front(both) == both[:1]


@given(candidates(), st.integers(1, 8))
def test_the_chosen_ones_are_of_the_front_and_hold_its_ends(some: list[Candidate], count: int) -> None:
    front, chosen = fronts.front(some), fronts.choose(some, count)
    assert len(chosen) == min(count, len(front)) and all(one in front for one in chosen)
    assert max(one.accuracy for one in chosen) == max(one.accuracy for one in front)
    if count > len(some[0].costs):
        for name in some[0].costs:
            assert min(one.costs[name] for one in chosen) == min(one.costs[name] for one in front)


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_the_unit_of_a_cost_chooses_nothing(seed: int, objectives: int) -> None:
    rows = np.random.default_rng(seed).uniform(0.1, 1.0, (15, objectives + 1))
    some, other = (
        [
            Candidate(parse(f"width(0.{n:02d})"), row[-1], dict(zip(QUANTITIES, unit * row[:-1], strict=False)))
            for n, row in enumerate(rows, start=1)
        ]
        for unit in (1.0, 1000.0)
    )
    chosen, again = fronts.choose(some, 4), fronts.choose(other, 4)
    assert [one.recipe for one in chosen] == [one.recipe for one in again]


def test_what_adds_most_is_chosen() -> None:
    points = [(0.1, 0.50), (1.0, 0.90), (1.1, 0.905), (9.0, 0.95), (10.0, 0.96)]
    some = [Candidate(parse(f"width(0.{n})"), a, {"latency_ms": ms}) for n, (ms, a) in enumerate(points, start=1)]
    assert [one.accuracy for one in fronts.choose(some, 1)] == [0.96]
    assert [one.accuracy for one in fronts.choose(some, 2)] == [0.50, 0.96]
    assert [one.accuracy for one in fronts.choose(some, 3)] == [0.50, 0.90, 0.96]


def test_a_second_objective_keeps_what_the_first_would_drop() -> None:
    slow_and_small = Candidate(parse("cluster(16)"), 0.8, {"latency_ms": 9.0, "size_bytes": 100.0})
    fast = Candidate(parse("width(0.5)"), 0.9, {"latency_ms": 1.0, "size_bytes": 900.0})
    assert fronts.front([slow_and_small, fast]) == [fast, slow_and_small]
    only = [replace(one, costs={"latency_ms": one.costs["latency_ms"]}) for one in (slow_and_small, fast)]
    assert fronts.front(only) == only[1:]


@given(st.integers(2, 5).flatmap(lambda d: st.lists(st.tuples(*[st.integers(0, 3)] * d), min_size=1, max_size=8)))
def test_volumes_are_exact(corners: list[tuple[int, ...]]) -> None:
    points = np.array(corners, float)
    cells = {cell for corner in corners for cell in product(*map(range, corner))}
    assert fronts.volume(points) == len(cells)
    before = {cell for corner in corners[1:] for cell in product(*map(range, corner))}
    assert fronts.gain(points[0], points[1:]) == len(cells) - len(before)
