"""Real bundles of tiny networks: four .tflite files that TensorFlow makes once per test session."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adascale_runtime.seams import bundle
from tests.fixtures.tiny_networks import SIZE, convert, write_bundle


@pytest.fixture(scope="session")
def models() -> dict[str, bytes]:
    return {
        "full": convert(4, 32),
        "half": convert(2, 16),
        "tiny": convert(1, 2),
        "poisoned": convert(1, 2, poison=True),
    }


@pytest.fixture(scope="session")
def healthy(models: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    """Three branches: ``full`` (0.9) costs far more than ``half`` (0.8), which costs more than ``tiny`` (0.6)."""
    accuracies = {"full": 0.9, "half": 0.8, "tiny": 0.6}
    return write_bundle(tmp_path_factory.mktemp("h") / "b", {k: models[k] for k in accuracies}, accuracies)


@pytest.fixture(scope="session")
def poisoned(models: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    """The most accurate branch, ``poisoned``, answers NaN."""
    accuracies = {"poisoned": 0.99, "half": 0.8, "tiny": 0.6}
    return write_bundle(tmp_path_factory.mktemp("p") / "b", {k: models[k] for k in accuracies}, accuracies)


@pytest.fixture(scope="session")
def all_poisoned(models: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return write_bundle(tmp_path_factory.mktemp("a") / "b", {"poisoned": models["poisoned"]}, {"poisoned": 0.9})


@pytest.fixture(scope="session")
def unopenable(healthy: bundle.Bundle) -> bundle.Bundle:
    """The branch ``full`` names a signature that its file lacks, so it cannot be opened; the others can."""
    first, *rest = healthy.manifest.branches
    broken = dataclasses.replace(first, signature="absent")
    return bundle.Bundle(healthy.root, dataclasses.replace(healthy.manifest, branches=(broken, *rest)))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).random((SIZE, SIZE, 1), np.float32)
