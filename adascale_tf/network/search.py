"""Choosing branches for a device: an evolutionary search over recipes.

Pure: what a recipe's accuracy and latency are is the caller's business. Candidates evolve from the Pareto front by
changing one step at a time (cf. Real et al., Regularized Evolution, AAAI 2019; Cai et al., Once-for-All, ICLR 2020).
Which steps are tried is what the operators say of themselves (``strengths``, ``at_blocks``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import Recipe, Step
from adascale_tf import operators
from adascale_tf.operators import Plan

#: What a search tries: for each slot of a recipe (an operator that changes the structure, or a kind of which there is
#: one step at most), and for each block or the whole network (None), the steps that can stand there.
Space = Mapping[str, Mapping[str | None, Sequence[Step]]]
#: The share of the trials that take a step of the whole network which had no turn yet, while there are any.
_TURN = 0.5
#: The share of the other changes that concern the whole network, where a step can be limited to blocks too.
_WHOLE = 0.75


@dataclass(frozen=True)
class Candidate:
    """A recipe, and what is known of its branch."""

    recipe: Recipe
    #: Share of right answers, in [0, 1].
    accuracy: float
    #: Predicted, in milliseconds.
    latency_ms: float


Evaluate = Callable[[Recipe], Candidate]


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
) -> list[Candidate]:
    """Evaluate some recipes, and more that evolve from the best of them.

    Args:
        plan: The whole network, which says what applies.
        evaluate: Gives a recipe's accuracy and latency.
        start: The recipes to begin with.
        trials: How many further recipes are tried at most; a small space is exhausted before.
        seed: The same seed tries the same recipes.
        tick: Told ``"search"`` after every evaluation.
        space: What is tried, by default :func:`space_of` the plan.

    Returns:
        All candidates, in the order in which they were evaluated.
    """
    space = space_of(plan) if space is None else space
    rng = np.random.default_rng(seed)
    begin = list(dict.fromkeys(start))
    total = len(begin) + trials
    seen: dict[str, Candidate] = {}
    for recipe in begin:
        seen[recipe.id] = evaluate(recipe)
        tick("search", len(seen), total, str(recipe))
    # Chance alone would leave some steps of a large space untried: each for the whole network has its turn.
    waiting = [step for places in space.values() for step in places.get(None, ())]
    waiting = [waiting[index] for index in rng.permutation(len(waiting))]
    misses = 0
    while space and len(seen) < total and misses < 50 * (trials + 1):
        best = front(seen.values())
        parent = best[rng.integers(len(best))].recipe
        child = with_step(parent, waiting.pop()) if waiting and rng.random() < _TURN else mutate(parent, space, rng)
        if child.id in seen or not operators.applies(plan, child):
            misses += 1
            continue
        seen[child.id] = evaluate(child)
        tick("search", len(seen), total, str(child))
    return list(seen.values())


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


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other candidate beats in accuracy and latency, from fastest to slowest."""
    best: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: (c.latency_ms, -c.accuracy)):
        if not best or one.accuracy > best[-1].accuracy:
            best.append(one)
    return best


def choose(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The ``count`` candidates that together offer most: the most accurate and the fastest of the front, then greedily
    what adds most to the area of (latency, accuracy) that is dominated. Latency counts by its logarithm, since budgets
    differ by factors."""
    options = front(candidates)
    if len(options) <= count:
        return options
    chosen = [options[-1]] if count == 1 else [options[0], options[-1]]
    while len(chosen) < count:
        rest = [one for one in options if one not in chosen]
        chosen.append(max(rest, key=lambda one: _area([*chosen, one], options)))
    return sorted(chosen, key=lambda one: one.latency_ms)


def _area(chosen: Sequence[Candidate], options: Sequence[Candidate]) -> float:
    worst = np.log(options[-1].latency_ms)
    floor = options[0].accuracy
    ordered = sorted(chosen, key=lambda one: one.latency_ms)
    ends = [np.log(one.latency_ms) for one in ordered[1:]] + [worst]
    return float(
        sum((end - np.log(one.latency_ms)) * (one.accuracy - floor) for one, end in zip(ordered, ends, strict=True))
    )
