"""What branches cost, in the objectives that a person asks for: predicted for a device, or known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adascale_runtime.errors import BadInput
from adascale_runtime.seams import predictors
from adascale_runtime.text import excerpt

if TYPE_CHECKING:
    from adascale_runtime.seams.manifest import Branch
    from adascale_tf.network.front import Objective


@dataclass(frozen=True)
class Costs:
    """The objectives of a search, and what knows a branch's costs in them."""

    #: As they were asked for.
    objectives: tuple[Objective, ...]
    #: The predictors by quantity.
    by_quantity: dict[str, predictors.Predictor]

    @property
    def support(self) -> frozenset[str]:
        """The entries of a branch's support that its costs depend on."""
        return frozenset(name for predictor in self.by_quantity.values() for name in predictor.support)

    def of(self, branch: Branch) -> dict[str, float]:
        """A branch's costs by quantity."""
        return {
            one.quantity: self._predicted(one.quantity, branch) if one.predicted else branch.size_bytes
            for one in self.objectives
        }

    def _predicted(self, quantity: str, branch: Branch) -> float:
        known = self.by_quantity[quantity]
        return known.predict(branch.cost, branch.precision, partitions=known.partitions(branch.support))


def known_costs(
    wanted: str | Sequence[str],
    fitted: str | Path | predictors.Predictors | None,
    device_name: str | None,
    delegate: str,
    threads: int,
) -> Costs:
    """The objectives that are asked for, with a predictor for each that is predicted.

    Args:
        wanted: names of objectives, as a list or a text with commas.
        fitted: predictors or their file, which is read only if an objective is predicted.
        device_name: which device, if the predictors are of several.
        delegate: the delegate that costs are predicted for.
        threads: the number of threads that costs are predicted for.

    Raises:
        BadInput: there is no such objective, or nothing that predicts it.
    """
    objectives = _objectives(wanted)
    predicted = [one for one in objectives if one.predicted]
    if not predicted:
        return Costs(objectives, {})
    if fitted is None:
        raise BadInput(
            f"The {predicted[0].name} of branches is predicted; name the device's predictors with --predictors "
            "('adascale fit' writes them)."
        )
    known = _predictors(fitted, device_name)
    by_quantity = {}
    for one in predicted:
        predictor = known.find(one.quantity, delegate, threads)
        if predictor is None:
            named = fitted if isinstance(fitted, (str, Path)) else "The set of predictors"
            raise BadInput(
                f"{named} predicts no {one.name} for {delegate} with {threads} threads; profile and fit that first."
            )
        by_quantity[one.quantity] = predictor
    return Costs(objectives, by_quantity)


def _objectives(wanted: str | Sequence[str]) -> tuple[Objective, ...]:
    """The objectives that are asked for, each once."""
    from adascale_tf.network.front import OBJECTIVES

    names = wanted.split(",") if isinstance(wanted, str) else wanted
    names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    unknown = [name for name in names if name not in OBJECTIVES]
    if unknown or not names:
        what = f"'{excerpt(unknown[0])}' is no objective" if unknown else "A search needs an objective"
        raise BadInput(f"{what}; choose from {', '.join(OBJECTIVES)}.")
    return tuple(OBJECTIVES[name] for name in names)


def _predictors(fitted: str | Path | predictors.Predictors, device_name: str | None) -> predictors.Predictors:
    if not isinstance(fitted, predictors.Predictors):
        return predictors.choose(Path(fitted), device_name, {})
    return fitted.here({}) if device_name is None else fitted.of(device_name)
