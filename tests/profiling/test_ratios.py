"""Ratios of medians: the interval holds what was planted, units and drift do not matter, and nothing is made up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.ratios import _student, ratio

BLOCKS = st.lists(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=12), min_size=2, max_size=12)


def planted(
    true: float, rounds: int, runs: int, seed: int, *, drift: float = 0.2, own: float = 0.02, together: bool = True
) -> tuple[list[list[float]], list[list[float]]]:
    """Blocks of two cells whose medians differ by a factor, on a device whose speed is another in each round.

    One run in thirty takes more than twice as long; ``own``: what two blocks of a round do not share.
    """
    random = np.random.default_rng(seed)

    def cell(factor: float, speeds: np.ndarray) -> list[list[float]]:
        made = []
        for speed in speeds:
            times = factor * speed * np.exp(random.normal(0, own) + random.normal(0, 0.03, runs))
            made.append([float(t) for t in times * np.where(random.random(runs) < 1 / 30, 2.5, 1.0)])
        return made

    speeds = np.exp(random.normal(0, drift, rounds))
    return cell(true, speeds), cell(1.0, speeds if together else np.exp(random.normal(0, drift, rounds)))


@pytest.mark.parametrize(("rounds", "runs"), [(4, 10), (5, 10), (10, 5), (10, 1), (20, 3)])
@pytest.mark.parametrize("true", [0.3, 1.0])
def test_the_interval_holds_a_planted_ratio_in_about_95_of_100_trials(rounds: int, runs: int, true: float) -> None:
    trials = 160
    held = 0
    for seed in range(trials):
        found = ratio(*planted(true, rounds, runs, seed), seed=seed, draws=600)
        assert found is not None and found.paired and found.rounds == rounds and found.low <= found.value <= found.high
        held += found.low <= true <= found.high
    assert 0.90 <= held / trials <= 0.99  # 160 trials of probability 0.95 are outside once in some hundred


def test_unpaired_blocks_have_an_interval_that_holds_it_too() -> None:
    held = 0
    for seed in range(200):
        found = ratio(*planted(1.7, 10, 10, seed, drift=0.1, together=False), paired=False, seed=seed, draws=600)
        assert found is not None and not found.paired
        held += found.low <= 1.7 <= found.high
    assert held >= 184


def test_pairs_take_the_drift_out() -> None:
    """Of a device that is 20 % faster or slower in each round, pairs know the ratio several times as well."""
    widths = []
    for seed in range(20):
        ones, others = planted(1.05, 10, 10, seed, own=0.005)
        paired, apart = ratio(ones, others), ratio(ones, others, paired=False)
        assert paired is not None and apart is not None
        widths.append(math.log(apart.high / apart.low) / math.log(paired.high / paired.low))
    assert np.median(widths) > 5


def test_a_round_that_something_else_disturbed_hardly_moves_the_value() -> None:
    ones, others = planted(1.5, 10, 10, 3)
    spoiled = [[3 * ms for ms in ones[0]], *ones[1:]]
    found = ratio(spoiled, others)
    assert found is not None and abs(found.value / 1.5 - 1) < 0.03 and found.low < 1.5 < found.high


@given(BLOCKS, BLOCKS, st.floats(1e-6, 1e6), st.booleans())
def test_the_unit_does_not_matter(
    ones: list[list[float]], others: list[list[float]], unit: float, paired: bool
) -> None:
    found = ratio(ones, others, paired=paired, draws=100)
    scaled = ratio(
        [[unit * x for x in block] for block in ones], [[unit * x for x in block] for block in others],
        paired=paired, draws=100,
    )  # fmt: skip
    assert found is not None and scaled is not None
    for name in ("value", "low", "high"):
        assert math.isclose(getattr(found, name), getattr(scaled, name), rel_tol=1e-6)


@given(BLOCKS, st.floats(0.01, 100.0))
def test_a_cell_that_always_takes_the_same_part_of_another_has_exactly_that_ratio(
    others: list[list[float]], factor: float
) -> None:
    found = ratio([[factor * x for x in block] for block in others], others, draws=50)
    assert found is not None
    for end in (found.value, found.low, found.high):
        assert math.isclose(end, factor, rel_tol=1e-9)


@given(BLOCKS, BLOCKS, st.integers(0, 5))
def test_the_other_way_round_it_is_the_inverse_and_a_seed_gives_it_again(
    ones: list[list[float]], others: list[list[float]], seed: int
) -> None:
    found, inverse = ratio(ones, others, seed=seed, draws=100), ratio(others, ones, seed=seed, draws=100)
    assert found is not None and inverse is not None and found == ratio(ones, others, seed=seed, draws=100)
    assert math.isclose(found.value, 1 / inverse.value, rel_tol=1e-9)
    assert math.isclose(found.low, 1 / inverse.high, rel_tol=1e-6)
    assert 0 < found.low <= found.value <= found.high < math.inf
    assert not (found.above and found.below)


def test_blocks_without_a_partner_are_left_out() -> None:
    ones, others = planted(1.7, 6, 10, 1)
    assert ratio([*ones, [1e6], [1e6]], others) == ratio(ones, others)


def test_one_round_counts_its_runs_and_one_run_tells_nothing() -> None:
    ones, others = planted(1.7, 1, 40, 2)
    found = ratio(ones, others)
    assert found is not None and found.rounds == 1 and not found.paired
    assert ratio([[1.0]], [[2.0]]) is None and ratio([], others) is None and ratio([[]], others) is None


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (None, 1.960)]
)
def test_quantiles_of_students_t(freedom: int | None, quantile: float) -> None:
    assert abs(_student(freedom) - quantile) < 6e-4
