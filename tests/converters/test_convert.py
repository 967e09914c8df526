from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from adascale_runtime.errors import BadInput
from converters import convert, flatbuffer, graphs, verify
from converters.precisions import PRECISIONS


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    """A network and an early exit of it: they share the first convolution."""
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Conv2D(32, 3, padding="same", activation="relu")(image)
    early = tf_keras.layers.Dense(4)(tf_keras.layers.GlobalAveragePooling2D()(x))
    y = tf_keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    late = tf_keras.layers.Dense(4)(tf_keras.layers.GlobalAveragePooling2D()(y))
    return {"early": tf_keras.Model(image, early), "late": tf_keras.Model(image, late)}


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).random((32, 8, 8, 3)).astype(np.float32)


TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "dynamic": 2e-2, "int8": 2e-2, "qat": 2e-2, "int16x8": 1e-2}


def run(one: convert.Converted, x: np.ndarray) -> np.ndarray:
    runner = Interpreter(model_content=one.model).get_signature_runner(one.signature)
    rows = []
    for example in x:
        value = example[None]
        if one.input.scale:
            value = np.clip(np.rint(value / one.input.scale) + one.input.zero_point, -128, 127).astype(np.int8)
        output = runner(**{one.input.name: value})[one.output.name].astype(np.float32)
        rows.append((output - one.output.zero_point) * one.output.scale if one.output.scale else output)
    return np.concatenate(rows)


@pytest.mark.parametrize("mode", list(PRECISIONS))
def test_every_precision_computes_what_keras_computes(networks: Any, inputs: np.ndarray, mode: str) -> None:
    converted = convert.convert(networks, mode, inputs)
    for key, one in converted.items():
        expected = networks[key].predict(inputs, verbose=0)
        facts = verify.compare(expected, run(one, inputs))
        assert facts.max_abs_difference <= TOLERANCE[mode] * max(1.0, facts.output_range), (key, facts)
        assert one.input.shape == (1, 8, 8, 3)
        assert one.input.dtype == one.output.dtype == ("int8" if mode in ("int8", "qat") else "float32")


def test_shared_weights_are_stored_once(networks: Any, inputs: np.ndarray) -> None:
    converted = convert.convert(networks, "float32", inputs)
    assert converted["early"].model == converted["late"].model
    assert len(converted["late"].model) < converted["early"].size_bytes + converted["late"].size_bytes


def test_nothing_shared_means_a_file_each(inputs: np.ndarray) -> None:
    def tiny() -> Any:
        image = tf_keras.Input((8, 8, 3), name="image")
        return tf_keras.Model(image, tf_keras.layers.Dense(64)(tf_keras.layers.Flatten()(image)))

    converted = convert.convert({"a": tiny(), "b": tiny()}, "float32", inputs)
    alone = sum(one.size_bytes for one in converted.values())
    assert len({one.model for one in converted.values()}) == (1 if len(converted["a"].model) < alone else 2)


def test_an_extracted_signature_runs_as_before(networks: Any, inputs: np.ndarray) -> None:
    packed = convert.convert(networks, "int8", inputs)["early"]
    assert flatbuffer.signatures(packed.model) == ["early", "late"]
    alone = flatbuffer.extract(packed.model, "early")
    assert flatbuffer.signatures(alone) == ["early"] and len(alone) == packed.size_bytes
    twin = convert.Converted(alone, "early", packed.input, packed.output, len(alone))
    np.testing.assert_array_equal(run(twin, inputs), run(packed, inputs))


def test_costs_are_counted_from_the_file(networks: Any, inputs: np.ndarray) -> None:
    for mode, width in (("float32", 4), ("float16", 2), ("int8", 1)):
        one = convert.convert(networks, mode, inputs)["early"]
        cost = flatbuffer.cost(one.model, "early")
        assert cost.macs == 8 * 8 * 32 * 27 + 32 * 4
        assert 32 * 27 + 32 * 4 <= cost.params <= 32 * 28 + 33 * 4  # biases that are zero may be left out
        assert abs(cost.weight_bytes - cost.params * width) < 700, mode
        assert cost.peak_bytes >= 8 * 8 * (32 + 3) * (1 if mode == "int8" else 4)


def test_what_is_no_tflite_is_refused(networks: Any, inputs: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"not a \.tflite"):
        graphs.parse(b"hello")
    model = convert.convert(networks, "float32", inputs)["early"].model
    with pytest.raises(BadInput, match="no signature 'x'; it has early, late"):
        flatbuffer.cost(model, "x")
    with pytest.raises(BadInput, match="no precision 'int4'"):
        convert.convert(networks, "int4", inputs)


def test_delegates_say_what_they_take(networks: Any, inputs: np.ndarray, tmp_path: Path) -> None:
    from adascale_runtime.engines import accelerators
    from adascale_runtime.engines.delegates import library

    path = tmp_path / "two.tflite"
    path.write_bytes(convert.convert(networks, "float32", inputs)["late"].model)
    taken, _ = accelerators.taken(library(), str(path), "late", "cpu")
    plain, _ = accelerators.taken(library(), str(path), "late", "reference")
    assert taken is not None and plain is not None
    assert (taken.verdict, taken.partitions) == ("fully", 1)
    assert (plain.verdict, plain.delegated) == ("not", 0) and plain.nodes == taken.nodes
