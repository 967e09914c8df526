"""Checkpoint folders from outside and from kills, power cuts and full disks: no code, no traceback, nothing half."""

from __future__ import annotations

import json
import os
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives, codec
from adascale_runtime.files.disk import Busy, Unwritable
from adascale_runtime.seams.recipe import parse_list
from adascale_tf.bridge.functional import read_graph
from adascale_tf.cli import main
from adascale_tf.data import Dataset
from adascale_tf.graph import graph_file
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule, arrays, checkpoint
from adascale_tf.training.checkpoint import Checkpoint

SCHEDULE = Schedule(epochs=2, batch=8)


def network() -> ElasticNetwork:
    layers = tf_keras.layers
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, activation="relu", kernel_regularizer="l2", name="stage1_conv")(image)
    x = layers.BatchNormalization(name="stage1_bn")(layers.Conv2D(8, 3, use_bias=False, name="stage1_last")(x))
    x = layers.Dense(3, name="head_logits")(layers.GlobalAveragePooling2D(name="head_pool")(x))
    return ElasticNetwork(tf_keras.Model(image, x, name="tiny"), parse_list("full,width(0.5),prune(0.5)"))


@pytest.fixture(scope="module")
def net() -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    found = network()
    found.choose(1.0)
    return found


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (16, 8, 8, 1)).astype(np.uint8), rng.integers(0, 3, 16)
    return Dataset("tiny", ("a", "b", "c"), {"kind": "array", "scale": 1 / 255}, x, y, x, y)


def begun(folder: Path, net: ElasticNetwork, data: Dataset) -> Checkpoint:
    kept = Checkpoint(folder, net, data, SCHEDULE)
    assert kept.begin() == 0
    return kept


@pytest.fixture
def finished(tmp_path: Path, net: ElasticNetwork, data: Dataset) -> Path:
    """The folder of a training that is done."""
    folder = tmp_path / "kept"
    begun(folder, net, data).save(SCHEDULE.total + 1, [])
    return folder


def test_a_network_comes_back_from_plain_numbers(finished: Path, net: ElasticNetwork, data: Dataset) -> None:
    assert sorted(path.name for path in finished.iterdir()) == ["checkpoint.json", "epoch-5.npz"]
    assert "regularizer" not in (finished / "checkpoint.json").read_text()
    state, loaded = checkpoint.load(finished)
    assert state.schedule == SCHEDULE and state.finished
    x = data.inputs(data.x_test)
    for a, b in zip(net.trunks, loaded.trunks, strict=True):
        np.testing.assert_allclose(a.call(x, training=False)[-1], b.call(x, training=False)[-1], atol=1e-5)


def with_lambda(library_path: Path, **form: Any) -> Path:
    """A model of one Lambda that leaves a trace when it is executed."""
    trace = library_path.parent / "executed"
    code = eval(f"lambda x: (open({str(trace)!r}, 'w').close(), x * 2)[1]")
    image = tf_keras.Input((4,))
    tf_keras.Model(image, tf_keras.layers.Lambda(code)(image)).save(library_path, **form)
    trace.unlink()
    return trace


@pytest.mark.parametrize("form", ["h5", "tf"])
def test_checkpoints_of_older_versions_are_not_opened(finished: Path, form: str) -> None:
    trace = with_lambda(finished / "backbone.keras" if form == "h5" else finished / "saved", save_format=form)
    if form == "tf":
        (finished / "saved").rename(finished / "backbone.keras")
    checkpoint.load(finished)  # what is in that file does not matter
    found = json.loads((finished / "checkpoint.json").read_text())
    (finished / "checkpoint.json").write_text(json.dumps({**found, "format": "adascale-checkpoint/1"}))
    with pytest.raises(BadInput, match="was written by an older version in a format that is no longer read"):
        checkpoint.load(finished)
    assert not trace.exists()


def test_evolve_refuses_an_older_checkpoint_in_one_sentence(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(finished, lambda found: found.update(format="adascale-checkpoint/1"))
    arguments = ["evolve", str(finished), "--data", "digits", "--recipes", "full", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and error.endswith("delete it and build again.") and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def changed(folder: Path, change: Any) -> None:
    found = json.loads((folder / "checkpoint.json").read_text())
    change(found)
    (folder / "checkpoint.json").write_text(json.dumps(found))


def layer(found: dict[str, Any], number: int = 1) -> dict[str, Any]:
    return found["graph"]["nodes"][number]  # type: ignore[no-any-return]


MUTATIONS = {
    "kind-lambda": (lambda f: layer(f).update(kind="Lambda"), "is a Lambda, which is not a known layer"),
    "kind-function": (lambda f: layer(f).update(kind="TFOpLambda"), "is not a known layer"),
    "object": (lambda f: layer(f)["config"].update(kernel_initializer={"class_name": "x"}), "not a known setting"),
    "activation": (lambda f: layer(f)["config"].update(activation="deserialize"), "not a known setting"),
    "units": (lambda f: layer(f)["config"].update(filters=10**9), "allow more with"),
    "negative": (lambda f: layer(f)["config"].update(filters=-1), "cannot be built"),
    "unknown": (lambda f: layer(f)["config"].update(colour="red"), "cannot be built"),
    "cycle": (lambda f: layer(f).update(inputs=["head_logits"]), "reads a layer that does not precede it"),
    "twice": (lambda f: layer(f, 2).update(name="stage1_conv"), "appears twice"),
    "output": (lambda f: f["graph"].update(outputs=["nowhere"]), "the network lacks nowhere"),
    "empty": (lambda f: f["graph"].update(nodes=[]), "the network lacks"),
    "shape": (lambda f: layer(f, 0).update(shape=[8, -8, 1]), "has the shape"),
    "no-graph": (lambda f: f.pop("graph"), "has no 'graph'"),
    "schedule-empty": (lambda f: f.update(schedule={}), "has no batch, epochs, .* in its schedule"),
    "schedule-list": (lambda f: f.update(schedule=[]), "in its schedule"),
    "schedule-epochs": (lambda f: f["schedule"].update(epochs=0), "epochs is 0"),
    "schedule-text": (lambda f: f["schedule"].update(epochs="two"), "should be a whole number"),
    "schedule-rate": (lambda f: f["schedule"].update(learning_rate=-1.0), "learning_rate is -1"),
    "schedule-optimizer": (lambda f: f["schedule"].update(optimizer="x" * 999), "use adamw or sgd"),
    "done-many": (lambda f: f.update(epochs_done=99), "counts 99 of 4 epochs"),
    "done-less": (lambda f: f.update(epochs_done=-1), "counts -1 of 4 epochs"),
    "own-unknown": (lambda f: f.update(own={"width(0.5)+melt": [1]}), "melt"),
    "own-exits": (lambda f: f.update(own={"width(0.5)": [7]}), "names exits that its network does not have"),
    "own-type": (lambda f: f.update(own={"width(0.5)": "all"}), "own"),
    "done-other": (lambda f: f.update(epochs_done=1), "holds 1 of 4 epochs"),
    "recipes": (lambda f: f.update(recipes=["width(2)"]), "width"),
    "recipes-other": (lambda f: f.update(recipes=["full", "width(0.25)"]), "does not hold"),
    "format": (lambda f: f.update(format=["adascale-checkpoint/2"]), "is not of format"),
    "labels": (lambda f: f.update(labels=[1]), "should be"),
}


@pytest.mark.parametrize("case", MUTATIONS)
def test_changed_descriptions_are_refused_in_a_sentence(finished: Path, case: str) -> None:
    change, sentence = MUTATIONS[case]
    changed(finished, change)
    with pytest.raises(BadInput, match=sentence) as caught:
        checkpoint.load(finished)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "adascale-checkpoint/3"}'])
def test_descriptions_that_are_none_are_refused(finished: Path, text: str) -> None:
    (finished / "checkpoint.json").write_text(text)
    with pytest.raises(BadInput):
        checkpoint.load(finished)


def test_damaged_epochs_are_refused_in_a_sentence(finished: Path, net: ElasticNetwork) -> None:
    path = finished / "epoch-5.npz"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for turn in range(60):
        spoiled = bytearray(whole[: rng.integers(len(whole))] if turn % 3 == 0 else whole)
        for _ in range(rng.integers(1, 9) if turn % 3 else 0):
            spoiled[rng.integers(len(spoiled))] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled)
        try:
            arrays.read_arrays(path, net.values)
        except BadInput as error:
            refused += 1
            assert str(error).endswith(f"delete {finished} and train again.")
    assert refused > 40
    path.unlink()
    with pytest.raises(BadInput, match=r"has no epoch-5.npz, its newest epoch"):
        checkpoint.load(finished)


def test_a_resumed_training_meets_a_damaged_epoch_with_a_sentence(
    tmp_path: Path, net: ElasticNetwork, data: Dataset
) -> None:
    begun(tmp_path / "kept", net, data).save(1, [])
    path = tmp_path / "kept" / "epoch-1.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"not a complete \.zip file .* or delete"):
        kept = Checkpoint(tmp_path / "kept", net, data, SCHEDULE)
        kept.read(kept.begin(), [])


def test_epochs_with_other_contents_are_refused(finished: Path, net: ElasticNetwork) -> None:
    path, values = finished / "epoch-5.npz", net.values
    name = next(iter(values))
    for spoiled, sentence in (
        ({**values, name: values[name].astype(np.float64)}, "is float64"),
        ({**values, name: np.array([object()])}, "is object"),
        ({**values, name: np.zeros(7, np.float32)}, r"is float32 \(7,\)"),
        ({**values, name: values[name] * np.nan}, "not finite"),
        ({key: value for key, value in values.items() if key != name}, f"does not hold '{name}'"),
    ):
        np.savez(path, **spoiled)  # type: ignore[arg-type]
        with pytest.raises(BadInput, match=sentence):
            checkpoint.load(finished)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", bytes(1 << 20))
    with archives.limit(1 << 19), pytest.raises(BadInput, match="--max-gb"):
        checkpoint.load(finished)


@contextmanager
def full_disk(left: int) -> Iterator[None]:
    """No file may grow beyond ``left`` bytes: the kernel's own error, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_epoch_before(tmp_path: Path, net: ElasticNetwork, data: Dataset) -> None:
    folder = tmp_path / "kept"
    kept = begun(folder, net, data)
    kept.save(1, [])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for left in (0, 100, 5000):
        with full_disk(left), pytest.raises(Unwritable, match=r"epoch-2\.npz cannot be written .*free some space"):
            kept.save(2, [])
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert Checkpoint(folder, net, data, SCHEDULE).begin() == 1


def test_a_full_disk_at_the_beginning_does_not_block_the_place(
    tmp_path: Path, net: ElasticNetwork, data: Dataset
) -> None:
    kept = Checkpoint(tmp_path / "kept", net, data, SCHEDULE)
    with full_disk(10), pytest.raises(BadInput, match="cannot be written"):
        kept.begin()
    assert begun(tmp_path / "kept", net, data).folder.is_dir()


@pytest.mark.parametrize("left", ["", ".checkpoint.json.a8s_k2", ".epoch-1.npz.partial", "backbone.keras"])
def test_beginnings_of_a_killed_training_do_not_block_the_place(
    left: str, tmp_path: Path, net: ElasticNetwork, data: Dataset
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    if left:
        (folder / left).write_bytes(b"half")
    begun(folder, net, data)
    assert not left.startswith(".") or not (folder / left).exists()


@pytest.mark.parametrize("name", ["thesis.txt", ".hidden", "epoch-1.npz", "model.keras"])
def test_files_of_others_are_left_alone(name: str, tmp_path: Path, net: ElasticNetwork, data: Dataset) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(BadInput, match="holds other files"):
        Checkpoint(tmp_path, net, data, SCHEDULE).begin()
    assert (tmp_path / name).read_text() == "mine"


def die_after(last: int) -> None:
    """Kill this process when it opens, renames or removes a file once more than so many times."""
    count = 0

    def die(event: str, _: Any) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove"):
            count += 1
            if count > last:
                os._exit(9)

    sys.addaudithook(die)


def test_a_kill_at_any_moment_leaves_a_place_that_goes_on(tmp_path: Path, net: ElasticNetwork, data: Dataset) -> None:
    folder = tmp_path / "kept"
    for moment in range(12):
        child = os.fork()
        if child == 0:  # dies in the middle of a write, as by a kill
            die_after(moment)
            kept = Checkpoint(folder, net, data, SCHEDULE)
            done = kept.begin()
            kept.save(min(done + 1, SCHEDULE.epochs), [])
            os._exit(0)
        os.waitpid(child, 0)
        kept = Checkpoint(folder, net, data, SCHEDULE)
        if done := kept.begin():
            kept.read(done, [])  # raises if it cannot be taken up
    assert checkpoint.read_state(folder).epochs_done >= 1


def test_one_training_at_a_time(tmp_path: Path, net: ElasticNetwork, data: Dataset) -> None:
    kept = Checkpoint(tmp_path / "kept", net, data, SCHEDULE)
    with kept.held():
        kept.begin()
        kept.save(1, [])
        with pytest.raises(Busy, match="is being written by process"), kept.held():
            pass
    with kept.held():
        assert kept.begin() == 1


def test_layers_that_cannot_be_kept_are_refused_at_once() -> None:
    image = tf_keras.Input((8, 8, 1), name="image")
    x = tf_keras.layers.Lambda(lambda x: x * 2, name="odd")(image)
    x = tf_keras.layers.Dense(3, name="logits")(tf_keras.layers.Flatten(name="flat")(x))
    with pytest.raises(BadInput, match="'odd' is a Lambda"):
        graph_file.plain(read_graph(tf_keras.Model(image, x)), "the checkpoint")


def test_the_optimizer_comes_back(tmp_path: Path, net: ElasticNetwork, data: Dataset) -> None:
    steps, moment = tf.Variable(7, dtype=tf.int64), tf.Variable([1.0, 2.0])
    begun(tmp_path, net, data).save(1, [steps, moment])
    steps.assign(0)
    moment.assign([0.0, 0.0])
    kept = Checkpoint(tmp_path, net, data, SCHEDULE)
    assert kept.begin() == 1
    kept.read(1, [steps, moment])
    assert int(steps) == 7 and moment.numpy().tolist() == [1.0, 2.0]


def test_another_schedule_is_another_training(tmp_path: Path, net: ElasticNetwork, data: Dataset) -> None:
    begun(tmp_path, net, data)
    with pytest.raises(BadInput, match="of other settings"):
        Checkpoint(tmp_path, net, data, replace(SCHEDULE, seed=1)).begin()
    assert codec.read_json(tmp_path / "checkpoint.json")["schedule"]["seed"] == 0
