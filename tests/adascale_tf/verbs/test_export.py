"""From a network to a bundle: what is lost, what is not finite, what does not fit on the disk."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files.disk import Unwritable
from adascale_runtime.seams import bundle
from adascale_runtime.seams.recipe import parse_list
from adascale_tf.data import Dataset
from adascale_tf.verbs import checks, export
from adascale_tf.verbs.rehearse import rehearse
from tests.fixtures.small_disk import mounted


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Two classes: the mean of an example is below or above a half."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = (rng.random((80, 4, 4, 1)) * 0.4 + 0.1 + 0.4 * y[:, None, None, None]).astype(np.float32)
    how = {"kind": "array", "scale": 1.0}
    return Dataset("halves", ("low", "high"), how, x[:40], y[:40], x[40:], y[40:])


def network(recipes: str, loud: float = 1.0, units: int = 0) -> Any:
    """A network that tells the classes apart by one channel; another one, ``loud`` times as large, says nothing.

    Eight bits for both leave the quiet channel no step of its own where ``loud`` is large.
    """
    import tf_keras

    from adascale_tf.network.elastic import ElasticNetwork

    layers = tf_keras.layers
    image = layers.Input((4, 4, 1))
    x = layers.Conv2D(2, 1, use_bias=False, name="stem_conv")(image)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    if units:
        x = layers.Dense(2, name="head_narrow")(layers.Dense(units, name="head_wide")(x))
    model = tf_keras.Model(image, layers.Dense(2, name="head_logits")(x), name="halves")
    model.get_layer("stem_conv").set_weights([np.array([1.0, loud], np.float32).reshape(1, 1, 1, 2)])
    kernel = np.array([[-1.0, 1.0], [0.0, 0.0]], np.float32)
    if not units:
        model.get_layer("head_logits").set_weights([kernel, np.array([0.5, -0.5], np.float32)])
    return ElasticNetwork(model, parse_list(recipes))


def write(network: Any, data: Dataset, out: Path, **options: Any) -> bundle.Bundle:
    from adascale_tf.training import Schedule

    return export.write_bundle(network, data, Schedule(), out, **options)


def test_a_branch_that_loses_too_much_is_left_out(data: Dataset, tmp_path: Path) -> None:
    loud = network("full,float16,int8", loud=1000.0)
    built = write(loud, data, tmp_path / "b", given=checks.given_accuracy(loud, data))
    assert [b.recipe for b in built.manifest.branches] == ["full", "float16"]
    assert list(built.manifest.left_out) == ["int8"] and "against its own float" in built.manifest.left_out["int8"]
    assert sorted(p.name for p in built.root.glob("*.tflite")) == ["float16.tflite", "full.tflite"]
    assert built.manifest.given is not None
    assert (built.manifest.given.value, built.manifest.given.samples) == (1.0, 40)
    assert bundle.load(built.root).manifest == built.manifest

    kept = write(network("int8"), data, tmp_path / "quiet")
    assert kept.manifest.branches[0].loss <= 5
    with pytest.raises(AdaScaleError, match="No branch is left to write: int8: its file loses") as caught:
        write(network("int8", loud=1000.0), data, tmp_path / "none")
    assert caught.value.exit_code == 1 and not (tmp_path / "none").exists()
    allowed = write(network("int8", loud=1000.0), data, tmp_path / "all", max_loss=60.0)
    assert allowed.manifest.branches[0].loss > 20 and allowed.manifest.max_loss == 60.0


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (np.nan, "values in 'stem_conv/kernel' that are not finite, so nothing is built"),
        (3e38, r"Branch 'full' gives outputs that are not finite \(its Keras network"),
    ],
)
def test_what_is_not_finite_replaces_nothing(data: Dataset, tmp_path: Path, weight: float, sentence: str) -> None:
    old = write(network("full"), data, tmp_path / "b")
    broken = network("full")
    layer = broken.backbone.get_layer("stem_conv")
    layer.set_weights([np.full((1, 1, 1, 2), weight, np.float32)])
    broken.backbone.get_layer("head_logits").set_weights([np.full((2, 2), 10.0, np.float32), np.zeros(2)])
    with pytest.raises(AdaScaleError, match=sentence):
        write(broken, data, tmp_path / "b")
    assert bundle.load(tmp_path / "b").manifest == old.manifest
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_data_beyond_float32_is_refused(data: Dataset) -> None:
    from dataclasses import replace

    checks.check_data(data)
    x = data.x_test.copy()
    x[3, 0, 0, 0] = 1e38
    with pytest.raises(BadInput, match=r"halves has values in its test split that are not finite in float32; scale"):
        checks.check_data(replace(data, x_test=x, preprocessing={"scale": 10.0}))


def test_a_rehearsal_names_the_branch_that_dies(data: Dataset) -> None:
    import tf_keras

    from adascale_tf.network.elastic import ElasticNetwork

    layers = tf_keras.layers
    image = layers.Input((4, 4, 1))
    x = layers.LayerNormalization(name="stem_norm")(layers.Conv2D(4, 1, name="stem_conv")(image))
    out = layers.Dense(2, name="head_logits")(layers.GlobalAveragePooling2D(name="head_pool")(x))
    found = ElasticNetwork(tf_keras.Model(image, out, name="norm"), parse_list("full,int8,int16x8"))
    with pytest.raises(AdaScaleError, match="Branch 'int16x8' does not run: LiteRT crashes on its file"):
        rehearse(found, data)


@pytest.fixture()
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB; skipped where this user may not mount one."""
    with mounted(tmp_path / "small", 100) as there:
        if not there:
            pytest.skip("this user may not mount a file system")
        yield tmp_path / "small"


def test_a_full_disk_keeps_the_older_bundle(data: Dataset, small_disk: Path) -> None:
    old = write(network("full"), data, small_disk / "b")
    with pytest.raises(Unwritable, match=r"b cannot be written \(No space left on device\)"):
        write(network("full", units=20_000), data, small_disk / "b")
    assert bundle.load(small_disk / "b").manifest == old.manifest
    assert [p.name for p in small_disk.iterdir()] == ["b"]


def test_a_full_temporary_folder_is_a_sentence(data: Dataset, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    wide = network("full", units=20_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(Unwritable, match="cannot be written"):
            write(wide, data, tmp_path / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_steps_that_do_nothing_are_said() -> None:
    from adascale_tf.bridge import backbones
    from adascale_tf.network.elastic import ElasticNetwork

    recipes = "full,width(1)+int8,depth(1)+exit(3),resolution(0.99),width(0.5)+exit(2),prune(0.5),width(0.99)"
    found = ElasticNetwork(backbones.build("resnet", (32, 32, 1), 10), parse_list(recipes))
    assert checks.idle_steps(found) == [
        "Recipe 'width(1)+int8': 'width(1)' does nothing here.",
        "Recipe 'depth(1)+exit(3)': 'depth(1)' and 'exit(3)' do nothing here.",
        "Recipe 'resolution(0.99)': 'resolution(0.99)' does nothing here.",
        "Recipe 'width(0.99)': 'width(0.99)' does nothing here.",
    ]
    sequence = ElasticNetwork(backbones.build("gru", (40, 8), 5), parse_list("full,steps(0.99),steps(0.5)"))
    assert checks.idle_steps(sequence) == ["Recipe 'steps(0.99)': 'steps(0.99)' does nothing here."]
