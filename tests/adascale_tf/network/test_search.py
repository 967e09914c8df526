"""The search on made-up costs: pure, so thousands of cases are cheap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.seams.recipe import Recipe, Step, parse
from adascale_tf import operators
from adascale_tf.network import search
from adascale_tf.network.front import Candidate, choose
from adascale_tf.operators import registry


@pytest.fixture(scope="module")
def plan() -> operators.Plan:
    from adascale_tf.bridge import backbones
    from adascale_tf.network.elastic import ElasticNetwork

    return ElasticNetwork(backbones.build("resnet", (32, 32, 1), 10), [Recipe()]).whole


@pytest.fixture(scope="module")
def space(plan: operators.Plan) -> search.Space:
    return search.space_of(plan)


@given(st.integers(0, 2**31))
def test_mutations_are_recipes_in_an_order_that_makes_sense(space: search.Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    recipe = parse("width(0.5)+prune(0.5)@stage2+exit(2)+int8")
    for _ in range(6):
        recipe = search.mutate(recipe, space, rng)
        operators.check(recipe)
        assert parse(str(recipe)) == recipe


def test_everything_that_operators_name_is_tried(plan: operators.Plan, space: search.Space) -> None:
    tried = {str(step) for places in space.values() for steps in places.values() for step in steps}
    assert {"separable", "fire(0.25)", "ghost(0.5)", "cluster(16)", "prune(2:4)", "float16", "int8"} <= tried
    assert {"width(0.5)@stage2", "lowrank(0.5)@stage3", "separable@stage1", "prune(2:4)@stage2"} <= tried
    assert {"exit(1)", "exit(2)"} <= tried
    # The last exit changes nothing, the stem stays whole, the network is of images, plain kernels are slow, and nothing
    # says before training what fake quantization makes of a branch.
    assert not tried & {"exit(3)", "lowrank(0.5)@stem", "steps(0.5)", "int16x8", "qat"}
    assert list(space)[:2] == ["width", "depth"] and list(space)[-3:] == ["weights", "exit", "precision"]


def test_a_registered_operator_is_tried_without_more_ado(monkeypatch: pytest.MonkeyPatch, plan: operators.Plan) -> None:
    monkeypatch.setattr(registry, "OPERATORS", dict(registry.OPERATORS))
    monkeypatch.setattr(operators, "OPERATORS", registry.OPERATORS)

    @operators.operator("nothing", "weights", "nothing(1)", strengths=("1", "2"), at_blocks=True)
    def nothing(plan: operators.Plan, step: Step) -> operators.Plan:
        """Leave everything as it is."""
        return plan

    steps = search.space_of(plan)["weights"]
    assert Step("nothing", "2") in steps[None] and Step("nothing", "1", "stage1") in steps["stage1"]


def test_a_block_of_its_own_takes_the_place_of_the_whole(space: search.Space) -> None:
    only = {"width": {"stage2": space["width"]["stage2"]}}
    children = {str(search.mutate(parse("width(0.5)+int8"), only, np.random.default_rng(n))) for n in range(40)}
    assert {"width(0.25)@stage2+int8", "width(0.5)+int8"} <= children  # nothing of the block alone to leave out
    both = parse("width(0.5)@stage1+width(0.5)@stage2")
    children = {str(search.mutate(both, only, np.random.default_rng(n))) for n in range(40)}
    assert {"width(0.5)@stage1+width(0.75)@stage2", "width(0.5)@stage1"} <= children


def made_up(plan: operators.Plan) -> search.Evaluate:
    """Good for recipes with depth(0.5), fast for those with int8."""

    def evaluate(recipe: Recipe) -> Candidate:
        share = operators.apply(plan, recipe)
        macs = sum(int(node.config.get("filters", 0)) for node in share.graph.nodes)
        better = 0.5 if "depth(0.5)" in str(recipe) else 0.0
        cost = macs / 100 * (0.5 if "int8" in str(recipe) else 1)
        return Candidate(recipe, macs / 1000 + better, {"latency_ms": cost})

    return evaluate


@pytest.mark.parametrize("children", [1, 16])
def test_the_search_finds_what_is_good(plan: operators.Plan, children: int) -> None:
    evaluate, seen = made_up(plan), []

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        seen.append(done)

    tried = search.search(plan, evaluate, [Recipe(), Recipe()], 30, 1, tick, children=children)
    assert len(tried) == 31 == seen[-1] and len({c.recipe.id for c in tried}) == 31
    best = choose(tried, 4)
    assert any("depth(0.5)" in str(c.recipe) and "int8" in str(c.recipe) for c in best)
    assert [str(c.recipe) for c in search.search(plan, evaluate, [Recipe()], 12, 1, children=children)] == [
        str(c.recipe) for c in search.search(plan, evaluate, [Recipe()], 12, 1, children=children)
    ]


@pytest.mark.parametrize("children", [1, 16])
def test_a_small_space_ends_the_search(plan: operators.Plan, children: int) -> None:
    small = {"precision": {None: (Step("int8"),)}}
    seen = search.search(plan, made_up(plan), [Recipe()], 10, space=small, children=children)
    assert {str(c.recipe) for c in seen} == {"full", "int8"}


def test_what_cannot_be_evaluated_is_left_out(plan: operators.Plan) -> None:
    evaluate, asked = made_up(plan), []

    def evaluated(recipe: Recipe) -> Candidate | None:
        asked.append(recipe)
        return None if "int8" in str(recipe) else evaluate(recipe)

    small = {"precision": {None: (Step("int8"), Step("dynamic"))}}
    seen = search.search(plan, evaluated, [Recipe()], 10, space=small)
    assert {str(c.recipe) for c in seen} == {"full", "dynamic"} and len(asked) == len(set(asked)) == 3
    assert search.search(plan, lambda recipe: None, [Recipe()], 2, space=small) == []
