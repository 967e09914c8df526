"""Choosing branches of a bundle, and judging recipes of a network: what is asked for, predicted, measured, refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tf_keras

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.seams.bundle import FORMAT, Bundle
from adascale_runtime.seams.manifest import Accuracy, Branch, Cost, Manifest, Samples, TensorSpec, Verification
from adascale_runtime.seams.predictors import FORMAT as PREDICTORS
from adascale_runtime.seams.predictors import Predictor, Predictors
from adascale_runtime.seams.recipe import parse, parse_list
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.network.front import OBJECTIVES
from adascale_tf.training import Schedule
from adascale_tf.verbs import judging
from adascale_tf.verbs.costs import Costs
from adascale_tf.verbs.judging import Judge
from adascale_tf.verbs.search import search

SPEC = TensorSpec("x", (1, 4), "float32")


def branch(recipe: str, accuracy: float, macs: int, size: int) -> Branch:
    return Branch(
        recipe, recipe, 1, "int8" if "int8" in recipe else "float32", "f", "s", size, SPEC, SPEC,
        Cost(macs, 1, size, 1000, 1000, 5), Accuracy("top-1", accuracy, 200, "test"),
        Verification(200, 1.0, 0.1, 1.0), "e",
    )  # fmt: skip


@pytest.fixture
def opened(tmp_path: Path) -> Bundle:
    branches = (
        branch("full", 0.95, 9_000_000, 40_000), branch("int8", 0.94, 9_000_000, 10_000),
        branch("width(0.5)", 0.90, 2_000_000, 11_000), branch("width(0.25)+int8", 0.85, 600_000, 2_000),
        branch("width(0.25)", 0.80, 700_000, 9_000),
    )  # fmt: skip
    return Bundle(
        tmp_path, Manifest(FORMAT, "n", "classification", "r", ("a",), {}, branches, (), Samples("s", 0, ()), "now", {})
    )


def fitted(*quantities: str) -> Predictors:
    """Predictors of a device on which integers are three times as fast."""
    weights = {"macs_float_m": 0.3, "macs_integer_m": 0.1, "one": 0.01}
    return Predictors(
        PREDICTORS, tuple(Predictor(q, "d", "cpu", 1, "fitted", weights, {}, 9) for q in quantities), "now", {}
    )


def test_a_bundles_best_branches_for_what_is_asked(opened: Bundle) -> None:
    fast = search(opened, fitted("latency_ms"))
    assert [str(one.recipe) for one in fast.chosen] == ["width(0.25)+int8", "width(0.5)", "int8", "full"]
    assert fast.seen == 5 and fast.split == "test" and fast.written is None
    assert fast.chosen[0].costs == {"latency_ms": pytest.approx(0.07)}
    low, high = fast.chosen[-1].interval
    assert low == pytest.approx(0.910, abs=1e-3) and high == pytest.approx(0.973, abs=1e-3)
    small = search(opened, objectives="size", branches=2)  # a file's size needs no predictors
    assert [(str(one.recipe), one.costs) for one in small.chosen] == [
        ("width(0.25)+int8", {"size_bytes": 2000}), ("full", {"size_bytes": 40_000})
    ]  # fmt: skip
    several = search(
        opened, fitted("latency_ms", "energy_mj", "memory_mb"), objectives=["size", "latency", "memory", "energy"]
    )
    assert [list(one.costs) for one in several.chosen] == [["size_bytes", "latency_ms", "memory_mb", "energy_mj"]] * 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objectives": "latency,speed"}, "'speed' is no objective; choose from latency, energy, memory, size"),
        ({"objectives": " , "}, "needs an objective"),
        ({"objectives": "size,energy"}, "predicts no energy for cpu with 1 threads"),
        ({"threads": 7}, "predicts no latency for cpu with 7 threads"),
        ({"fitted": None}, "latency of branches is predicted; name the device's predictors"),
        ({"steps": -1}, "number of steps is -1"),
        ({"out": "best"}, "--out needs a CHECKPOINT"),
    ],
)
def test_what_cannot_be_searched_is_said(opened: Bundle, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        search(opened, **{"fitted": fitted("latency_ms"), **options})


def test_predictors_that_lack_an_objective_are_named(opened: Bundle, tmp_path: Path) -> None:
    from adascale_runtime.files import codec

    file = tmp_path / "phone.json"
    codec.write_text(file, codec.dump(fitted("latency_ms")))
    with pytest.raises(BadInput, match=r"phone\.json predicts no memory for cpu with 1 threads"):
        search(opened, file, objectives="latency,memory")


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    x, y = digits.x_train[:300, ::2, ::2], digits.y_train[:300]
    how, rest = digits.preprocessing, slice(200, 300)
    return Dataset("small", digits.labels, how, x[:200], y[:200], x[:40], y[:40], (), x[rest], y[rest])


@pytest.fixture(scope="module")
def network() -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    image = tf_keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(8, 3, 2, use_bias=False, name="one_conv")(image)
    x = layers.ReLU(name="one_relu")(layers.BatchNormalization(name="one_bn")(x))
    x = layers.GlobalAveragePooling2D(name="head_pool")(layers.Conv2D(16, 3, 2, name="two_conv")(x))
    model = tf_keras.Model(image, layers.Dense(10, name="head_logits")(x), name="tiny")
    return ElasticNetwork(model, parse_list("full,int8,qat"))


def test_a_file_that_is_not_exact_answers_itself(
    network: ElasticNetwork, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def outputs(path: Path, branch: Branch, inputs: Path) -> np.ndarray:
        asked.append(branch.recipe)
        if "dynamic" in branch.recipe:
            raise AdaScaleError("LiteRT rejects its file.")
        assert path.stat().st_size == branch.size_bytes
        assert np.load(inputs).shape == (100, 16, 16, 1)
        return np.eye(10)[small.y_val]  # all are right

    monkeypatch.setattr(judging.verify, "outputs_apart", outputs)
    costs = Costs(tuple(OBJECTIVES[name] for name in ("latency", "size")), {"latency_ms": fitted("x").predictors[0]})
    said: list[str] = []
    with Judge(network, small, costs, Schedule(), 0, said.append) as judge:
        full, whole, trained = judge(parse("full")), judge(parse("int8")), judge(parse("qat"))
        half = judge(parse("width(0.5)+int8"))
        assert judge(parse("dynamic")) is None
    assert full and whole and trained and half
    answers = network.trunks[0].call(small.inputs(small.x_val), training=False)[-1]
    assert full.accuracy == np.mean(np.argmax(answers, -1) == small.y_val) < 1 == whole.accuracy == half.accuracy
    assert full.interval[0] < full.accuracy < full.interval[1]
    assert list(full.costs) == ["latency_ms", "size_bytes"]
    assert all(half.costs[name] < whole.costs[name] < full.costs[name] for name in full.costs)
    assert trained.costs == whole.costs  # the names of recipes take no room
    assert asked == ["int8", "qat", "width(0.5)+int8", "dynamic"]
    assert len(said) == 2 and "judged before that training" in said[0] and "rejects" in said[1]


def test_a_search_from_a_checkpoint_measures_and_writes(
    network: ElasticNetwork, small: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from adascale_tf.verbs import export

    state = SimpleNamespace(schedule=Schedule(), given=None)
    monkeypatch.setattr("adascale_tf.verbs.search.open_checkpoint", lambda *_: (state, network, small))
    written: list[Any] = []
    monkeypatch.setattr(export, "write_bundle", lambda evolved, *_, **__: written.append(evolved))
    monkeypatch.setattr(judging.verify, "outputs_apart", lambda *_: np.eye(10)[small.y_val])
    with pytest.raises(BadInput, match="name its data with --data"):
        search(tmp_path, fitted("latency_ms"))
    searched = search(
        tmp_path, fitted("latency_ms"), data="digits", branches=3, trials=2, steps=0, out=tmp_path / "best"
    )
    assert searched.seen == 5 and searched.split == "validation" and 1 <= len(searched.chosen) <= 3
    assert [one.recipes for one in written] == [tuple(one.recipe for one in searched.chosen)]
