from __future__ import annotations

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
from adascale_tf.training.stepper import Stepper
from adascale_tf.training.workers import alone


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


def test_a_step_through_one_trunk_moves_the_weights_of_all() -> None:
    net = network("full,width(0.5)")
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype(np.float32)
    before = net.trunks[0].call(x, training=False)[-1].numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net.trunks[1].call(x, training=False)[-1] ** 2)
    gradients = tape.gradient(loss, net.variables, unconnected_gradients="zero")
    for variable, gradient in zip(net.variables, gradients, strict=True):
        variable.assign_sub(0.01 * gradient)
    assert np.abs(net.trunks[0].call(x, training=False)[-1].numpy() - before).max() > 1e-4
    kernel = next(i for i, v in enumerate(net.variables) if v.name.startswith("stage3_block2_2_conv"))
    moved = np.asarray(gradients[kernel])
    assert np.abs(moved[..., :32, :32]).max() > 0 and np.abs(moved[..., 32:]).max() == 0


@pytest.mark.slow
def test_training_lowers_the_loss_of_every_trunk(small: Dataset) -> None:
    net = network("full,width(0.25),depth(0.5),prune(0.6)")
    seen: list[tuple[str, int, int]] = []
    training.train(
        net, small, Schedule(epochs=10, batch=32), lambda what, done, total, note: seen.append((what, done, total))
    )
    assert [s for s in seen if s[0] == "train"][-1][1] == 10 * (len(small.x_train) // 32)
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


@pytest.mark.parametrize(("optimizer", "name"), [("adamw", "_momentums"), ("sgd", "momentums")])
def test_sorting_in_between_moves_the_optimizers_memory_too(small: Dataset, optimizer: str, name: str) -> None:
    net = network("full,width(0.5)")
    stepper = Stepper(net, Schedule(optimizer=optimizer), 10, alone())
    x, y = small.inputs(small.x_train[:16]), small.y_train[:16]
    stepper.step([(x, y)], [])
    before = {v.name: v.numpy() for v in stepper.state}
    kernel = net.backbone.get_layer("stage3_block1_1_conv").kernel
    ids = [id(v) for v in net.variables]
    moment = getattr(stepper._rule.optimizer, name)[ids.index(id(kernel))]
    pairs = {tuple(p) for p in zip(kernel.numpy().ravel(), before[moment.name].ravel(), strict=True)}
    outputs = net.trunks[0].call(x, training=False)[-1].numpy()
    old = kernel.numpy()
    stepper.permute(net.sort())
    assert not np.array_equal(old, kernel.numpy())
    np.testing.assert_allclose(net.trunks[0].call(x, training=False)[-1], outputs, atol=1e-5)
    assert {tuple(p) for p in zip(kernel.numpy().ravel(), moment.numpy().ravel(), strict=True)} == pairs
