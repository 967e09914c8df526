"""Targets: recipes are chosen so that delegates take all of at least half of a bundle's branches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

import adascale_tf
from adascale_runtime.errors import BadInput
from adascale_runtime.seams.bundle import Bundle
from adascale_tf.data import Dataset
from adascale_tf.network import create
from adascale_tf.verbs import targets
from adascale_tf.verbs.rehearse import trials
from adascale_tf.verbs.training import Training
from converters import convert
from converters.delegates import support

ONCE = Training(epochs=1, pretrain=0.1, join=0.1, specialise=0.1)


def small(last: Any = None) -> Any:
    """A small classifier; with 8-bit weights a GPU computes the strides of its 1x1 convolution wrongly."""
    layers = tf_keras.layers
    x = image = layers.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu", padding="same")(x)
    x = layers.Conv2D(8, 1, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = last(x) if last is not None else x
    return tf_keras.Model(image, layers.Dense(3)(x), name="small")


def examples() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (30, 8, 8, 3)).astype(np.uint8), np.arange(30) % 3


def whole(bundle: Bundle, delegate: str) -> dict[str, bool]:
    return {b.recipe: next(s for s in b.support if s.delegate == delegate).sound for b in bundle.manifest.branches}


def test_precisions_that_a_target_computes_wrongly_make_way(tmp_path: Path) -> None:
    said: list[str] = []
    model = adascale_tf.elastic(small(), targets="gpu")
    before = {str(recipe) for recipe in model.recipes}
    assert "int8" in before and "width(0.5)+int8" in before
    bundle = model.fit(examples(), training=ONCE, say=said.append).export(tmp_path / "bundle")
    found = whole(bundle, "gpu")
    assert all(found.values()) and "full" in found and "width(0.5)+float16" in found and len(found) >= 4
    assert bundle.manifest.targets == ("gpu",)


def test_of_several_targets_none_loses_more_than_half(tmp_path: Path) -> None:
    bundle = adascale_tf.elastic(small(), targets=["gpu", "cpu"]).fit(examples(), training=ONCE).export(tmp_path / "b")
    for delegate in bundle.manifest.targets:
        found = whole(bundle, delegate)
        assert sum(found.values()) >= len(found) / 2
    assert any(b.precision == "int8" for b in bundle.manifest.branches)


def test_named_recipes_stay_and_what_is_not_taken_is_said_before_training(tmp_path: Path) -> None:
    said: list[str] = []
    steps: list[str] = []
    model = adascale_tf.elastic(small(), "full,int8,width(0.5)+int8", targets="gpu")
    model.fit(
        examples(), training=ONCE, say=lambda sentence: said.append(f"{len(steps)} {sentence}"),
        tick=lambda what, *_: steps.append(what) if what == "train" else None,
    )  # fmt: skip
    assert [str(recipe) for recipe in model.recipes] == ["full", "int8", "width(0.5)+int8"]
    (sentence,) = [one for one in said if "gpu" in one]
    assert (
        sentence.startswith("0 gpu will take all of only 1 of 3 branches (int8: ") and "width(0.5)+int8: " in sentence
    )


def test_a_target_that_takes_no_branch_is_refused_before_training() -> None:
    with pytest.raises(BadInput, match=r"gpu takes all of no branch \(int8: .*Leave it out of --for"):
        adascale_tf.elastic(small(), "int8", targets="gpu").fit(examples(), training=ONCE)


@pytest.mark.parametrize("names", ["tpu", "gpu,tpu"])
def test_an_unknown_target_is_refused_at_once(names: str) -> None:
    with pytest.raises(BadInput, match="Nothing is known of what delegate 'tpu' takes; choose among"):
        adascale_tf.elastic(small(), targets=names)
    with pytest.raises(BadInput, match="'tpu'"):
        targets.named(names)


def test_the_files_hold_what_the_manifest_says(built: Bundle) -> None:
    inspection = adascale_tf.inspect(built, delegates="cpu,gpu,gpu:classic")
    for branch in built.manifest.branches:
        told = {one.delegate: one for one in branch.support}
        assert set(told) == set(support.names())
        assert [told[one.delegate] for one in inspection.support[branch.id]] == list(inspection.support[branch.id])
        assert told["cpu"].operators == branch.cost.ops and branch.min_runtime


def test_a_search_for_a_target_chooses_only_what_it_takes(built: Bundle) -> None:
    everything = adascale_tf.search(built, objectives="size")
    chosen = adascale_tf.search(built, objectives="size", targets="gpu")
    files = {b.recipe: (built.path(b.file).read_bytes(), b.signature) for b in built.manifest.branches}
    sound = {recipe for recipe, (model, key) in files.items() if targets.sound(model, key, ["gpu"])}
    assert {str(one.recipe) for one in chosen.chosen} <= sound < {b.recipe for b in built.manifest.branches}
    assert {str(one.recipe) for one in everything.chosen} - sound


def test_a_search_of_a_checkpoint_judges_new_recipes_by_its_targets(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    model = adascale_tf.elastic(small(), "full,int8,width(0.5)+int8")
    model.fit(examples(), training=replace(ONCE, checkpoint=kept))
    options: dict[str, Any] = {"data": examples(), "objectives": "size", "trials": 3, "steps": 0}
    everything = adascale_tf.search(kept, **options)
    chosen = adascale_tf.search(kept, **options, targets="gpu", out=tmp_path / "bundle")
    assert any("int8" in str(one.recipe) for one in everything.chosen)  # the smallest, which a GPU computes wrongly
    assert chosen.written is not None and chosen.written.manifest.targets == ("gpu",)
    assert list(whole(chosen.written, "gpu").values()) == [True] * len(chosen.chosen) and chosen.chosen
    for branch in chosen.written.manifest.branches:  # of the file that ships, every delegate is told
        assert {one.delegate for one in branch.support} == set(support.names())


def test_names_are_told_once() -> None:
    assert targets.named(" gpu, cpu,gpu,") == ("gpu", "cpu") and targets.named(()) == ()


def test_default_recipes_of_a_model_are_known() -> None:
    assert {"full", "int8"} <= {str(recipe) for recipe in create.elastic(small()).recipes}


def gated() -> Any:
    """A recurrent classifier of sequences, whose fresh biases are zeros."""
    sequence = tf_keras.Input((6, 5), name="sequence")
    return tf_keras.Model(sequence, tf_keras.layers.Dense(3)(tf_keras.layers.GRU(8, unroll=True)(sequence)))


def test_a_rehearsal_finds_the_operators_that_training_brings_back() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 6, 5)).astype(np.float32), np.arange(30) % 3
    data = Dataset("sequences", ("a", "b", "c"), {"kind": "array", "scale": 1.0}, x, y, x, y)
    network = create.elastic(gated(), "full,int8")

    def rehearsed() -> dict[str, tuple[int, dict[str, bool]]]:
        found = trials(network, data, network.recipes, support.names())
        return {str(r): (b.cost.ops, {one.delegate: one.sound for one in b.support}) for r, b in found}

    full = network.recipes[0]
    model = network.trunk(full).network(full)
    weights = [one.numpy() for one in model.weights]
    before = rehearsed()
    for one, values in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), values)
    assert convert.convert({"net": model}, "float32", x)["net"].cost().ops < before["full"][0]
    (biases,) = [one for one in model.weights if tuple(one.shape) == (2, 24)]
    biases.assign(0.1 * rng.normal(size=biases.shape))
    trained = convert.convert({"net": model}, "float32", x)["net"]
    assert trained.cost().ops == before["full"][0] and rehearsed() == before
