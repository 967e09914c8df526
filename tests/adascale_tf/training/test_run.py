from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from adascale_runtime.seams.recipe import parse, parse_list
from adascale_tf import training
from adascale_tf.bridge import backbones
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule


@pytest.fixture()
def small(digits: Dataset) -> Dataset:
    """Every eighth digit, at 16x16: trains in seconds."""
    x = digits.x_train[::4, ::2, ::2]
    return Dataset(
        "small", digits.labels, digits.preprocessing, x, digits.y_train[::4], x[:40], digits.y_train[::4][:40]
    )


def network(recipes: str, shape: tuple[int, ...] = (16, 16, 1)) -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    return ElasticNetwork(backbones.build("resnet", shape, 10), parse_list(recipes))


def test_a_step_through_one_trunk_moves_the_weights_of_all_but_full() -> None:
    net = network("full,width(0.5),depth(0.5)")
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype(np.float32)
    full, _, deep = before = [trunk.call(x, training=False)[-1].numpy() for trunk in net.trunks]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net.trunks[1].call(x, training=False)[-1] ** 2)
    variables = net.shared.variables
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_sub(0.01 * gradient)
    after = [trunk.call(x, training=False)[-1].numpy() for trunk in net.trunks]
    np.testing.assert_array_equal(after[0], full)
    assert np.abs(after[2] - deep).max() > 1e-4 and len(before) == 3
    kernel = next(i for i, v in enumerate(variables) if v.name.startswith("stage3_block2_2_conv"))
    moved = np.asarray(gradients[kernel])
    assert np.abs(moved[..., :32, :32]).max() > 0 and np.abs(moved[..., 32:]).max() == 0


@pytest.mark.slow
def test_training_lowers_the_loss_of_every_trunk(small: Dataset) -> None:
    net = network("full,width(0.25),depth(0.5),prune(0.6)")
    seen: list[tuple[str, int, int]] = []
    training.train(
        net, small, Schedule(epochs=10, batch=32), lambda what, done, total, note: seen.append((what, done, total))
    )
    epoch = len(small.x_train) // 32
    ends = [total for what, done, total in seen if what == "train" and done == total]
    assert ends == [10 * epoch, round(10 / 3 * epoch), 5 * epoch]
    for trunk in net.trunks:
        for logits in trunk.call(small.inputs(small.x_test), training=False):
            assert np.mean(logits.numpy().argmax(-1) == small.y_test) > 0.3, str(trunk.recipe)
    pruned = net.trunk(parse("prune(0.6)")).network(parse("prune(0.6)"))
    kernel = pruned.get_layer("stage2_block2_1_conv").kernel.numpy()
    assert np.mean(kernel == 0) == pytest.approx(0.6, abs=0.01)
    assert np.mean(net.backbone.get_layer("stage2_block2_1_conv").kernel.numpy() == 0) < 0.01


def test_recalibration_gives_the_statistics_of_the_data(small: Dataset) -> None:
    net = network("full,width(0.5)")
    for variable in net.trunks[1].statistics:
        variable.assign(variable + 100.0)
    training.recalibrate(net.trunks, small, batches=2)
    layer = net.trunks[1].model.get_layer("stem_bn")
    probe = tf_keras.Model(net.trunks[1].settle().input, layer.input)
    seen = probe.predict(small.inputs(small.x_train), verbose=0)
    np.testing.assert_allclose(layer.moving_mean, seen.mean((0, 1, 2)), atol=0.05)
    np.testing.assert_allclose(layer.moving_variance, seen.var((0, 1, 2)), rtol=0.1, atol=0.01)


def test_gru_branches_are_slices_of_one_network() -> None:
    recipes = parse_list("full,width(0.5)+exit(1)")
    net = ElasticNetwork(backbones.build("gru", (16, 8), 4), recipes)
    x = np.random.default_rng(0).normal(size=(3, 16, 8)).astype(np.float32)
    for recipe in recipes:
        trunk = net.trunk(recipe)
        want = trunk.call(x, training=False)[net.plan(recipe).exit - 1]
        np.testing.assert_allclose(trunk.network(recipe)(x, training=False), want, atol=1e-5)
    assert net.trunk(recipes[1]).network(recipes[1]).get_layer("stage1_gru").units == 48


def test_recurrent_weights_are_pruned_too() -> None:
    recipe = parse("prune(0.75)")
    net = ElasticNetwork(backbones.build("gru", (16, 8), 4), [recipe])
    trunk = net.trunk(recipe)
    trunk.choose(1.0)
    kernel, recurrent, *_ = trunk.network(recipe).get_layer("stage2_gru").get_weights()
    assert np.mean(kernel == 0) == pytest.approx(0.75, abs=0.01)
    assert np.mean(recurrent == 0) == pytest.approx(0.75, abs=0.01)


RECIPES = "full,width(0.25),depth(0.5)+exit(1),prune(0.6)+exit(1)+int8"
SHORT = Schedule(epochs=1, batch=32, join=0.5, specialise=0.5)


def test_only_the_first_phase_moves_the_whole_network(small: Dataset) -> None:
    net = network(RECIPES)
    given = {name: variable.numpy() for name, variable in net.full.state.items()}
    effort = training.train(net, small, replace(SHORT, pretrain=0))
    assert [phase.name for phase in effort.phases] == ["join", "specialise"]
    for name, variable in net.full.state.items():
        np.testing.assert_array_equal(variable, given[name], err_msg=name)
    assert {str(trunk.recipe): trunk.exits for trunk in net.own} == {"width(0.25)": 3, "depth(0.5)": 1, "prune(0.6)": 1}
    kernel = (
        net.trunk(parse("prune(0.6)+exit(1)")).network(parse("prune(0.6)+exit(1)")).get_layer("stage1_block2_1_conv")
    )
    assert np.mean(kernel.kernel.numpy() == 0) == pytest.approx(0.6, abs=0.01)
    assert effort.macs == sum(phase.macs for phase in effort.phases) > 0


def test_early_exits_train_their_heads_with_the_whole_network_and_weights_of_their_own_if_they_ship(
    small: Dataset,
) -> None:
    shipped, without = network("full,exit(1)+int8"), network("full")
    before = {name: variable.numpy() for name, variable in without.full.state.items()}
    training.train(shipped, small, SHORT)
    training.train(without, small, replace(SHORT, exit_weight=0.0))
    assert [trunk.exits for trunk in shipped.own] == [1] and not without.own
    for name, variable in without.full.state.items():  # the trunk learns what it learns without them
        if name.startswith(("head1", "head2")):
            assert not np.allclose(shipped.full.state[name], before[name]), name
        else:
            np.testing.assert_allclose(shipped.full.state[name], variable, atol=1e-4, err_msg=name)


def test_what_one_phase_costs_is_counted_with_its_teacher(small: Dataset) -> None:
    net = network("full,width(0.25),depth(0.5),width(0.5)")
    effort = training.train(net, small, replace(SHORT, sampled=0))
    full, narrow, deep, half = net.trunks
    steps = effort.phase("join").steps
    assert steps == round(0.5 * (len(small.x_train) // 32)) == effort.phase("specialise").steps
    assert effort.phase("pretrain").macs == pytest.approx(2 * steps * 32 * 3 * full.macs, rel=0.1)
    assert effort.phase("join").macs == steps * 32 * (full.macs + 3 * narrow.macs)
    assert effort.phase("specialise").macs == steps * 32 * (full.macs + 3 * (narrow.macs + deep.macs + half.macs))


def test_a_structure_that_nobody_trained_learns_in_a_few_steps(small: Dataset) -> None:
    net = network("full,width(0.5)")
    training.train(net, small, Schedule(epochs=8, batch=32, specialise=0))
    before = net.values
    evolved = net.evolved([parse("width(0.625)")])
    effort = training.specialise(evolved, evolved.recipes, small, SHORT, steps=30)
    assert effort.steps == 30 and [str(trunk.recipe) for trunk in evolved.own] == ["width(0.625)"] and not net.own
    for name, value in before.items():
        np.testing.assert_array_equal(net.values[name], value, err_msg=name)
    x, y = small.inputs(small.x_test), small.y_test
    full, narrow = (np.mean(t.call(x, training=False)[-1].numpy().argmax(-1) == y) for t in evolved.trunks)
    assert narrow > full - 0.25


def test_kernels_can_stay_what_the_fork_makes_of_them(small: Dataset) -> None:
    net = network("full,width(0.5)")
    joined = net.trunks[1]
    kernels = {name: value for name, value in joined.detached(3).source.state.items() if name.endswith("conv/kernel")}
    training.specialise(net, net.recipes, small, SHORT, steps=3, kernels=False)
    own = net.trunks[1].source.state
    for name, value in kernels.items():
        np.testing.assert_array_equal(own[name], value, err_msg=name)
    assert not np.allclose(own["stem_bn/gamma"], 1.0) and "head3_logits/kernel" in own
    assert not np.allclose(own["head3_logits/kernel"], joined.detached(3).source.state["head3_logits/kernel"])
