"""What a checkpoint keeps of branches that were specialised after its training: a record, and a file of weights.

The training's own file is not written again: whatever happens meanwhile, the finished training stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import tensorflow as tf

from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import finite
from adascale_tf.training.arrays import read_arrays, write_arrays


@dataclass(frozen=True)
class Later:
    """Branches that were given weights of their own after the training."""

    recipes: tuple[str, ...]
    #: How long they train.
    epochs: float
    #: A short name of the examples that they train on.
    digest: str
    #: Their structures, each with the numbers of the exits that train.
    own: dict[str, tuple[int, ...]]
    #: Epochs done; one more when the statistics are measured too.
    epochs_done: int = 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and the statistics measured."""
        return self.epochs_done > ceil(self.epochs)

    @property
    def file(self) -> str:
        """The name of the file that holds its weights after these epochs; no other one's file has it."""
        settings = hashlib.sha256(repr((self.recipes, float(self.epochs), self.digest)).encode()).hexdigest()
        return f"later-{settings[:8]}-{self.epochs_done}.npz"


def own_variables(network: ElasticNetwork, structures: Iterable[str]) -> dict[str, tf.Variable]:
    """The state of some trunks with weights of their own, by name."""
    beginnings = tuple(f"own/{structure}/" for structure in structures)
    return {name: variable for name, variable in network.state.items() if name.startswith(beginnings)}


def read_own(
    network: ElasticNetwork, structures: Iterable[str], path: Path, optimizer: Sequence[tf.Variable] = (),
    advice: str = "",
) -> None:  # fmt: skip
    """Take up some trunks with weights of their own from a file, and the optimizer if there is one."""
    variables = {**own_variables(network, structures), **numbered(optimizer)}
    values = read_arrays(path, {name: variable.numpy() for name, variable in variables.items()}, advice)
    for name, variable in variables.items():
        variable.assign(values[name])
    network.choose(1.0)


def write_own(
    network: ElasticNetwork, structures: Iterable[str], path: Path, optimizer: Sequence[tf.Variable] = ()
) -> None:
    """Write some trunks with weights of their own, and the optimizer if there is one.

    Raises:
        AdaScaleError: a value is not finite.
    """
    variables = {**own_variables(network, structures), **numbered(optimizer)}
    arrays = {name: variable.numpy() for name, variable in variables.items()}
    finite.check(arrays)
    write_arrays(path, arrays)


def numbered(optimizer: Sequence[tf.Variable]) -> dict[str, tf.Variable]:
    """An optimizer's variables by name."""
    return {f"optimizer/{i}": variable for i, variable in enumerate(optimizer)}
