"""Curves of accuracy over training compute, their comparison and their break-even."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import compute

CURVE = compute.Curve.of({0.5: 0.7, 0.125: 0.5})


@pytest.mark.parametrize(
    ("length", "accuracy", "measured"),
    [(0.125, 0.5, True), (0.25, 0.6, True), (0.5, 0.7, True), (1.0, 0.8, False), (0.01, 0.5, False)],
)
def test_a_curve_is_straight_over_the_logarithm(length: float, accuracy: float, measured: bool) -> None:
    assert CURVE.at(length) == pytest.approx(accuracy) and CURVE.measured(length) is measured


def test_a_curve_of_one_length_is_flat() -> None:
    assert compute.Curve.of({0.3: 0.4}).at(0.1) == compute.Curve.of({0.3: 0.4}).at(0.9) == 0.4
    with pytest.raises(ValueError, match="measured"):
        compute.Curve.of({})


def test_a_curve_of_three_lengths_goes_through_all() -> None:
    curve = compute.Curve.of({0.1: 0.1, 0.2: 0.3, 0.4: 0.4})
    assert [curve.at(x) for x in (0.1, 0.2, 0.4)] == [0.1, 0.3, 0.4]
    assert curve.at(0.8) == pytest.approx(0.5)


def test_equal_compute_leaves_rivals_the_rest() -> None:
    shipped = compute.Shipped((10, 20), 30)
    assert shipped.cost(1.0, 100) == pytest.approx(0.4)  # three times 30, once 30, of three times 100
    assert shipped.length(0.1, 100) == pytest.approx(0.25)
    found = compute.compare(shipped, CURVE, ours=0.65, cost=0.3, teacher_cost=0.2, unit=100)
    assert found.length == pytest.approx(0.25) and found.rival == pytest.approx(0.6) and found.measured
    assert found.points == pytest.approx(5.0)


def test_the_break_even_is_where_the_rest_gets_thin() -> None:
    # n networks of cost 0.1 each without a teacher's pass: a rival's length is 0.125 + 0.1 / (0.1 n).
    numbers = {"one": 0.1, "teacher": 0.0, "extra": 0.1, "length": 0.125, "rival": CURVE}
    assert compute.break_even(ours=0.6, **numbers) == 8  # at which it is 0.25
    assert compute.break_even(ours=0.9, **numbers) == 1
    assert compute.break_even(ours=0.4, **numbers) is None


def test_a_sample_is_spread_by_macs() -> None:
    assert compute.spread({str(n): n for n in range(30)}, 6) == ("2", "7", "12", "17", "22", "27")
    assert compute.spread({"a": 2, "b": 1}, 2) == ("b", "a")


def test_a_line_through_points() -> None:
    assert compute.line([(1, 10), (3, 30)], 2) == pytest.approx(20)
    assert compute.line([(2, 1), (2, 3)], 7) == 2
