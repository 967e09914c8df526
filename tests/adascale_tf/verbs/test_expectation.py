"""What training would give an evolved branch: the curve through trained ones, and how far off it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tf_keras

from adascale_runtime.seams.recipe import parse, parse_list
from adascale_tf.bridge import backbones
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule, specialise, train
from adascale_tf.verbs.evolve import derive
from adascale_tf.verbs.expectation import expect, facts, held_out_error, interpolated


def test_between_two_trained_branches_the_curve_is_a_line_over_the_logarithm() -> None:
    points = [(1e6, 0.6), (4e6, 0.8)]
    assert interpolated(points, 2e6) == pytest.approx(0.7)
    assert interpolated(points, 4e6) == pytest.approx(0.8)


def test_a_branch_that_has_more_macs_and_answers_worse_bends_the_curve_no_further() -> None:
    points = [(1e6, 0.5), (2e6, 0.7), (4e6, 0.6), (8e6, 0.9)]
    curve = [interpolated(points, macs) or 0.0 for macs in np.geomspace(1e6, 8e6, 20)]
    assert curve == sorted(curve) and interpolated(points, 2.8e6) == pytest.approx(0.65)


@pytest.mark.parametrize("macs", [0.5e6, 9e6])
def test_nothing_is_said_beyond_the_trained_branches(macs: float) -> None:
    assert interpolated([(1e6, 0.6), (8e6, 0.8)], macs) is None


def test_nothing_is_said_where_too_few_are_known() -> None:
    assert interpolated([(1e6, 0.6)], 1e6) is None
    assert interpolated([(1e6, 0.6), (1e6, 0.7)], 1e6) is None
    assert held_out_error([(1e6, 0.6), (8e6, 0.8)]) is None


def test_the_error_is_that_of_each_branch_from_the_others() -> None:
    assert held_out_error([(1e6, 0.6), (2e6, 0.71), (4e6, 0.8)]) == pytest.approx(0.01)


@pytest.mark.slow
def test_estimates_are_close_to_what_training_gives(digits: Dataset) -> None:
    x = digits.x_train[:, ::2, ::2]
    held = np.arange(len(x)) % 3 == 0
    data = replace(
        digits, name="small", x_train=x[~held], y_train=digits.y_train[~held], x_val=x[held],
        y_val=digits.y_train[held], x_test=digits.x_test[:, ::2, ::2],
    )  # fmt: skip
    tf_keras.utils.set_random_seed(0)
    net = ElasticNetwork(
        backbones.build("resnet", (16, 16, 1), 10), parse_list("full,width(0.25),width(0.75),prune(0.8)")
    )
    schedule = Schedule(epochs=10, batch=32, join=3, specialise=4)
    train(net, data, schedule)
    new = [parse("width(0.5)+int8"), parse("prune(0.5)"), parse("width(0.125)"), parse("width(0.5)+exit(1)")]
    evolved = derive(net, new, data, schedule=schedule)
    estimates = expect(evolved, net, data)
    assert new[0] in estimates and new[1] in estimates
    assert new[2] not in estimates  # fewer MACs than any that was trained
    assert new[3] not in estimates  # no early exit was trained
    specialised = net.evolved(new[:2])
    specialise(specialised, new[:2], data, schedule)
    inputs, labels = data.inputs(data.x_val), data.y_val
    for recipe in new[:2]:
        estimate = estimates[recipe]
        answers = specialised.trunk(recipe).call(inputs, training=False)[-1].numpy().argmax(-1)
        assert abs(estimate.trained_accuracy - np.mean(answers == labels)) <= 0.03
        assert estimate.loss_points == pytest.approx(100 * (estimate.trained_accuracy - estimate.accuracy))
        assert estimate.examples == len(labels)
    assert [estimates[recipe].branches for recipe in new[:2]] == [3, 2]
    assert facts(estimates)[new[0]]["estimate"]["loss_points"] >= 0
