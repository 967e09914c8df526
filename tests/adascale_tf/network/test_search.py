"""The search on made-up costs: pure, so thousands of cases are cheap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.seams.recipe import Recipe, Step, parse
from adascale_tf import operators
from adascale_tf.network import search
from adascale_tf.network.search import Candidate
from adascale_tf.operators import registry

candidates = st.lists(
    st.builds(
        Candidate,
        st.integers(1, 99).map(lambda n: parse(f"width(0.{n:02d})")),
        st.floats(0, 1),
        st.floats(0.01, 100),
    ),
    min_size=1,
    max_size=30,
)


@given(candidates)
def test_the_front_is_what_nobody_beats(some: list[Candidate]) -> None:
    front = search.front(some)
    for one in some:
        beaten = any(
            o.accuracy >= one.accuracy and o.latency_ms <= one.latency_ms and o != one for o in some if o in front
        )
        assert one in front or beaten
    accuracies = [c.accuracy for c in front]
    assert accuracies == sorted(accuracies) and len(set(accuracies)) == len(accuracies)


@given(candidates, st.integers(1, 8))
def test_the_chosen_are_few_and_of_the_front(some: list[Candidate], count: int) -> None:
    front, chosen = search.front(some), search.choose(some, count)
    assert 1 <= len(chosen) == min(count, len(front))
    assert all(one in front for one in chosen)
    assert front[-1] in chosen  # the most accurate is never given up


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
    assert {"separable", "fire(0.25)", "ghost(0.5)", "cluster(16)", "prune(2:4)", "qat", "float16", "int8"} <= tried
    assert {"width(0.5)@stage2", "lowrank(0.5)@stage3", "separable@stage1", "prune(2:4)@stage2"} <= tried
    assert {"exit(1)", "exit(2)"} <= tried
    # The last exit changes nothing, the stem stays whole, the network is of images, plain kernels are slow.
    assert not tried & {"exit(3)", "lowrank(0.5)@stem", "steps(0.5)", "int16x8"}
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


def test_the_search_finds_what_is_good(plan: Any) -> None:
    def cost(recipe: Recipe) -> Candidate:
        share = operators.apply(plan, recipe)
        macs = sum(int(node.config.get("filters", 0)) for node in share.graph.nodes)
        good = "depth(0.5)" in str(recipe)
        return Candidate(
            recipe, macs / 1000 + (0.5 if good else 0.0), macs / 100 * (0.5 if "int8" in str(recipe) else 1)
        )

    seen: list[int] = []
    tried = search.search(plan, cost, [Recipe(), Recipe()], 40, 1, lambda what, done, total, note: seen.append(done))
    assert len(tried) == 41 == seen[-1] and len({c.recipe.id for c in tried}) == 41
    best = search.choose(tried, 4)
    assert any("depth(0.5)" in str(c.recipe) and "int8" in str(c.recipe) for c in best)
    assert [str(c.recipe) for c in search.search(plan, cost, [Recipe()], 5, 1)] == [
        str(c.recipe) for c in search.search(plan, cost, [Recipe()], 5, 1)
    ]


def test_a_small_space_ends_the_search(plan: Any) -> None:
    small = {"precision": {None: (Step("int8"),)}}
    seen = search.search(plan, lambda r: Candidate(r, 0.5, 1.0), [Recipe()], 10, space=small)
    assert {str(c.recipe) for c in seen} == {"full", "int8"}
