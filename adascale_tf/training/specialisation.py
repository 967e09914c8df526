"""A later specialisation's place on disk: it goes on after its last whole epoch, and the finished training stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from adascale_runtime.files import codec, disk
from adascale_runtime.seams.recipe import Recipe
from adascale_tf import operators
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import checkpoint
from adascale_tf.training.later import Later, read_own, write_own


class Specialisation:
    """What a checkpoint keeps while some branches get weights of their own, and afterwards.

    It is found again by its recipes, epochs and examples. Another one that is not finished gives way to it at its first
    epoch. Whoever makes one holds the folder (:func:`~adascale_tf.training.checkpoint.held`).

    Args:
        folder: the checkpoint of a finished training.
        network: what :func:`~adascale_tf.training.checkpoint.load` gave.
        recipes: all whose structures train.
        epochs: how long.
        data: the examples.
    """

    def __init__(
        self, folder: Path, network: ElasticNetwork, recipes: Sequence[Recipe], epochs: float, data: Dataset
    ) -> None:
        self.folder = folder
        self._network = network
        state = checkpoint.read_state(folder)
        self._first = state.schedule.total
        self._finished = tuple(later for later in state.later if later.finished)
        texts = tuple(str(recipe) for recipe in recipes)
        self._later = Later(texts, epochs, checkpoint.digest(state.graph, data), {})
        self._structures = dict.fromkeys(operators.trunk(recipe) for recipe in recipes)
        #: An unfinished specialisation of other recipes, epochs or examples, which this one replaces.
        self.other: Later | None = None
        for later in state.later[len(self._finished) :]:
            if replace(later, own={}, epochs_done=0) != self._later:
                self.other = later
            elif (folder / later.file).is_file():
                self._later = later

    @property
    def begun(self) -> int:
        """How many epochs are done."""
        return self._later.epochs_done

    def read(self, optimizer: list[tf.Variable]) -> None:
        """Take up the state after the epochs that are done."""
        path = self.folder / self._later.file
        advice = f"delete {path.name}, and this specialisation begins anew"
        read_own(self._network, self._later.own, path, optimizer, advice)

    def save(self, epochs_done: int, optimizer: list[tf.Variable]) -> None:
        """Write the state after so many epochs, the training's included; one more stands for the statistics at the end.

        Raises:
            AdaScaleError: a value is not finite; the state before it stays.
        """
        epochs_done -= self._first
        state = checkpoint.read_state(self.folder)
        known = self._network.own_exits
        own = {str(structure): known[structure] for structure in self._structures if structure in known}
        checkpoint.sweep(self.folder)
        saved = replace(self._later, own=own, epochs_done=epochs_done)
        write_own(self._network, own, self.folder / saved.file, optimizer)
        self._later = saved
        grown = replace(state, later=(*self._finished, saved))
        codec.write_text(self.folder / checkpoint.STATE, codec.dump(grown))
        with disk.writing(self.folder):
            for path in self.folder.glob("later-*.npz"):
                if path.name not in {later.file for later in grown.later}:
                    path.unlink()
