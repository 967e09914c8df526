"""New branches from a trained network: a few steps of their own, and what stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import parse, parse_list
from adascale_tf.bridge import backbones
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.network.trunk import Trunk
from adascale_tf.training import Schedule, train
from adascale_tf.verbs.evolve import derive, evolve

SCHEDULE = Schedule(epochs=2, batch=32, join=1, specialise=1)


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    x, y = digits.x_train[::4, ::2, ::2], digits.y_train[::4]
    return Dataset("small", digits.labels, digits.preprocessing, x, y, x[:40], y[:40])


@pytest.fixture(scope="module")
def trained(small: Dataset) -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    network = ElasticNetwork(backbones.build("resnet", (16, 16, 1), 10), parse_list("full,width(0.25)+exit(2)"))
    train(network, small, SCHEDULE)
    return network


def answers(trunk: Trunk, data: Dataset) -> np.ndarray:
    return np.asarray(trunk.call(data.inputs(data.x_train), training=False)[-1])


def loss(logits: np.ndarray, y: np.ndarray) -> float:
    shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -float(shares[np.arange(len(y)), y].mean())


@pytest.mark.slow
def test_a_few_steps_give_new_structures_weights_of_their_own(trained: ElasticNetwork, small: Dataset) -> None:
    recipe = parse("width(0.5)+int8")
    before = trained.values
    derived, stepped = (derive(trained, [recipe], small, steps=steps, schedule=SCHEDULE) for steps in (0, 20))
    assert len(derived.own) == 1 and len(stepped.own) == 2
    losses = [loss(answers(net.trunk(recipe), small), small.y_train) for net in (derived, stepped)]
    assert losses[1] < losses[0]
    assert set(trained.values) == set(before)
    for name, value in trained.values.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.slow
def test_an_early_exit_of_the_whole_network_gets_weights_of_its_own(trained: ElasticNetwork, small: Dataset) -> None:
    recipes = [parse("full"), parse("exit(1)+int8")]
    evolved = derive(trained, recipes, small, steps=2, schedule=SCHEDULE)
    full, early = map(evolved.trunk, recipes)
    assert full is trained.trunks[0] and early is not full and early.exits == 1
    assert derive(trained, recipes, small).trunk(recipes[1]) is full


@pytest.mark.slow
def test_trained_branches_stay_as_they_are(trained: ElasticNetwork, small: Dataset) -> None:
    known = parse("width(0.25)+exit(2)")
    recipes = [parse("full"), known, parse("width(0.25)+exit(1)+int8"), parse("width(0.25)")]
    evolved = derive(trained, recipes, small, steps=5, schedule=SCHEDULE)
    assert evolved.trunk(known) is trained.trunk(known)
    assert evolved.trunk(parse("full")) is trained.trunks[0]
    for other in recipes[2:]:  # exits that nobody trained
        assert evolved.trunk(other) in evolved.joined


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(BadInput, match="number of steps is -1"):
        evolve("nowhere", "digits", "full", "out", steps=-1)
