"""The schedules and batches of the rules that benchmarks/adascale_sgd.py compares."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from scaling_rules import ADASCALE, BATCH, IDENTITY, LINEAR, WARM, WARM_UP, StepDecay, Trial, batches, optimizer_of

RATE, T = 0.1, 800


def rates(rule: str, scale: int) -> np.ndarray:
    """The learning rate at every step of the rule, or at every scale-invariant iteration of AdaScale."""
    trial = Trial(rule, scale, RATE, T, seed=0)
    schedule = optimizer_of(trial)._learning_rate
    assert isinstance(schedule, StepDecay)
    return np.array([float(schedule(step)) for step in range(trial.steps)])


@pytest.mark.parametrize("rule", [IDENTITY, ADASCALE])
def test_the_tuned_rates_stay_at_any_scale(rule: str) -> None:
    expected = np.repeat([RATE, RATE / 10, RATE / 100], [T // 2, T // 4, T // 4])
    np.testing.assert_allclose(rates(rule, 16), expected, rtol=1e-6)


def test_linear_scaling_multiplies_the_rates_and_shortens_the_schedule() -> None:
    np.testing.assert_allclose(rates(LINEAR, 16), 16 * rates(IDENTITY, 1)[::16], rtol=1e-6)


def test_warm_up_grows_from_the_tuned_rate_to_the_scaled_one() -> None:
    found, scaled = rates(WARM, 4), rates(LINEAR, 4)
    warm = int(np.ceil(WARM_UP * len(found)))
    assert found[0] == pytest.approx(RATE) and np.all(np.diff(found[:warm]) > 0)
    assert np.all(found[:warm] < scaled[:warm]) and np.array_equal(found[warm:], scaled[warm:])


@given(
    count=st.integers(BATCH, 200), rule=st.sampled_from([IDENTITY, LINEAR]), scale=st.sampled_from([1, 4, 16]),
    iterations=st.integers(16, 60), seed=st.integers(0, 9),
)  # fmt: skip
def test_every_epoch_sees_each_example_once(count: int, rule: str, scale: int, iterations: int, seed: int) -> None:
    trial = Trial(rule, scale, RATE, iterations, seed)
    drawn = batches(count, trial)
    assert drawn.shape == (trial.steps, scale, BATCH)
    flat = drawn.ravel()
    for begin in range(0, len(flat), count):
        epoch = flat[begin : begin + count]
        assert len(set(epoch.tolist())) == len(epoch) and 0 <= epoch.min() <= epoch.max() < count
