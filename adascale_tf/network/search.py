"""Choose branches for a device: an evolutionary search over recipes, and the best few of what it saw.

Pure: what a recipe's accuracy and latency are is the caller's business. Candidates evolve from the Pareto front by
changing one step at a time (cf. Real et al., Regularized Evolution, AAAI 2019; Cai et al., Once-for-All, ICLR 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import Recipe, Step, parse
from adascale_tf import operators
from adascale_tf.operators import Plan

#: The steps that are tried in the place of each operator's; what a graph refuses is skipped.
SPACE: Mapping[str, tuple[str, ...]] = {
    "width": ("", *(f"width({n})" for n in (0.25, 0.375, 0.5, 0.625, 0.75, 0.875))),
    "depth": ("", "depth(0.5)"),
    "resolution": ("", "resolution(0.5)", "resolution(0.75)"),
    "steps": ("", "steps(0.5)", "steps(0.75)"),
    "lowrank": ("", "lowrank(0.35)", "lowrank(0.5)", "lowrank(0.7)"),
    "prune": ("", "prune(0.5)"),
    "exit": ("", *(f"exit({n})" for n in range(1, 6))),
    "precision": ("", "int8"),
}


@dataclass(frozen=True)
class Candidate:
    """A recipe with its accuracy in [0, 1] and its predicted latency."""

    recipe: Recipe
    accuracy: float
    latency_ms: float


Evaluate = Callable[[Recipe], Candidate]


def search(
    plan: Plan, evaluate: Evaluate, start: Iterable[Recipe], trials: int, seed: int = 0, tick: Tick = silent
) -> list[Candidate]:
    """Evaluate ``start`` and up to ``trials`` further recipes that evolve from the best; gives all candidates.

    ``plan``: the whole network, which says what applies. ``tick("search", ...)`` at every evaluation.
    """
    rng = np.random.default_rng(seed)
    begin = list(dict.fromkeys(start))
    total = len(begin) + trials
    found: dict[str, Candidate] = {}
    for recipe in begin:
        found[recipe.id] = evaluate(recipe)
        tick("search", len(found), total, str(recipe))
    misses = 0
    while len(found) < total and misses < 50 * (trials + 1):
        best = front(found.values())
        child = mutate(best[rng.integers(len(best))].recipe, rng)
        if child.id in found or not _applies(plan, child):
            misses += 1  # a small space is exhausted before the trials are
            continue
        found[child.id] = evaluate(child)
        tick("search", len(found), total, str(child))
    return list(found.values())


def mutate(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    """The recipe with one operator's step replaced by another of the space, or left out, or put in."""
    names = list(SPACE)
    name = names[rng.integers(len(names))]
    text = SPACE[name][rng.integers(len(SPACE[name]))]
    # A step for the whole network takes the place of those for single blocks.
    steps = {_slot(step): step for step in recipe.steps if step.operator != name}
    steps.pop(name, None)
    if text:
        steps[name] = parse(text).steps[0]
    order = [*SPACE, *(slot for slot in steps if slot not in SPACE)]
    kinds = operators.KINDS
    chosen = sorted(steps.items(), key=lambda item: (kinds.index(operators.lookup(item[1]).kind), order.index(item[0])))
    return Recipe(tuple(step for _, step in chosen))


def _slot(step: Step) -> str:
    kind = operators.lookup(step).kind
    return kind if kind in ("exit", "precision") else str(step) if step.block else step.operator


def _applies(plan: Plan, recipe: Recipe) -> bool:
    if f"exit({len(plan.graph.outputs)})" in str(recipe):
        return False  # the last exit is what a recipe without one means
    try:
        operators.apply(plan, recipe)
    except BadInput:
        return False
    return True


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
