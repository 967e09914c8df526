"""Every operator starts from its parent's weights: exact where the parent allows it, runnable on random graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import parse, parse_list
from adascale_tf import training
from adascale_tf.bridge import backbones
from adascale_tf.bridge.functional import slots
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.operators import cluster, fire, ghost, lowrank, prune, separable
from tests.adascale_tf.graph.test_channels import keras_models

RNG = np.random.default_rng(0)
STEPS = ("width(0.5)", "lowrank(0.5)", "separable", "fire(0.5)", "ghost(0.5)", "resolution(0.5)", "depth(0.5)")
WEIGHTS = ("prune(0.5)", "prune(2:4)", "prune(0.5:2x2)", "cluster(8)")


@settings(max_examples=15, deadline=None)
@given(keras_models(), st.lists(st.sampled_from(STEPS), max_size=2, unique=True), st.sampled_from(("", *WEIGHTS)))
def test_operators_compose_on_random_networks(model: Any, steps: list[str], last: str) -> None:
    recipe = parse("+".join([*steps, *([last] if last else [])]) or "full")
    try:
        network = ElasticNetwork(model, [recipe])
    except BadInput:
        return  # refused with a reason: nothing to split, no residual block, ...
    trunk = network.trunk(recipe)
    trunk.choose(1.0)
    x = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        logits = trunk.call(tf.constant(x), training=False)[-1]
        loss = tf.reduce_sum(logits**2)
    assert logits.shape == (2, 5) and np.isfinite(logits).all()
    np.testing.assert_allclose(trunk.network(recipe)(x, training=False), logits, atol=1e-4, rtol=1e-4)
    gradients = tape.gradient(loss, trunk.source.variables)
    assert not np.any(logits) or any(  # by chance all ReLUs of a small head may be asleep
        g is not None and np.abs(tf.convert_to_tensor(g)).max() > 0 for g in gradients
    )


@settings(max_examples=10, deadline=None)
@given(keras_models())
def test_sorting_channels_changes_nothing(model: Any) -> None:
    x = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    before = model(x, training=False).numpy()
    kernels = {key: slot.variable.numpy() for key, slot in slots(model).items()}
    fork = ElasticNetwork(model, [parse("full")]).shared.model
    np.testing.assert_allclose(fork(x, training=False), before, atol=1e-5)
    np.testing.assert_array_equal(model(x, training=False), before)  # the backbone itself stays as it is
    for key, slot in slots(fork).items():  # a permutation: the same numbers in another order
        np.testing.assert_array_equal(np.sort(slot.variable.numpy(), None), np.sort(kernels[key], None))


def test_sorted_prefixes_hold_the_strongest_filters() -> None:
    model = backbones.build("resnet", (16, 16, 1), 10)
    fork = ElasticNetwork(model, [parse("full")]).shared.model
    norms = np.abs(fork.get_layer("stage3_block1_1_conv").kernel.numpy()).sum((0, 1, 2))
    assert (np.diff(norms) <= 1e-4).all()


def test_low_rank_is_exact_for_kernels_of_low_rank() -> None:
    kernel = (RNG.normal(size=(45, 3)) @ RNG.normal(size=(3, 8))).reshape(3, 3, 5, 8).astype(np.float32)
    v, last = lowrank.basis(kernel, 1.0, rank=3)
    np.testing.assert_allclose(np.einsum("hwio,or,rp->hwip", kernel, v, last[0, 0]), kernel, atol=1e-4)
    errors = [np.abs(kernel - np.einsum("hwio,or,rp->hwip", kernel, *_pair(kernel, rank))).max() for rank in (1, 2, 3)]
    assert errors == sorted(errors, reverse=True)


def _pair(kernel: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    v, last = lowrank.basis(kernel, 1.0, rank=rank)
    return v, last[0, 0]


def test_separable_is_exact_for_one_pattern_an_input() -> None:
    patterns, mix = RNG.normal(size=(3, 3, 5, 1)), RNG.normal(size=(1, 1, 5, 8))
    kernel = (patterns * mix).astype(np.float32)
    depthwise, _ = separable.directions(kernel, 1.0)
    pointwise = np.einsum("hwio,hwi->io", kernel, depthwise[..., 0])
    np.testing.assert_allclose(depthwise * pointwise, kernel, atol=1e-4)


def test_fire_squeezes_to_the_inputs_that_count() -> None:
    kernel = np.zeros((3, 3, 6, 8), np.float32)
    kernel[:, :, [1, 4]] = RNG.normal(size=(3, 3, 2, 8))
    squeeze, found, _ = fire.basis(kernel, 1.0, size=2)
    assert squeeze.shape == (1, 1, 6, 2)
    np.testing.assert_allclose(np.einsum("is,js->ij", found, found)[[1, 4]][:, [1, 4]], np.eye(2), atol=1e-5)


def test_ghosts_are_exact_for_filters_that_repeat() -> None:
    first = RNG.normal(size=(3, 3, 5, 4))
    mix = RNG.normal(size=(4, 3))
    kernel = np.concatenate([first, first @ mix], -1).astype(np.float32)
    (found,) = ghost.combination(kernel, 1.0, primary=4)
    np.testing.assert_allclose(found[0, 0], mix, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 3, 8, 6), (16, 12)])
def test_masks_have_the_shape_they_promise(shape: tuple[int, ...]) -> None:
    value = RNG.normal(size=shape).astype(np.float32)
    (half,) = prune.mask(value, 1.0, 0.5, (1, 1), None)
    assert half.mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(value[half == 0]).max() <= np.abs(value[half == 1]).min()
    (quarter,) = prune.mask(value, 0.5, 0.5, (1, 1), None)
    assert quarter.mean() == pytest.approx(0.75, abs=0.02)
    (pattern,) = prune.mask(value, 1.0, 0.5, (1, 1), (2, 4))
    rows = pattern.reshape(-1, shape[-1]).T.reshape(-1, 4)
    assert (rows.sum(1) == 2).all()
    (blocks,) = prune.mask(value, 1.0, 0.5, (4, 1), None)
    tiles = blocks.reshape(-1, shape[-1]).T.reshape(-1, 4).sum(1)
    assert set(tiles) <= {0, 4}


def test_clusters_are_few_and_near() -> None:
    value = RNG.normal(size=(3, 3, 8, 6)).astype(np.float32)
    (found,) = cluster.assign(value, 1.0, clusters=16)
    assert found.shape == value.shape and found.min() >= 0 and found.max() < 16
    means = np.array([value[found == n].mean() for n in range(16) if (found == n).any()])
    distance = np.abs(value[..., None] - means).min(-1)
    assert distance.mean() < 0.15


def test_a_clustered_branch_has_few_values_and_others_stay_whole() -> None:
    net = ElasticNetwork(backbones.build("resnet", (16, 16, 1), 10), parse_list("full,cluster(4)"))
    net.trunks[1].choose(1.0)
    kernel = net.trunks[1].network(parse("cluster(4)")).get_layer("stage2_block2_1_conv").kernel.numpy()
    assert len(np.unique(kernel)) <= 4
    assert len(np.unique(net.backbone.get_layer("stage2_block2_1_conv").kernel.numpy())) > 1000


def test_an_evolved_branch_is_as_sparse_as_its_recipe_says() -> None:
    net = ElasticNetwork(backbones.build("resnet", (16, 16, 1), 10), [parse("full")])
    recipe = parse("prune(0.5)")
    kernel = net.evolved([recipe]).trunk(recipe).network(recipe).get_layer("stage2_block2_1_conv").kernel.numpy()
    assert np.mean(kernel == 0) == pytest.approx(0.5, abs=0.01)


def test_recurrent_networks_have_their_operators() -> None:
    tf_keras.utils.set_random_seed(0)
    recipes = parse_list("full,lowrank(0.5),steps(0.5),width(0.5)+steps(0.75),prune(2:4)")
    net = ElasticNetwork(backbones.build("gru", (20, 12), 4), recipes)
    x = RNG.normal(size=(3, 20, 12)).astype(np.float32)
    for recipe in recipes:
        trunk = net.trunk(recipe)
        got = trunk.network(recipe)(x, training=False)
        np.testing.assert_allclose(got, trunk.call(x, training=False)[-1], atol=1e-5)
    short = net.trunk(parse("steps(0.5)"))
    y = x.copy()
    y[:, 10:] = 0.0
    np.testing.assert_allclose(short.call(x, training=False)[-1], short.call(y, training=False)[-1], atol=1e-6)
    assert net.trunk(parse("lowrank(0.5)")).macs < net.trunks[0].macs


@pytest.mark.parametrize("text", ["width(0.875)", "lowrank(0.8)", "prune(0.3)", "cluster(32)", "depth(1)"])
def test_a_weak_step_stays_close_to_a_trained_parent(trained: ElasticNetwork, digits: Dataset, text: str) -> None:
    evolved = trained.evolved([parse("full"), parse(text)])
    training.recalibrate(evolved.trunks[1:], digits, batches=3)
    x = digits.inputs(digits.x_test)
    parent, child = (np.asarray(t.call(x, training=False)[-1]).argmax(-1) for t in evolved.trunks)
    assert np.mean(parent == digits.y_test) > 0.8
    assert np.mean(parent == child) > 0.7


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> ElasticNetwork:
    tf_keras.utils.set_random_seed(0)
    net = ElasticNetwork(backbones.build("resnet", (32, 32, 1), 10), [parse("full")])
    training.train(net, digits, training.Schedule(epochs=3))
    return net


@pytest.mark.parametrize("shape", [(3, 3, 1, 2), (1, 1, 2, 8), (8, 1), (1, 8), (2, 2)])
def test_kernels_that_hold_one_row_of_blocks_are_pruned(shape: tuple[int, ...]) -> None:
    value = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (found,) = prune.mask(value, 1.0, 0.5, (2, 2), None)
    assert found.shape == shape and set(np.unique(found)) <= {0.0, 1.0}
    assert np.mean(found == 0) == pytest.approx(0.5, abs=0.1)
