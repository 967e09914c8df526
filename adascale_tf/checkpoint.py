"""Checkpoints: an elastic network with its training, so that a killed run goes on at its last whole epoch.

A folder with ``checkpoint.json`` (what is trained, how far), ``backbone.keras`` (the layers) and ``epoch-N.npz`` (the
weights, statistics and optimizer after epoch N; only the newest is kept). A finished one is also where
``adascale search`` and ``adascale evolve`` derive new branches from.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from adascale_tf import codec
from adascale_tf.data import Dataset
from adascale_tf.errors import BadInput
from adascale_tf.network import ElasticNetwork
from adascale_tf.recipe import parse
from adascale_tf.training.cluster import Cluster, alone
from adascale_tf.training.schedule import Schedule

FORMAT = "adascale-checkpoint/1"
_STATE = "checkpoint.json"


@dataclass(frozen=True)
class State:
    """What ``checkpoint.json`` holds: the settings of a training, and how many of its epochs are done."""

    format: str
    backbone: str
    recipes: tuple[str, ...]
    data: str
    digest: str
    preprocessing: dict[str, Any]
    labels: tuple[str, ...]
    schedule: dict[str, Any]
    epochs_done: int

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and the statistics measured."""
        return self.epochs_done > int(self.schedule["epochs"])

    @property
    def settings(self) -> tuple[Any, ...]:
        """What must be equal for a training to go on."""
        return (self.backbone, self.recipes, self.digest, codec.to_json(self.schedule))


class Checkpoint:
    """A training's place on disk. Each :meth:`save` replaces the one before, whole or not at all.

    Of several workers the chief alone reads and writes; the others learn from it where the training stands.
    """

    def __init__(self, folder: Path, network: ElasticNetwork, data: Dataset, schedule: Schedule) -> None:
        self.folder = folder
        self._network = network
        self._backbone = network.backbone
        self._cluster = alone()
        self._state = State(
            FORMAT,
            network.backbone.name,
            tuple(str(recipe) for recipe in network.recipes),
            data.name,
            _digest(network, data),
            dict(data.preprocessing),
            data.labels,
            asdict(schedule),
            0,
        )

    def at(self, network: ElasticNetwork, cluster: Cluster) -> Checkpoint:
        """The same place for a copy of the network, on the workers of a cluster.

        What all workers compute together (reading statistics is a collective operation) they must do in the same order.
        """
        found = copy.copy(self)
        found._network, found._cluster = network, cluster
        return found

    @property
    def finished(self) -> bool:
        """Whether the training in this folder is of the same settings and done, its statistics measured."""
        state = read_state(self.folder)
        return state.finished and state.settings == self._state.settings

    def begin(self, optimizer: list[tf.Variable]) -> int:
        """Take up the training in this folder, if there is one of the same settings; gives the epochs done.

        :class:`BadInput` if the folder holds something else (it is never overwritten), or if this worker trains
        something else than the chief.
        """
        variables = _variables(self._network, optimizer)
        values = {name: variable.numpy() for name, variable in variables.items()}
        settings = int(hashlib.sha256(repr(self._state.settings).encode()).hexdigest()[:12], 16)
        done = self._find() if self._cluster.chief else 0
        if done:
            values = _read(self.folder, values)
        agreed = self._cluster.agree([np.array([done, settings]), *values.values()])
        if agreed[0][1] != settings:
            raise BadInput(
                "This worker was given other data or settings than the chief; give the same command to all workers."
            )
        for variable, value in zip(variables.values(), agreed[1:], strict=True):
            variable.assign(value)
        return int(agreed[0][0])

    def _find(self) -> int:
        """How many epochs the training in the folder has done; a new one begins if it is empty."""
        if (self.folder / _STATE).is_file():
            state = read_state(self.folder)
            if state.settings != self._state.settings:
                raise BadInput(
                    f"{self.folder} holds the training of another network or of other settings; delete it, or choose "
                    "another place with --checkpoint."
                )
            return state.epochs_done
        if self.folder.exists() and any(self.folder.iterdir()):
            raise BadInput(f"{self.folder} holds other files; choose another place with --checkpoint.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._backbone.save(self.folder / "backbone.keras")
        codec.write_text(self.folder / _STATE, codec.dump(self._state))
        return 0

    def save(self, epochs_done: int, optimizer: list[tf.Variable]) -> None:
        """Write the state after an epoch; ``epochs + 1`` stands for the measured statistics at the end."""
        # Every worker reads, since statistics are a mean over all of them.
        arrays = {name: variable.numpy() for name, variable in _variables(self._network, optimizer).items()}
        if not self._cluster.chief:
            return
        target = self.folder / f"epoch-{epochs_done}.npz"
        temporary = target.with_suffix(".partial.npz")
        np.savez(temporary, **arrays)
        temporary.replace(target)
        state = State(**{**vars(self._state), "epochs_done": epochs_done})
        codec.write_text(self.folder / _STATE, codec.dump(state))
        for old in self.folder.glob("epoch-*.npz"):
            if old != target:
                old.unlink()


def read_state(folder: Path) -> State:
    """What a checkpoint folder says of itself; :class:`BadInput` if it is none."""
    if not (folder / _STATE).is_file():
        raise BadInput(f"{folder} is not a checkpoint: it has no {_STATE}; give the folder that 'adascale build' kept.")
    found = codec.read_json(folder / _STATE)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BadInput(f"{folder / _STATE} is not of format {FORMAT}; build it again.")
    return codec.from_json(State, found, str(folder / _STATE))


def _read(folder: Path, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The newest saved values of the names in ``like``, of the same shapes."""
    path = folder / f"epoch-{read_state(folder).epochs_done}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name].reshape(value.shape) for name, value in like.items()}
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); delete {folder} and train again.") from None


def load(folder: Path) -> tuple[State, ElasticNetwork]:
    """The elastic network of a finished training, its statistics and choices as they were at the end."""
    state = read_state(folder)
    if not state.finished:
        raise BadInput(
            f"{folder} holds {state.epochs_done} of {state.schedule['epochs']} epochs; run the same 'adascale build' "
            "again to finish it."
        )
    backbone = tf_keras.models.load_model(folder / "backbone.keras", compile=False)
    network = ElasticNetwork(backbone, [parse(text) for text in state.recipes])
    network.take(_read(folder, network.values))
    network.choose(1.0)
    return state, network


def _variables(network: ElasticNetwork, optimizer: list[tf.Variable]) -> Mapping[str, tf.Variable]:
    return {**network.state, **{f"optimizer/{i}": variable for i, variable in enumerate(optimizer)}}


def _digest(network: ElasticNetwork, data: Dataset) -> str:
    """A short name of the layers and the examples."""
    found = hashlib.sha256(network.backbone.to_json().encode())
    for array in (data.x_train, data.y_train):
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array[:: max(1, len(array) // 256)]).tobytes())
    return found.hexdigest()[:16]
