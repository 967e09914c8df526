"""Choosing branches for a device: an evolutionary search over recipes.

Pure: what a recipe's accuracy and costs are is the caller's business. Candidates evolve from the Pareto front by
changing one step at a time (cf. Real et al., Regularized Evolution, AAAI 2019; Cai et al., Once-for-All, ICLR 2020).
Which steps are tried is what the operators say of themselves (``strengths``, ``at_blocks``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, partial

import numpy as np

from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import Recipe, Step
from adascale_tf import operators
from adascale_tf.network.front import Candidate, Scale, front
from adascale_tf.network.surrogate import Surrogate
from adascale_tf.operators import Plan

#: What a search tries: for each slot of a recipe (an operator that changes the structure, or a kind of which there is
#: one step at most), and for each block or the whole network (None), the steps that can stand there.
Space = Mapping[str, Mapping[str | None, Sequence[Step]]]
#: Candidates that a model is fitted to at least.
_LEAST = 8
#: Draws for each child that is wanted, before a space counts as exhausted.
_DRAWS = 200
#: The share of the trials that take a step of the whole network which had no turn yet, while there are any.
_TURN = 0.5
#: The share of the other changes that concern the whole network, where a step can be limited to blocks too.
_WHOLE = 0.75

#: Gives what is known of a recipe's branch; None if there can be no such branch.
Evaluate = Callable[[Recipe], "Candidate | None"]


def space_of(plan: Plan) -> Space:
    """The steps that a search tries: those of all operators that apply to a network and change it."""
    space: dict[str, dict[str | None, list[Step]]] = {}
    for operator in operators.OPERATORS.values():
        for step in operator.steps(plan.graph):
            if operators.applies(plan, Recipe((step,))):
                space.setdefault(_slot(step), {}).setdefault(step.block, []).append(step)
    return space


def search(
    plan: Plan,
    evaluate: Evaluate,
    start: Iterable[Recipe],
    trials: int,
    seed: int = 0,
    tick: Tick = silent,
    *,
    space: Space | None = None,
    children: int = 64,
) -> list[Candidate]:
    """Evaluate some recipes, and more that evolve from the best of them.

    Args:
        plan: The whole network, which says what applies.
        evaluate: Gives a recipe's accuracy and costs; every candidate has costs in the same objectives.
        start: The recipes to begin with.
        trials: How many further recipes are tried at most; a small space is exhausted before.
        seed: The same seed tries the same recipes.
        tick: Told ``"search"`` after every evaluation.
        space: What is tried, by default :func:`space_of` the plan.
        children: How many recipes are proposed for each that is evaluated. A model of those that are known
            (:mod:`adascale_tf.network.surrogate`) chooses among them; with 1, chance does.

    Returns:
        All candidates, in the order in which they were evaluated.
    """
    space = space_of(plan) if space is None else space
    begin = list(dict.fromkeys(start))
    total = len(begin) + trials
    known: dict[str, Candidate | None] = {}

    def see(recipe: Recipe) -> None:
        known[recipe.id] = evaluate(recipe)
        tick("search", len(known), total, str(recipe))

    for recipe in begin:
        see(recipe)
    proposals = _Proposals(plan, space, np.random.default_rng(seed))
    steps = [step for places in space.values() for steps in places.values() for step in steps]
    model = Surrogate(plan, [*steps, *(step for recipe in begin for step in recipe.steps)])
    scale = Scale.of(list(filter(None, known.values())))  # what lies about where a person began is worth most
    while len(known) < total:
        candidates = list(filter(None, known.values()))
        parents = [one.recipe for one in front(candidates)] or begin
        options = proposals.draw(parents, known, children)
        if not options:
            break
        chosen = options[0]
        if len(options) > 1 and len(candidates) >= _LEAST:
            chosen = options[int(np.argmax(model.gains(candidates, options, scale)))]
        proposals.take(chosen)
        see(chosen)
    return list(filter(None, known.values()))


class _Proposals:
    """Recipes that were not tried yet: children of the best."""

    def __init__(self, plan: Plan, space: Space, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng
        self._applies = cache(partial(_applies, plan))  # the same children are drawn again and again
        # Chance alone would leave some steps of a large space untried: each for the whole network has its turn.
        waiting = [step for places in space.values() for step in places.get(None, ())]
        self._waiting = [waiting[index] for index in rng.permutation(len(waiting))]

    def draw(self, parents: Sequence[Recipe], known: Collection[str], count: int) -> list[Recipe]:
        """At most ``count`` recipes that apply and are not known; none where the space is exhausted."""
        drawn: dict[str, Recipe] = {}
        turns = iter(self._waiting if self._rng.random() < _TURN else ())
        for _ in range(_DRAWS + 8 * count if self._space else 0):
            parent = parents[int(self._rng.integers(len(parents)))]
            step = next(turns, None)
            child = mutate(parent, self._space, self._rng) if step is None else with_step(parent, step)
            if child.id not in known and self._applies(child):
                drawn[child.id] = child
                if len(drawn) == count:
                    break
        return list(drawn.values())

    def take(self, recipe: Recipe) -> None:
        """The recipe's steps had their turn."""
        self._waiting = [step for step in self._waiting if step not in recipe.steps]


def _applies(plan: Plan, recipe: Recipe) -> bool:
    return operators.applies(plan, recipe)


def mutate(recipe: Recipe, space: Space, rng: np.random.Generator) -> Recipe:
    """The recipe with a step put in, replaced or left out, for the whole network or for one block."""
    slot = list(space)[rng.integers(len(space))]
    blocks = [block for block in space[slot] if block is not None]
    whole = not blocks or (None in space[slot] and rng.random() < _WHOLE)
    block = None if whole else blocks[rng.integers(len(blocks))]
    options = (None, *space[slot][block])
    new = options[rng.integers(len(options))]
    if new is None:
        steps = [step for step in recipe.steps if _slot(step) != slot or block not in (None, step.block)]
        return Recipe(tuple(sorted(steps, key=_place)))
    return with_step(recipe, new)


def with_step(recipe: Recipe, new: Step) -> Recipe:
    """The recipe with one more step, in the place of those that it excludes.

    A step for the whole network takes the place of those for single blocks, and the other way round.
    """
    steps = [*(step for step in recipe.steps if not operators.exclusive(step, new)), new]
    return Recipe(tuple(sorted(steps, key=_place)))


def _slot(step: Step) -> str:
    operator = operators.lookup(step)
    return operator.name if operator.kind == "structure" else operator.kind


def _place(step: Step) -> tuple[int, int, str]:
    """Where a step stands in a recipe: by kind, then in the order of the operators."""
    operator = operators.lookup(step)
    return operators.KINDS.index(operator.kind), list(operators.OPERATORS).index(operator.name), step.block or ""
