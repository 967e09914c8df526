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

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.manifest import Accuracy, Branch, Cost, Verification
from converters import convert, process, verify


def convolution() -> Any:
    tf_keras.utils.set_random_seed(2)
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Conv2D(8, 3, activation="relu")(image)
    return tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.GlobalAveragePooling2D()(x)))


def normalized() -> Any:
    """Layer normalization over four axes: with 16-bit activations LiteRT aborts the process that runs the file."""
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.LayerNormalization()(tf_keras.layers.Conv2D(8, 3)(image))
    return tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)


def branch(one: convert.Converted, recipe: str) -> Branch:
    cost, accuracy = Cost(1, 1, 1, 1, 1, 1), Accuracy("top-1", 0.0, 1, "test")
    return Branch(
        recipe, recipe, 1, "int16x8", "f", one.signature, 1, one.input, one.output, cost, accuracy,
        Verification(1, 1.0, 0.0, 1.0), "e",
    )  # fmt: skip


def test_a_branch_that_dies_when_it_runs_is_named(inputs: np.ndarray, tmp_path: Path) -> None:
    one = convert.convert({"wide": normalized()}, "int16x8", inputs)["wide"]
    (tmp_path / "m.tflite").write_bytes(one.model)
    np.save(tmp_path / "x.npy", inputs)
    with pytest.raises(AdaScaleError) as caught:
        verify.outputs_apart(tmp_path / "m.tflite", branch(one, "width(0.5)+int16x8"), tmp_path / "x.npy")
    assert str(caught.value) == (
        "Branch 'width(0.5)+int16x8' does not run: LiteRT crashes on its file (SIGABRT); leave this recipe out."
    )
    good = convert.convert({"net": convolution()}, "float32", inputs)["net"]
    (tmp_path / "m.tflite").write_bytes(good.model)
    found = verify.outputs_apart(tmp_path / "m.tflite", branch(good, "full"), tmp_path / "x.npy")
    np.testing.assert_allclose(found, convolution().predict(inputs, verbose=0), atol=1e-5)
    (tmp_path / "m.tflite").write_bytes(good.model[:200])
    with pytest.raises(AdaScaleError, match="Branch 'full' does not run: LiteRT rejects its file"):
        verify.outputs_apart(tmp_path / "m.tflite", branch(good, "full"), tmp_path / "x.npy")


def test_one_process_serves_all_conversions(inputs: np.ndarray) -> None:
    before = process.start()
    convert.convert({"net": convolution()}, "float32", inputs)
    assert process.start() is before and before.ready


def test_a_killed_process_is_named_then_replaced(inputs: np.ndarray) -> None:
    process.start().close()
    assert convert.convert({"net": convolution()}, "float32", inputs)["net"].model
    held = process.start()
    os.kill(held.pid, signal.SIGKILL)
    with pytest.raises(process.Died, match="SIGKILL, perhaps since memory ran out"):
        held.begin("run", Path("o"))()


def test_an_answer_that_nobody_read_is_not_taken_for_the_next(inputs: np.ndarray, tmp_path: Path) -> None:
    process.start().begin("convert", tmp_path / "o", calibration=str(tmp_path / "none"))
    assert convert.convert({"net": convolution()}, "float32", inputs)["net"].model


def test_what_the_converter_refuses_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(process.ConversionRefused, match="No such file"):
        process.start().begin("convert", tmp_path / "o", calibration=str(tmp_path / "none"))()
    assert process.start().ready and not (tmp_path / "o").exists()


def test_a_group_is_converted_one_by_one_to_find_the_culprit(inputs: np.ndarray) -> None:
    networks = {"good": convolution(), "bad": custom()}
    with pytest.raises(AdaScaleError, match="Branch 'exit of mine' cannot be written as int8: the TFLite converter"):
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
        "print(process.start().pid, flush=True)\n"
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
