"""Real bundles of tiny networks: four .tflite files that TensorFlow makes once per test session."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.files import codec
from adascale_runtime.seams import bundle

SIZE = 24


def write_bundle(root: Path, models: dict[str, bytes], accuracies: dict[str, float]) -> bundle.Bundle:
    """A bundle of those branches; its samples are zeros, which no runtime test looks at."""
    root.mkdir(parents=True)
    zeros = np.zeros(SIZE * SIZE, np.float32).tobytes()
    (root / "samples.bin").write_bytes(zeros)
    (root / "expected.bin").write_bytes(zeros[:8])
    branches = []
    for name, content in models.items():
        (root / f"{name}.tflite").write_bytes(content)
        branches.append(
            bundle.Branch(
                id=name,
                recipe=name,
                exit=1,
                precision="float32",
                file=f"{name}.tflite",
                signature="serving_default",
                size_bytes=len(content),
                input=bundle.TensorSpec("x", (1, SIZE, SIZE, 1), "float32"),
                output=bundle.TensorSpec("y", (1, 2), "float32"),
                cost=bundle.Cost(1000, 100, 400, 1000, 500, 3),
                accuracy=bundle.Accuracy("top1", accuracies[name], 100, "test"),
                verification=bundle.Verification(1, 1.0, 0.0, 1.0),
                expected="expected.bin",
            )
        )
    manifest = bundle.Manifest(
        format=bundle.FORMAT,
        name="tiny",
        task="classification",
        backbone="tiny",
        labels=("a", "b"),
        preprocessing={},
        branches=tuple(branches),
        files=bundle.entries(root),
        samples=bundle.Samples("samples.bin", 1, (0,)),
        created="2026-01-01T00:00:00Z",
        versions={},
    )
    codec.write_text(root / bundle.MANIFEST, codec.dump(manifest))
    return bundle.load(root)


def _convert(layers: int, channels: int, poison: bool = False) -> bytes:
    """Convolutions, then (mean, -mean); with ``poison`` the logarithm of a negative number, so NaN, is added."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    shapes = [(3, 3, 1 if i == 0 else channels, channels) for i in range(layers)]
    kernels = [tf.constant(rng.normal(0, 0.1, shape), tf.float32) for shape in shapes]

    @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 1), tf.float32, name="x")])
    def network(x: tf.Tensor) -> dict[str, tf.Tensor]:
        h = x
        for kernel in kernels:
            h = tf.nn.relu(tf.nn.conv2d(h, kernel, 1, "SAME"))
        mean = tf.reshape(tf.reduce_mean(h), (1, 1))
        if poison:
            mean = mean + tf.math.log(-1.0 - tf.abs(mean))
        return {"y": tf.concat([mean, -mean], axis=1)}

    module = tf.Module()
    module.network = network
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], module)
    return bytes(converter.convert())


@pytest.fixture(scope="session")
def models() -> dict[str, bytes]:
    return {
        "full": _convert(4, 32),
        "half": _convert(2, 16),
        "tiny": _convert(1, 2),
        "poisoned": _convert(1, 2, poison=True),
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
