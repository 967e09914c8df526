"""Branches that are specialised after the training: kept beside it, taken up after a kill, never in its way."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, parse, parse_list
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule, checkpoint, specialise, train
from adascale_tf.training.checkpoint import Checkpoint
from adascale_tf.training.specialisation import Specialisation
from adascale_tf.verbs.specialise import untrained
from tests.adascale_tf.training.test_checkpoint_files import die_after

SCHEDULE = Schedule(epochs=1, batch=8, join=1, specialise=1)
LATER = parse_list("lowrank(0.5),width(0.75)+prune(0.5)+int8")


def network(recipes: str = "full,width(0.5)+exit(1)") -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="stage1_conv")(image)
    x = layers.BatchNormalization(name="stage1_bn")(x)
    early = layers.Dense(3, name="exit1_logits")(layers.GlobalAveragePooling2D(name="exit1_pool")(x))
    x = layers.BatchNormalization(name="stage2_bn")(layers.Conv2D(8, 3, use_bias=False, name="stage2_conv")(x))
    x = layers.Dense(3, name="head_logits")(layers.GlobalAveragePooling2D(name="head_pool")(x))
    return ElasticNetwork(tf_keras.Model(image, [early, x], name="tiny"), parse_list(recipes))


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 64)
    x = (rng.integers(0, 100, (64, 8, 8, 1)) + 50 * y[:, None, None, None]).astype(np.uint8)
    return Dataset("tiny", ("a", "b", "c"), {"kind": "array", "scale": 1 / 255}, x, y, x, y)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Path:
    """The folder of a training that is done; tests copy it."""
    folder, net = tmp_path_factory.mktemp("built") / "kept", network()
    train(net, data, SCHEDULE, checkpoint=Checkpoint(folder, net, data, SCHEDULE))
    return folder


@pytest.fixture
def kept(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "kept"))


class Killed(Exception):
    pass


def later(folder: Path, data: Dataset, recipes: list[Recipe], epochs: float = 3, tick: Any = None) -> ElasticNetwork:
    """What the verb does: the network as it is kept, some recipes specialised."""
    state, net = checkpoint.load(folder)
    place = Specialisation(folder, net, recipes, epochs, data)
    more = {} if tick is None else {"tick": tick}
    specialise(net, recipes, data, state.schedule, epochs=epochs, checkpoint=place, **more)
    return net


def answers(net: ElasticNetwork, data: Dataset, recipe: Recipe) -> np.ndarray:
    trunk = net.evolved([recipe]).trunk(recipe)
    return np.asarray(trunk.call(data.inputs(data.x_test), training=False)[net.plan(recipe).exit - 1])


def test_specialised_branches_come_back_with_the_checkpoint(kept: Path, data: Dataset) -> None:
    before = (kept / "epoch-4.npz").read_bytes()
    done = later(kept, data, LATER)
    state, loaded = checkpoint.load(kept)
    assert state.recipes == ("full", "width(0.5)+exit(1)") and state.added == tuple(LATER)
    assert loaded.recipes == (*parse_list("full,width(0.5)+exit(1)"), *LATER)
    for recipe in loaded.recipes:
        np.testing.assert_allclose(answers(loaded, data, recipe), answers(done, data, recipe), atol=1e-5)
    assert (kept / "epoch-4.npz").read_bytes() == before
    assert sorted(path.name for path in kept.iterdir()) == ["checkpoint.json", "epoch-4.npz", state.later[0].file]
    assert untrained(loaded, LATER) == []


def test_a_killed_one_ends_like_an_undisturbed_one(built: Path, kept: Path, tmp_path: Path, data: Dataset) -> None:
    whole = later(Path(shutil.copytree(built, tmp_path / "whole")), data, LATER)

    def die(what: str, done: int, total: int, note: str = "") -> None:
        if what == "train" and done > total * 0.8:
            raise Killed

    with pytest.raises(Killed):
        later(kept, data, LATER, tick=die)
    state, loaded = checkpoint.load(kept)  # as it was before
    assert state.finished and [one.epochs_done for one in state.later] == [2] and not state.added
    assert len(loaded.recipes) == 2
    seen: list[int] = []
    again = later(kept, data, LATER, tick=lambda what, done, total, note: seen.append(done) if what == "train" else 0)
    assert seen[0] == 2 * 8 + 1
    for recipe in LATER:
        np.testing.assert_allclose(answers(again, data, recipe), answers(whole, data, recipe), atol=1e-4)


def test_a_kill_at_any_moment_of_a_write_leaves_the_finished_training(kept: Path, data: Dataset) -> None:
    _, net = checkpoint.load(kept)
    for recipe in LATER:
        net.trunk(recipe)
        net.detach(Recipe(tuple(step for step in recipe.steps if step.operator != "int8")), [1, 2])
    for moment in range(14):
        child = os.fork()
        if child == 0:  # dies in the middle of a write, as by a kill
            die_after(moment)
            place = Specialisation(kept, net, LATER, 3, data)
            place.save(SCHEDULE.total + min(place.begun + 1, 3), [])
            os._exit(0)
        os.waitpid(child, 0)
        state = checkpoint.read_state(kept)
        assert state.finished
        place = Specialisation(kept, net, LATER, 3, data)
        if place.begun:
            place.read([])  # raises if it cannot be taken up
    assert place.begun > 0


def test_another_unfinished_one_gives_way(kept: Path, data: Dataset) -> None:
    def die(what: str, done: int, total: int, note: str = "") -> None:
        if what == "train" and done > total * 0.8:
            raise Killed

    with pytest.raises(Killed):
        later(kept, data, LATER, tick=die)
    _, net = checkpoint.load(kept)
    other = parse_list("width(0.25)")
    assert Specialisation(kept, net, LATER, 3, data).begun == 2
    for recipes, epochs, examples in (
        (other, 3, data), (LATER, 2, data), (LATER, 3, replace(data, y_train=data.y_train[::-1].copy())),
    ):  # fmt: skip
        place = Specialisation(kept, net, recipes, epochs, examples)
        assert place.begun == 0 and place.other is not None
    later(kept, data, other, epochs=1)
    state, _ = checkpoint.load(kept)
    assert state.added == tuple(other) and [path.name for path in kept.glob("later-*")] == [state.later[0].file]
    later(kept, data, LATER, epochs=0.5)
    state, loaded = checkpoint.load(kept)
    assert state.added == (*other, *LATER) and len(loaded.recipes) == 5


def test_a_structure_that_gets_another_exit_keeps_those_that_it_has(kept: Path, data: Dataset) -> None:
    _, net = checkpoint.load(kept)
    wanted = parse_list("width(0.5)+int8")
    recipes = untrained(net, wanted)
    assert recipes == [*wanted, parse("width(0.5)+exit(1)")]
    later(kept, data, recipes, epochs=1)
    _, loaded = checkpoint.load(kept)
    assert {str(trunk.recipe): trunk.exits for trunk in loaded.own} == {"width(0.5)": 2}
    again = network()  # the same build once more finds its own training
    place = Checkpoint(kept, again, data, SCHEDULE)
    train(again, data, SCHEDULE, checkpoint=place)
    assert place.finished and {trunk.exits for trunk in again.own} == {1}


def test_what_needs_no_training_is_told_apart(kept: Path) -> None:
    _, net = checkpoint.load(kept)
    assert untrained(net, parse_list("full,width(0.5)+exit(1)+int8")) == []
    with pytest.raises(BadInput, match=r"nothing to specialise in full, int8"):
        untrained(net, parse_list("full,int8"))
    assert untrained(net, parse_list("full,exit(1)+int8")) == parse_list("exit(1)+int8")
    with pytest.raises(BadInput, match="no operator 'magic'"):
        untrained(net, parse_list("magic(2)"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"epochs_done": 9}, "counts 9 of 1 later epochs"),
        ({"epochs": 0.0}, "counts 2 of 0 later epochs"),
        ({"own": {"width(0.75)+prune(0.5)": [3]}}, "names exits that its network does not have"),
        ({"recipes": ["width(", "full"]}, "is not a step"),
        ({"recipes": ["magic(3)"]}, "no operator 'magic'"),
        ({"own": {"width(0.25)": [2]}}, "does not hold"),
        ({"own": 3}, "should be"),
    ],
)
def test_changed_descriptions_are_refused_in_a_sentence(
    kept: Path, data: Dataset, change: dict[str, Any], sentence: str
) -> None:
    later(kept, data, LATER[1:], epochs=1)
    raw = json.loads((kept / "checkpoint.json").read_text())
    raw["later"][0].update(change)
    (kept / "checkpoint.json").write_text(json.dumps(raw))
    with pytest.raises(BadInput, match=sentence):
        checkpoint.load(kept)


def test_lost_and_damaged_files(kept: Path, data: Dataset) -> None:
    def die(what: str, done: int, total: int, note: str = "") -> None:
        if what == "train" and done > total * 0.8:
            raise Killed

    with pytest.raises(Killed):
        later(kept, data, LATER, tick=die)
    (path,) = kept.glob("later-*-2.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"delete later-\w+-2\.npz, and this specialisation begins anew"):
        later(kept, data, LATER)
    path.unlink()
    later(kept, data, LATER)
    (path,) = kept.glob("later-*-4.npz")
    path.write_bytes(b"torn")
    with pytest.raises(BadInput, match=r"later-\w+-4\.npz .*train again"):
        checkpoint.load(kept)
