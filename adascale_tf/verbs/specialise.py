"""``specialise``: weights of their own for branches that were chosen after the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle
from adascale_runtime.seams.recipe import Recipe
from adascale_tf.verbs.build import Built, parsed
from adascale_tf.verbs.evolve import derive, open_checkpoint
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.training import Effort, Schedule


@dataclass(frozen=True)
class Specialised(Built):
    """What :func:`specialise` gives: the bundle if one was asked for, and what was trained."""

    #: The recipes whose structures have weights of their own now.
    recipes: tuple[Recipe, ...] = ()
    #: What the epochs of this call took; None if nothing was left to train.
    effort: Effort | None = None


def specialise(
    checkpoint: str | Path,
    data: Any,
    recipes: str | Sequence[str | Recipe],
    *,
    epochs: float | None = None,
    out: str | Path | None = None,
    max_loss: float = bundle.MAX_LOSS,
    tick: Tick = silent,
    say: Say = unsaid,
) -> Specialised:
    """Give branches that were chosen after the training weights of their own, and keep them in the checkpoint.

    Each structure starts with the weights that the compressed branches share and trains alone, on the full network's
    answers. :func:`evolve`, :func:`search` and another ``specialise`` then use it as it is. A call that was killed goes
    on at its last whole epoch when it is called again; the finished training stays as it is meanwhile.

    Args:
        checkpoint: the folder that :func:`adascale_tf.build` kept.
        data: the data it was trained on, as a SPEC or in memory.
        recipes: the branches, such as those that :func:`search` chose. Those of the full network need no training, and
            those that have weights of their own keep them.
        epochs: passes over the data; by default as many as the build's own branches had.
        out: write these recipes as a bundle: a folder, new, empty, or a bundle, which is replaced.
        max_loss: points of accuracy, as for :meth:`adascale_tf.ElasticModel.export`.
        tick: called at every step of the work.
        say: takes a sentence for whatever a person should know meanwhile.

    Returns:
        The bundle, if one was asked for, and the checkpoint.

    Raises:
        BadInput: the checkpoint is none or is not finished, the data is not what it was trained on, or all recipes are
            of the full network.
        AdaScaleError: the training diverges, or no branch can be written.
    """
    folder = Path(checkpoint)
    if epochs is not None and not (isfinite(epochs) and 0 < epochs < 1e6):
        raise BadInput(f"The number of epochs is {epochs:g}; give more than 0, and less than a million.")
    if out is not None:
        bundle.check_target(Path(out))
    wanted = list(dict.fromkeys(parsed(recipes)))
    from adascale_tf.bridge.quietly import import_tensorflow

    import_tensorflow()
    from adascale_tf.training import checkpoint as checkpoints

    checkpoints.read_state(folder)  # a folder that is none should not get a lock
    with checkpoints.held(folder):
        state, network, dataset = open_checkpoint(folder, data, tick, say)
        alone = untrained(network, wanted)
        if epochs is None:
            epochs = default_epochs(state.schedule)
        effort = _trained(folder, network, alone, dataset, state.schedule, epochs, tick, say) if alone else None
    if not alone:
        say(f"All of these branches have weights of their own in {folder}; nothing is trained.")
    written = None
    if out is not None:
        from adascale_tf.verbs.export import write_bundle

        ready = derive(network, wanted, dataset, tick)
        written = write_bundle(ready, dataset, state.schedule, Path(out), tick, given=state.given, max_loss=max_loss)
    return Specialised(written, folder, tuple(wanted), effort)


def default_epochs(schedule: Schedule) -> float:
    """How long branches train that were chosen later: as long as those of the build, if it had such a phase."""
    return schedule.length("specialise") or replace(schedule, specialise=None).length("specialise")


def untrained(network: ElasticNetwork, recipes: Sequence[Recipe]) -> list[Recipe]:
    """The recipes whose structures must train, so that each of the given ones has weights of its own at its exit.

    A structure that is trained anew for another exit is trained for those that it has, too.

    Raises:
        BadInput: a recipe does not apply to the network, or all of them are of the full network.
    """
    from adascale_tf import operators
    from adascale_tf.training import own_exits

    evolved = network.evolved(recipes)
    asked = own_exits(evolved, recipes)
    if not asked:
        raise BadInput(
            f"There is nothing to specialise in {', '.join(map(str, recipes))}: they have the full network's weights, "
            "which stay as they are; name compressed branches, such as 'width(0.5)'."
        )
    known = network.own_exits
    missing = {structure for structure, exits in asked.items() if not exits <= set(known.get(structure, ()))}
    kept = [recipe for recipe in network.recipes if operators.trunk(recipe) in known]
    return [
        recipe
        for recipe in dict.fromkeys((*recipes, *kept))
        if operators.trunk(recipe) in missing and own_exits(evolved, [recipe])
    ]


def _trained(
    folder: Path, network: ElasticNetwork, recipes: Sequence[Recipe], dataset: Dataset, schedule: Schedule,
    epochs: float, tick: Tick, say: Say,
) -> Effort:  # fmt: skip
    """Train some recipes' structures, from where the checkpoint stands."""
    from adascale_tf.training import specialise as train_alone
    from adascale_tf.training.specialisation import Specialisation

    place = Specialisation(folder, network, recipes, epochs, dataset)
    if place.other is not None:
        named = ", ".join(place.other.recipes)
        say(f"{folder} holds an unfinished training of {named}, of other settings; this one replaces it.")
    if place.begun:
        say(f"This training goes on after {min(place.begun, ceil(epochs))} of {ceil(epochs)} epochs.")
    return train_alone(network, recipes, dataset, schedule, tick, epochs=epochs, checkpoint=place)
