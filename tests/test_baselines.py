"""The hand-made compressions of the headline benchmark are what they say."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_tf import shapes
from adascale_tf.data import Dataset
from adascale_tf.functional import read_graph

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import baselines


@pytest.fixture(scope="module")
def training(digits: Dataset) -> Any:
    return baselines.Training(digits.x_train[:256, ::2, ::2], digits.y_train[:256], 10, epochs=2, batch=64)


@pytest.fixture(scope="module")
def full(training: Any) -> Any:
    return baselines.BASELINES["full, alone"](replace(training, epochs=1))


@pytest.fixture(scope="module")
def residual(training: Any) -> Any:
    return baselines.residual(training)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in baselines.BASELINES if n != "full, alone"])
def test_a_baseline_is_smaller_and_learns(training: Any, full: Any, name: str) -> None:
    found = baselines.BASELINES[name](training)
    assert found.macs < full.macs or found.effective_macs < 0.35 * full.macs
    assert found.seconds > 0 and found.train_macs > 0
    logits = found.model(training.x_train[:8].astype(np.float32), training=False)
    assert logits.shape == (8, 10) and np.isfinite(logits).all()


def test_macs_are_those_of_the_operators(full: Any) -> None:
    assert full.macs == shapes.macs(read_graph(full.model))


def test_the_builder_gives_the_backbone(residual: Any, full: Any) -> None:
    assert baselines.count_macs(residual) == full.macs
    assert residual.count_params() == full.model.count_params()


def test_a_factorisation_of_full_rank_changes_nothing(training: Any, residual: Any) -> None:
    x = training.x_train[:4].astype(np.float32) / 255
    np.testing.assert_allclose(
        baselines.factorised(residual, training, 1.0)(x, training=False), residual(x, training=False), atol=1e-4
    )
