"""``search``: the branches that offer most accuracy for what they cost on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle, losses, predictors
from adascale_runtime.seams.recipe import parse
from adascale_tf.verbs import targets as targeting
from adascale_tf.verbs.costs import known_costs
from adascale_tf.verbs.evolve import STEPS, derive, open_checkpoint
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_tf.network.front import Candidate, Objective


@dataclass(frozen=True)
class Searched:
    """What a search found."""

    #: The best branches, by their first cost: recipe, accuracy in [0, 1] with its interval, and costs.
    chosen: tuple[Candidate, ...]
    #: How many recipes were looked at.
    seen: int
    #: What was kept small, as it was asked for.
    objectives: tuple[Objective, ...]
    #: The part of the data that accuracy was measured on.
    split: str
    #: The chosen branches as a bundle; None if none was asked for.
    written: bundle.Bundle | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know before using the bundle; a sentence each."""
        return () if self.written is None else tuple(losses.remarks(self.written.manifest))


def search(
    source: str | Path | bundle.Bundle,
    fitted: str | Path | predictors.Predictors | None = None,
    *,
    data: Any = None,
    objectives: str | Sequence[str] = "latency",
    branches: int = 8,
    trials: int = 40,
    steps: int = STEPS,
    device_name: str | None = None,
    delegate: str = "cpu",
    threads: int = 1,
    seed: int = 0,
    targets: str | Sequence[str] = (),
    out: str | Path | None = None,
    tick: Tick = silent,
    say: Say = unsaid,
) -> Searched:
    """Choose the branches that offer most accuracy for what they cost on a device.

    From a bundle, the best of its branches. From a checkpoint, an evolutionary search over recipes: each is derived
    from the trained network, its accuracy measured on the validation split with the file that would ship, its costs
    predicted. A model of those that are known chooses which recipe is evaluated next. A precision that needs training
    is judged as it is before that; it is tried only where the checkpoint's recipes name it.

    Args:
        source: a bundle, or a checkpoint that :func:`adascale_tf.build` kept.
        fitted: what things cost on the device: predictors, or their file; not needed if size is the only objective.
        data: the data of a checkpoint, as a SPEC or in memory.
        objectives: what should be small: ``latency``, ``energy``, ``memory``, ``size``, as a list or a text with
            commas.
        branches: how many to choose.
        trials: new recipes to try.
        steps: batches that each new structure trains for before it is judged, as for :func:`adascale_tf.evolve`.
        device_name: which device, if the predictors are of several: its name, serial, model or processor.
        delegate: the delegate that costs are predicted for.
        threads: the number of threads that costs are predicted for.
        seed: of the recipes that are tried.
        targets: delegates that must take all of every branch that is chosen, known from its file.
        out: write the chosen branches of a checkpoint as a bundle.
        tick: called with "search" for each recipe.
        say: takes a sentence for what was left out.

    Raises:
        BadInput: the predictors do not know an objective for this cell, or the source lacks what the search needs.
    """
    from adascale_tf.network import front
    from adascale_tf.network import search as searching

    if steps < 0:
        raise BadInput(f"The number of steps is {steps}; give 0 or more.")
    wanted = targeting.named(targets)
    costs = known_costs(objectives, fitted, device_name, delegate, threads)
    opened = _bundle(source)
    if opened is not None:
        if out is not None:
            raise BadInput("--out needs a CHECKPOINT to build from; a BUNDLE's branches exist already.")
        known = [
            front.Candidate(parse(b.recipe), b.accuracy.value, costs.of(b), b.accuracy.interval)
            for b in opened.manifest.branches
            if not wanted or targeting.sound(opened.path(b.file).read_bytes(), b.signature, wanted)
        ]
        if not known:
            raise BadInput(f"No branch of the bundle is one that {' and '.join(wanted)} takes all of; build others.")
        split = opened.manifest.branches[0].accuracy.split
        return Searched(tuple(front.choose(known, branches)), len(known), costs.objectives, split)
    if data is None:
        raise BadInput("A search from a CHECKPOINT measures accuracy; name its data with --data.")
    if out is not None:
        bundle.check_target(Path(out))
    assert not isinstance(source, bundle.Bundle)
    state, network, dataset = open_checkpoint(Path(source), data, tick, say)
    from adascale_tf.verbs.judging import Judge

    with Judge(network, dataset, costs, state.schedule, steps, say, targets=wanted) as judge:
        known = searching.search(network.whole, judge, network.recipes, trials, seed, tick)
    chosen = front.choose(known, branches)
    written = None
    if out is not None and chosen:
        from adascale_tf.verbs import expectation
        from adascale_tf.verbs.export import write_bundle

        evolved = derive(network, [c.recipe for c in chosen], dataset, tick, steps, schedule=state.schedule)
        facts = expectation.facts(expectation.expect(evolved, network, dataset, tick))
        written = write_bundle(
            evolved, dataset, state.schedule, Path(out), tick, given=state.given, facts=facts, targets=wanted
        )
    split = "validation" if len(dataset.y_val) else "train"
    return Searched(tuple(chosen), len(known), costs.objectives, split, written)


def _bundle(source: str | Path | bundle.Bundle) -> bundle.Bundle | None:
    """The bundle that a source is, None for anything else."""
    if isinstance(source, bundle.Bundle):
        return source
    path = Path(source)
    return bundle.load(path) if (path / bundle.MANIFEST).is_file() or path.suffix == ".zip" else None
