"""Trunks that are detached: the same answers at first, weights of their own, what a recipe limits stays limited."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from adascale_runtime.seams.recipe import Recipe, parse, parse_list
from adascale_tf.bridge import backbones
from adascale_tf.network.elastic import ElasticNetwork

X = np.random.default_rng(0).normal(size=(3, 16, 16, 1)).astype(np.float32)
RECIPES = "full,exit(1),width(0.5),width(0.5)+exit(2)+int8,lowrank(0.5)+prune(0.5),cluster(4)"


@pytest.fixture()
def net() -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    return ElasticNetwork(backbones.build("resnet", (16, 16, 1), 10), parse_list(RECIPES))


@pytest.mark.parametrize("text", ["width(0.5)", "separable", "lowrank(0.5)+prune(0.5)", "width(0.5)+cluster(4)"])
def test_a_detached_trunk_begins_with_what_it_computes(net: ElasticNetwork, text: str) -> None:
    network = net.evolved([parse(text)])
    joined = network.trunk(parse(text))
    before = [logits.numpy() for logits in joined.call(X, training=False)]
    own = network.detach(parse(text), [1, 2, 3])
    assert network.trunk(parse(text)) is own and network.trunks[1] is own and joined in network.joined
    # What weights steps choose is chosen again, among the same weights: ties aside, the same.
    for one, other in zip(own.call(X, training=False), before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    for variable in network.shared.variables:
        variable.assign(variable * 0.0)
    np.testing.assert_allclose(own.call(X, training=False)[-1], before[-1], atol=1e-4)


def test_own_weights_stay_as_sparse_and_as_few_as_the_recipe_says(net: ElasticNetwork) -> None:
    for text, kernel in (
        ("lowrank(0.5)+prune(0.5)", "stage2_block2_1_conv_core"),
        ("cluster(4)", "stage2_block2_1_conv"),
    ):
        own = net.detach(parse(text), [1, 2, 3])
        for variable in own.source.variables:
            variable.assign_add(np.random.default_rng(1).normal(size=variable.shape))
        own.choose(1.0)
        values = own.network(parse(text)).get_layer(kernel).kernel.numpy()
        assert np.mean(values == 0) == pytest.approx(0.5, abs=0.02) if "prune" in text else len(np.unique(values)) <= 4


def test_exits_that_were_not_detached_stay_with_the_fork(net: ElasticNetwork) -> None:
    own = net.detach(parse("width(0.5)"), [2])
    assert own.exits == 2 and not any(layer.name.startswith("stage3") for layer in own.model.layers)
    assert net.trunk(parse("width(0.5)+exit(2)+int8")) is own
    assert net.trunk(parse("width(0.5)")) in net.joined
    branch = parse("width(0.5)+exit(2)+int8")
    np.testing.assert_allclose(own.network(branch)(X, training=False), own.call(X, training=False)[1], atol=1e-5)
    assert net.trunk(parse("width(0.5)+exit(1)")) in net.joined  # nobody trained that exit
    assert net.detach(parse("width(0.5)"), [2]) is own
    assert net.detach(parse("width(0.5)"), [2, 3]).exits == 3
    net.attach(parse("width(0.5)"))
    assert net.trunk(branch) in net.joined and not net.own


def test_early_exits_of_the_whole_network_can_be_detached_and_its_last_one_stays(net: ElasticNetwork) -> None:
    full = net.trunks[0]
    own = net.detach(Recipe(), [1])
    assert net.trunk(parse("exit(1)")) is own and net.trunk(parse("full")) is full is net.trunk(parse("int8"))
    np.testing.assert_allclose(own.call(X, training=False)[0], full.call(X, training=False)[0], atol=1e-5)


def test_a_copy_has_the_same_trunks_and_values_of_its_own(net: ElasticNetwork) -> None:
    net.detach(parse("width(0.5)"), [1, 2])
    copied = net.copied()
    assert copied.state.keys() == net.state.keys()
    for one, other in zip(net.trunks, copied.trunks, strict=True):
        np.testing.assert_allclose(
            one.call(X, training=False)[-1], other.call(X, training=False)[-1], atol=1e-5, err_msg=str(one.recipe)
        )
    copied.own[0].source.variables[0].assign_add(np.ones(copied.own[0].source.variables[0].shape))
    assert not np.allclose(copied.own[0].call(X, training=False)[-1], net.own[0].call(X, training=False)[-1])


def test_a_network_with_other_branches_shares_its_trunks_and_leaves_the_first_alone(net: ElasticNetwork) -> None:
    own, names = net.detach(parse("width(0.5)"), [3]), set(net.state)
    evolved = net.evolved(parse_list("width(0.5)+int8,width(0.75)"))
    assert evolved.trunks[0] is net.trunks[0] and evolved.trunks[1] is own
    assert set(net.state) == names < set(evolved.state)
