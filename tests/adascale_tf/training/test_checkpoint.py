"""Trainings that were killed go on where they were, and end where an undisturbed one ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import parse_list
from adascale_tf.bridge import backbones
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule, checkpoint, train
from adascale_tf.training.checkpoint import Checkpoint

SCHEDULE = Schedule(epochs=3, batch=32, join=1, specialise=1)


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    x = digits.x_train[::8, ::2, ::2]
    return Dataset("small", digits.labels, digits.preprocessing, x, digits.y_train[::8], x[:8], digits.y_train[::8][:8])


def network() -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    return ElasticNetwork(backbones.build("resnet", (16, 16, 1), 10), parse_list("full,width(0.5),prune(0.5)"))


class Killed(Exception):
    pass


def outputs(net: ElasticNetwork, data: Dataset) -> list[np.ndarray]:
    return [np.asarray(t.call(data.inputs(data.x_test), training=False)[-1]) for t in net.trunks]


@pytest.mark.slow
def test_a_killed_training_ends_like_an_undisturbed_one(small: Dataset, tmp_path: Path) -> None:
    whole = network()
    train(whole, small, SCHEDULE)

    def die(what: str, done: int, total: int, note: str = "") -> None:
        if what == "train" and done > total * 0.8:
            raise Killed

    folder = tmp_path / "kept"
    first = network()
    with pytest.raises(Killed):
        train(first, small, SCHEDULE, die, Checkpoint(folder, first, small, SCHEDULE))
    assert checkpoint.read_state(folder).epochs_done == 2
    with pytest.raises(BadInput, match="holds 2 of 5 epochs"):
        checkpoint.load(folder)
    second = network()
    for variable in [*second.full.variables, *second.shared.variables]:  # what is taken up must come from the file
        variable.assign(variable * 0.0)
    seen: list[tuple[str, int]] = []
    train(second, small, SCHEDULE, lambda w, d, t, n: seen.append((w, d)), Checkpoint(folder, second, small, SCHEDULE))
    assert next(done for what, done in seen if what == "train") > 2 * (len(small.x_train) // 32)
    for a, b in zip(outputs(whole, small), outputs(second, small), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)

    state, loaded = checkpoint.load(folder)
    assert state.finished and len(list(folder.glob("epoch-*.npz"))) == 1
    for a, b in zip(outputs(second, small), outputs(loaded, small), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    evolved = loaded.evolved(parse_list("width(0.5)+int8,width(0.75)"))
    assert evolved.trunks[0] is loaded.trunks[0] and evolved.trunks[1] is loaded.trunks[1]


@pytest.mark.slow
def test_other_settings_and_other_files_are_refused(small: Dataset, tmp_path: Path) -> None:
    net = network()
    train(
        net,
        small,
        Schedule(epochs=1, batch=32),
        checkpoint=Checkpoint(tmp_path, net, small, Schedule(epochs=1, batch=32)),
    )
    with pytest.raises(BadInput, match="other settings"):
        Checkpoint(tmp_path, net, small, SCHEDULE).begin()
    (tmp_path / "epoch-4.npz").write_bytes(b"torn")
    with pytest.raises(BadInput, match=r"or delete .* and train again"):
        checkpoint.load(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds other files"):
        Checkpoint(other, net, small, SCHEDULE).begin()
    with pytest.raises(BadInput, match="is not a checkpoint"):
        checkpoint.read_state(other)


@pytest.mark.slow
def test_a_training_goes_on_at_another_scale(small: Dataset, tmp_path: Path) -> None:
    schedule = Schedule(epochs=3, batch=32, join=1, specialise=1, optimizer="sgd", learning_rate=0.03)

    def die(what: str, done: int, total: int, note: str = "") -> None:
        if what == "train" and done > total * 0.5:
            raise Killed

    first = network()
    with pytest.raises(Killed):
        train(first, small, schedule, die, Checkpoint(tmp_path / "kept", first, small, schedule), accumulate=4)
    assert checkpoint.read_state(tmp_path / "kept").epochs_done == 1
    second = network()
    effort = train(second, small, schedule, checkpoint=Checkpoint(tmp_path / "kept", second, small, schedule))
    length = len(small.x_train) // 32
    assert 3 * length < effort.iterations <= 4 * length  # four of five epochs are left, and a little more
    assert effort.steps == effort.iterations  # one batch a step
    state, loaded = checkpoint.load(tmp_path / "kept")
    assert state.finished
    for a, b in zip(outputs(second, small), outputs(loaded, small), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_a_training_that_was_killed_between_two_phases_ends_the_same(small: Dataset, tmp_path: Path) -> None:
    def fresh() -> ElasticNetwork:
        tf_keras.utils.set_random_seed(0)
        backbone = backbones.build("resnet", (16, 16, 1), 10)
        return ElasticNetwork(backbone, parse_list("full,lowrank(0.3),prune(0.7)"))

    schedule = Schedule(epochs=1, batch=32, join=1, specialise=1)
    whole = fresh()
    train(whole, small, schedule)

    def die(what: str, done: int, total: int, note: str = "") -> None:
        if what == "train" and note.startswith("specialise"):
            raise Killed

    first, second = fresh(), fresh()
    with pytest.raises(Killed):
        train(first, small, schedule, die, Checkpoint(tmp_path / "kept", first, small, schedule))
    assert checkpoint.read_state(tmp_path / "kept").epochs_done == 2
    train(second, small, schedule, checkpoint=Checkpoint(tmp_path / "kept", second, small, schedule))
    for a, b in zip(outputs(whole, small), outputs(second, small), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
