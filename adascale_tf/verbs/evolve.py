"""``evolve``: new branches from a trained network, with a few steps of training or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle
from adascale_runtime.seams.recipe import Recipe
from adascale_tf.verbs.build import Built, parsed
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.training import Schedule
    from adascale_tf.training.checkpoint import TrainingState

#: Steps that each new structure is trained for, unless others are asked for: some seconds.
STEPS = 30


def evolve(
    checkpoint: str | Path,
    data: Any,
    recipes: str | Sequence[str | Recipe],
    out: str | Path,
    *,
    steps: int = STEPS,
    max_loss: float = bundle.MAX_LOSS,
    tick: Tick = silent,
    say: Say = unsaid,
) -> Built:
    """Write a bundle of new branches, derived from a trained network.

    Weights are derived from those that the compressed branches share. Each new structure then trains alone for a few
    steps on the full network's answers, and its BatchNorm statistics are measured. The checkpoint stays as it is.
    What training would add to a new branch is estimated from the trained ones, in ``training["estimate"]`` of the
    manifest's branch: :class:`~adascale_tf.verbs.expectation.Estimate`.

    Args:
        checkpoint: the folder that :func:`adascale_tf.build` kept.
        data: the data it was trained on, as a SPEC or in memory.
        recipes: the new branches; none needs to have been trained.
        out: the bundle's folder: new, empty, or a bundle, which is replaced.
        steps: batches that each new structure trains for; with 0 only its statistics are measured.
        max_loss: points of accuracy, as for :meth:`adascale_tf.ElasticModel.export`.
        tick: called at every step of the work.
        say: takes a sentence for what was left out of the data, and for steps of recipes that do nothing.

    Returns:
        The bundle.

    Raises:
        BadInput: the checkpoint is none or is not finished, the data is not what it was trained on, or ``steps`` is
            negative.
        AdaScaleError: no branch can be written.
    """
    if steps < 0:
        raise BadInput(f"The number of steps is {steps}; give 0 or more.")
    bundle.check_target(Path(out))
    wanted = parsed(recipes)
    state, network, dataset = open_checkpoint(Path(checkpoint), data, tick, say)
    from adascale_tf.verbs import expectation
    from adascale_tf.verbs.checks import idle_steps
    from adascale_tf.verbs.export import write_bundle

    evolved = derive(network, wanted, dataset, tick, steps, schedule=state.schedule)
    for sentence in idle_steps(evolved):
        say(sentence)
    facts = expectation.facts(expectation.expect(evolved, network, dataset, tick))
    written = write_bundle(
        evolved, dataset, state.schedule, Path(out), tick, given=state.given, max_loss=max_loss, facts=facts
    )
    return Built(written, Path(checkpoint))


def derive(
    network: ElasticNetwork,
    recipes: Sequence[Recipe],
    dataset: Dataset,
    tick: Tick = silent,
    steps: int = 0,
    *,
    schedule: Schedule | None = None,
) -> ElasticNetwork:
    """The network with other branches: trained structures as they are, new ones ready to answer.

    Args:
        network: a trained network; it stays as it is.
        recipes: the other branches.
        dataset: its training split is what new structures see.
        tick: called with "train" at every step, with "BatchNorm" for every new structure.
        steps: batches that each new structure trains for, with weights of its own, on the full trunk's answers, if that
            is better on the validation split; with 0 its weights are the fork's, and its statistics are measured.
        schedule: strength, batch and seed of these steps; by default those of a new training.
    """
    from adascale_tf import operators
    from adascale_tf.training import Schedule, own_exits, recalibrate, specialise
    from adascale_tf.verbs.expectation import Measured

    evolved = network.evolved(recipes)
    trained = {*network.trunks, *network.own}
    new = dict.fromkeys(map(evolved.trunk, recipes))
    recalibrate([trunk for trunk in new if trunk not in trained], dataset, tick=tick)
    if steps > 0:
        # A trained structure that is asked for another exit keeps its trained ones: no steps would replace them.
        kept = {*own_exits(network, network.recipes), *network.own_exits}
        alone = [r for r in recipes if own_exits(evolved, [r]) and operators.trunk(r) not in kept]
        before = {recipe: evolved.trunk(recipe) for recipe in alone}
        specialise(evolved, alone, dataset, schedule or Schedule(), tick, steps=steps)
        measured = Measured(dataset)
        for structure in dict.fromkeys(map(operators.trunk, alone)):
            gains = [
                measured.accuracy(evolved.trunk(recipe), evolved.exit(recipe))
                - measured.accuracy(old, evolved.exit(recipe))
                for recipe, old in before.items()
                if operators.trunk(recipe) == structure
            ]
            if sum(gains) < 0:  # a few steps can harm a branch that has little to learn, such as a pruned one
                evolved.attach(structure)
    return evolved


def open_checkpoint(
    checkpoint: Path, data: Any, tick: Tick = silent, say: Say = unsaid
) -> tuple[TrainingState, ElasticNetwork, Dataset]:
    """A finished training, with its data.

    Raises:
        BadInput: it is no finished training, or the data has other classes or shapes.
    """
    from adascale_tf.bridge.quietly import import_tensorflow
    from adascale_tf.data.validation import hold_out
    from adascale_tf.verbs import inputs

    import_tensorflow()
    from adascale_tf.training import checkpoint as checkpoints

    state = checkpoints.read_state(checkpoint)
    dataset = hold_out(inputs.load(data, state.preprocessing, tick=tick, say=say))
    named = data if isinstance(data, (str, Path)) else "The data"
    if dataset.labels != state.labels:
        raise BadInput(f"{named} has other classes than the data that {checkpoint} was trained on ({state.data}).")
    _, network = checkpoints.load(checkpoint)
    shape = tuple(network.backbone.input_shape[1:])
    if dataset.input_shape != shape:
        raise BadInput(
            f"{named} has examples of the shape {dataset.input_shape}, but {checkpoint} was trained on {shape}."
        )
    return state, network, dataset
