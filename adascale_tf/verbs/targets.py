"""Targets: the delegates that a bundle is built for, and recipes that they take all of.

Every branch is converted before training, and the tables of :mod:`converters.delegates` judge its file. What operators
a file holds depends on weights only where these are 0 or 1, and the rehearsal has none of these
(:func:`adascale_tf.verbs.rehearse.trials`). Pruned weights stay numbers among others, of which no operator is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import Recipe, parse
from adascale_runtime.seams.support import Support
from adascale_tf import operators
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork

#: The share of a bundle's branches that each target should take all of.
SHARE = 0.5
#: Precisions that take the place of one that a target does not take, the smallest files first.
_INSTEAD = ("int8", "float16", "")
#: What each recipe's file is for each target.
Known = Mapping[Recipe, Mapping[str, Support]]


def named(targets: str | Sequence[str]) -> tuple[str, ...]:
    """Targets as names.

    Raises:
        BadInput: nothing is known of what a delegate takes; it lists those that are known.
    """
    from converters.delegates import support

    given = targets.split(",") if isinstance(targets, str) else targets
    names = tuple(dict.fromkeys(name.strip() for name in given if name.strip()))
    support.check(names)
    return names


def sound(model: bytes, signature: str, targets: Iterable[str]) -> bool:
    """Whether every target takes all of a signature of a .tflite, and nothing is known to be wrong with that."""
    from converters.delegates import support

    return all(one.sound for one in support.several(model, signature, targets))


def suit(
    network: ElasticNetwork,
    data: Dataset,
    targets: Sequence[str],
    *,
    chosen: bool,
    tick: Tick = silent,
    say: Say = unsaid,
) -> tuple[Recipe, ...]:
    """Recipes of which every target takes all of at least half.

    Args:
        network: before its training.
        data: its shapes, and examples for ranges.
        targets: the delegates.
        chosen: whether its recipes are the user's, which stay as they are; others are changed in their precision where
            that helps a target.
        tick: called with "check delegates" for each recipe that is converted on trial.
        say: takes a sentence for what a target does not take.

    Raises:
        BadInput: a target takes all of no branch.
        AdaScaleError: a branch cannot be converted.
    """
    known: dict[Recipe, Mapping[str, Support]] = {}

    def look(recipes: Iterable[Recipe]) -> None:
        new = [recipe for recipe in recipes if recipe not in known]
        known.update(_converted(network, data, new, targets, tick))

    look(network.recipes)
    recipes = list(network.recipes)
    for target in () if chosen else targets:
        wrong = [recipe for recipe in reversed(recipes) if not known[recipe][target].sound]
        instead = {recipe: _in_other_precisions(network, recipe) for recipe in wrong}
        for attempt in range(len(_INSTEAD)):
            if _content(recipes, target, targets, known):
                break
            tried = {recipe: instead[recipe][attempt] for recipe in wrong if attempt < len(instead[recipe])}
            look(dict.fromkeys(tried.values()))
            for recipe, other in tried.items():
                if not _content(recipes, target, targets, known) and _serves(other, recipe, target, targets, known):
                    recipes[recipes.index(recipe)] = other
                    wrong.remove(recipe)
    recipes = list(dict.fromkeys(recipes))
    for target in targets:
        _tell(target, recipes, known, say)
    return tuple(recipes)


def _converted(
    network: ElasticNetwork, data: Dataset, recipes: Sequence[Recipe], targets: Sequence[str], tick: Tick
) -> dict[Recipe, dict[str, Support]]:
    """What targets take of each recipe's file, converted from the weights that there are."""
    from adascale_tf.verbs.rehearse import trials

    found = {}
    for number, (recipe, branch) in enumerate(trials(network.evolved(recipes), data, recipes, targets), start=1):
        found[recipe] = {one.delegate: one for one in branch.support}
        tick("check delegates", number, len(recipes), str(recipe))
    return found


def _content(recipes: Sequence[Recipe], target: str, targets: Sequence[str], known: Known) -> bool:
    """Whether a target takes enough: all, or beside other targets, to which the rest is left, its share."""
    distinct = set(recipes)  # two may have become one
    share = SHARE if len(targets) > 1 else 1.0
    return sum(known[recipe][target].sound for recipe in distinct) >= share * len(distinct)


def _in_other_precisions(network: ElasticNetwork, recipe: Recipe) -> list[Recipe]:
    structure = "+".join(str(step) for step in recipe.steps if operators.lookup(step).kind != "precision")
    texts = ["+".join(filter(None, (structure, precision))) or "full" for precision in _INSTEAD]
    return [other for other in map(parse, texts) if other != recipe and operators.applies(network.whole, other)]


def _serves(other: Recipe, instead: Recipe, target: str, targets: Sequence[str], known: Known) -> bool:
    """Whether a recipe suits a target where another does not, and no other target loses by it."""
    return known[other][target].sound and all(
        known[other][name].sound or not known[instead][name].sound for name in targets
    )


def _tell(target: str, recipes: Sequence[Recipe], known: Known, say: Say) -> None:
    whole = [recipe for recipe in recipes if known[recipe][target].sound]
    if len(whole) == len(recipes):
        return
    left = {str(recipe): why(known[recipe][target]) for recipe in recipes if recipe not in whole}
    reasons = "; ".join(f"{recipe}: {words}" for recipe, words in left.items())
    if not whole:
        raise BadInput(f"{target} takes all of no branch ({reasons}). Leave it out of --for, or change the recipes.")
    only = "only " if len(whole) < SHARE * len(recipes) else ""
    say(f"{target} will take all of {only}{len(whole)} of {len(recipes)} branches ({reasons}).")


def why(support: Support) -> str:
    """Why a delegate should not run a branch, in few words."""
    return "; ".join((support.words, *support.warnings))
