"""The model of a search: what it knows of recipes, what it predicts, and how many evaluations it saves."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from adascale_runtime.seams.recipe import Recipe, Step, parse, parse_list
from adascale_tf import operators
from adascale_tf.graph import shapes
from adascale_tf.network import search
from adascale_tf.network.front import Candidate, Scale, front, scaled, volume
from adascale_tf.network.surrogate import Features, Surrogate

START = parse_list(
    "full,int8,width(0.5),width(0.5)+int8,width(0.25)+int8,exit(1)+int8,lowrank(0.5)+int8,prune(0.5)+dynamic"
)
#: What steps of the made-up network lose, and how much faster it is in a precision.
LOSS = {"separable": 0.03, "fire": 0.08, "lowrank": 0.03, "ghost": 0.06, "prune": 0.01, "cluster": 0.02, "exit": 0.03}
SPEED = {"int8": 3.0, "dynamic": 2.0}


@pytest.fixture(scope="module")
def plan() -> operators.Plan:
    from adascale_tf.bridge import backbones
    from adascale_tf.network.elastic import ElasticNetwork

    return ElasticNetwork(backbones.build("resnet", (32, 32, 1), 10), [Recipe()]).whole


@pytest.fixture(scope="module")
def steps(plan: operators.Plan) -> list[Step]:
    space = search.space_of(plan)
    return [step for places in space.values() for steps in places.values() for step in steps]


@pytest.fixture(scope="module")
def made_up(plan: operators.Plan) -> search.Evaluate:
    """Accuracy falls with the work that is left and with what steps lose; time is work, in two objectives."""

    @cache
    def evaluate(recipe: Recipe) -> Candidate:
        branch = operators.apply(plan, recipe)
        macs = shapes.macs(branch.graph)
        lost = sum(LOSS.get(step.operator, 0.0) * (1.0 if step.block is None else 0.4) for step in recipe.steps)
        accuracy = 0.92 - 0.02 * math.log(shapes.macs(plan.graph) / macs) ** 1.6 - lost
        latency = macs / 1e7 / SPEED.get(branch.precision, 1.0) + 0.01 * len(branch.graph.nodes)
        return Candidate(recipe, accuracy, {"latency_ms": latency})

    return evaluate


def test_features_say_what_is_left_and_what_was_done(plan: operators.Plan, steps: list[Step]) -> None:
    features = Features(plan, steps)
    whole, half, less = (features(parse(text)) for text in ("full", "width(0.5)", "width(0.25)"))
    assert np.allclose(whole[:3], 0, atol=0.05) and (half[:3] < -0.1).all()  # of the heads, one is left
    assert (less[:3] < half[:3]).all()
    some = "full,width(0.5),width(0.5)@stage2,prune(0.5),prune(2:4),prune(0.5)@stage2,int8,float16,exit(1),exit(1)+int8"
    rows = [tuple(features(recipe)) for recipe in parse_list(some)]
    assert len(set(rows)) == len(rows) and len({len(row) for row in rows}) == 1


def test_predictions_are_near_what_is_known_and_wide_where_nothing_is(
    plan: operators.Plan, steps: list[Step], made_up: search.Evaluate
) -> None:
    known = [one for one in map(made_up, START) if one is not None]
    model = Surrogate(plan, steps)
    mean, spread = model.predict(known, [*START, parse("width(0.375)+int8"), parse("fire(0.25)+ghost(0.5)")])
    assert mean.shape == spread.shape == (10, 2)
    assert np.allclose(mean[:8, 1], [one.accuracy for one in known], atol=0.02)
    assert np.allclose(np.exp(-mean[:8, 0]), [one.costs["latency_ms"] for one in known], rtol=0.1)
    assert spread[9, 1] > spread[8, 1] and (spread > 0).all()
    scale = Scale.of(known)
    assert (model.gains(known, START, scale) < 0.1).all()


def test_with_the_model_half_of_the_evaluations_reach_as_far(
    plan: operators.Plan, made_up: search.Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    applies = cache(lambda recipe: operators.applies(plan, recipe))
    monkeypatch.setattr(search, "_applies", lambda plan, recipe: applies(recipe))
    space = search.space_of(plan)

    def reached(children: int, trials: int) -> float:
        """The median volume of the front, over seeds."""
        volumes = []
        for seed in range(5):
            seen = search.search(plan, made_up, START, trials, seed, space=space, children=children)
            assert len(seen) == len(START) + trials
            volumes.append(volume(scaled(front(seen), Scale.of(seen[: len(START)]))))
        return float(np.median(volumes))

    assert reached(children=16, trials=16) >= reached(children=1, trials=32)
