"""The converter in a process of its own: what it dies on is named, and the next conversion finds it well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from adascale_tf.errors import AdaScaleError
from converters import convert, process


def convolution() -> Any:
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Conv2D(8, 3, activation="relu")(image)
    return tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.GlobalAveragePooling2D()(x)))


def normalized() -> Any:
    """Layer normalization over four axes: with 16-bit activations the converter aborts its process."""
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.LayerNormalization()(tf_keras.layers.Conv2D(8, 3)(image))
    return tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)


def test_a_branch_that_the_converter_dies_on_is_named(inputs: np.ndarray) -> None:
    with pytest.raises(AdaScaleError) as caught:
        convert.convert({"wide": normalized()}, "int16x8", inputs, {"wide": "int16x8"})
    assert str(caught.value) == (
        "Branch 'int16x8' cannot be written as int16x8, the TFLite converter dies of it (SIGABRT); leave this recipe "
        "out."
    )
    assert convert.convert({"net": convolution()}, "int16x8", inputs)["net"].size_bytes > 500


def test_one_process_serves_all_conversions(inputs: np.ndarray) -> None:
    before = process.start()
    convert.convert({"net": convolution()}, "float32", inputs)
    assert process.start() is before and before.alive


def test_a_killed_process_is_named_then_replaced(inputs: np.ndarray) -> None:
    process.start().close()
    assert convert.convert({"net": convolution()}, "float32", inputs)["net"].model
    held = process.start()
    os.kill(held._child.pid, signal.SIGKILL)
    with pytest.raises(process.Died, match="SIGKILL, perhaps since memory ran out"):
        held.convert(Path("m"), {"net": "image"}, "int8", Path("c"), Path("o"))


def test_what_the_converter_refuses_is_a_sentence(inputs: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", inputs)
    with pytest.raises(process.Refused):
        process.start().convert(tmp_path / "none", {"net": "image"}, "int8", tmp_path / "c.npy", tmp_path / "o")
    assert process.start().alive and not (tmp_path / "o").exists()


def test_a_group_is_converted_one_by_one_to_find_the_culprit(inputs: np.ndarray) -> None:
    networks = {"good": convolution(), "bad": custom()}
    with pytest.raises(AdaScaleError, match="Branch 'exit of mine' cannot be written as int8, the TFLite converter"):
        convert.convert(networks, "int8", inputs, {"bad": "exit of mine"})


def custom() -> Any:
    """An operator that TFLite lacks."""
    import tensorflow as tf

    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Lambda(lambda v: tf.math.digamma(v + 1.0))(image)
    return tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(x)))


def test_it_ends_with_the_program_that_asked(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from converters import process\n"
        "print(process.start()._child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root},
        text=True, check=False,
    )  # fmt: skip
    child, limit = Path("/proc") / done.stdout.strip(), time.monotonic() + 60
    while child.exists() and time.monotonic() < limit and "Z" not in (child / "stat").read_text().split()[2]:
        time.sleep(0.2)
    assert not child.exists() or "Z" in (child / "stat").read_text().split()[2]
