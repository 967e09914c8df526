"""Checkpoints: an elastic network and its training state, from which a killed run resumes after its last full epoch.

A folder with ``checkpoint.json`` (the layers, what is trained, how far) and ``epoch-N.npz`` (the weights, statistics
and optimizer after epoch N; only the newest is kept). Nothing in it is code, and no Keras object is loaded from it. A
finished one is also where ``adascale search`` and ``adascale evolve`` derive new branches from. Branches that were
specialised later stand in files of their own, ``later-*.npz``: the training's own file is not written again.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec, disk
from adascale_runtime.seams.manifest import Accuracy
from adascale_runtime.seams.recipe import Recipe, parse
from adascale_runtime.text import excerpt
from adascale_tf.bridge.functional import build_model, limited
from adascale_tf.data import Dataset
from adascale_tf.graph import graph_file
from adascale_tf.graph.nodes import Graph
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import finite
from adascale_tf.training.arrays import read_arrays, write_arrays
from adascale_tf.training.later import Later, numbered, read_own
from adascale_tf.training.schedule import Schedule
from adascale_tf.training.workers import Workers, alone

FORMAT = "adascale-checkpoint/3"
#: Formats of older versions: the first could contain code, the second has no fork and no trunks of their own.
_FORMER = ("adascale-checkpoint/1", "adascale-checkpoint/2")
STATE = "checkpoint.json"
#: What a killed or failed write leaves behind, and the layers that older versions began with.
_BEGINNINGS = re.compile(r"\.(checkpoint\.json|(epoch|later-[0-9a-f]+)-\d+\.npz)\..*|backbone\.keras")


@dataclass(frozen=True)
class TrainingState:
    """What ``checkpoint.json`` holds: the settings of a training, and how many of its epochs are done."""

    format: str
    #: The backbone's name.
    backbone: str
    recipes: tuple[str, ...]
    #: The data's name.
    data: str
    #: A short name of the layers and the examples.
    digest: str
    preprocessing: dict[str, Any]
    labels: tuple[str, ...]
    schedule: Schedule
    #: Of all phases, begun ones included; one more when the statistics are measured too.
    epochs_done: int
    #: The backbone's layers.
    graph: Graph
    #: The accuracy of the model that the training began with; None for fresh weights.
    given: Accuracy | None = None
    #: The structures with weights of their own, each with the numbers of their exits.
    own: dict[str, tuple[int, ...]] = field(default_factory=dict)
    #: What was specialised since; only the last one may be unfinished.
    later: tuple[Later, ...] = ()

    @property
    def added(self) -> tuple[Recipe, ...]:
        """The recipes that were specialised since."""
        return tuple(parse(text) for later in self.later if later.finished for text in later.recipes)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and the statistics measured."""
        return self.epochs_done > self.schedule.total

    @property
    def settings(self) -> tuple[Any, ...]:
        """What must be equal for a training to go on."""
        return (self.backbone, self.recipes, self.digest, codec.to_json(self.schedule))


class Checkpoint:
    """A training's place on disk. Each :meth:`save` replaces the one before, whole or not at all.

    Of several workers the chief alone reads and writes; the others learn from it where the training stands.

    Args:
        folder: where it is kept; new, empty, or a training of the same settings.
        network: what is trained.
        data: what it is trained on.
        schedule: how it is trained.
        given: the accuracy of the model that the network was made from.
    """

    def __init__(
        self, folder: Path, network: ElasticNetwork, data: Dataset, schedule: Schedule, given: Accuracy | None = None
    ) -> None:
        self.folder = folder
        self._network = network
        self._cluster = alone()
        graph = graph_file.plain(network.whole.graph, str(folder))
        self._state = TrainingState(
            FORMAT,
            network.backbone.name,
            tuple(str(recipe) for recipe in network.recipes),
            data.name,
            digest(graph, data),
            dict(data.preprocessing),
            data.labels,
            schedule,
            0,
            graph,
            given,
        )

    def at(self, network: ElasticNetwork, cluster: Workers) -> Checkpoint:
        """The same place for a copy of the network, on the workers of a cluster.

        What all workers compute together (reading statistics is a collective operation) they must do in the same order.
        """
        copied = copy.copy(self)
        copied._network, copied._cluster = network, cluster
        return copied

    @property
    def finished(self) -> bool:
        """Whether the training in this folder is of the same settings and done, its statistics measured."""
        state = read_state(self.folder)
        return state.finished and state.settings == self._state.settings

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other trainings of this machine out of the folder during the block."""
        with held(self.folder):
            yield

    def begin(self) -> int:
        """How many epochs the training in this folder has done; 0 if none is there, and a new one begins.

        :class:`BadInput` if the folder holds something else (it is never overwritten), or if this worker trains
        something else than the chief.
        """
        settings = int(hashlib.sha256(repr(self._state.settings).encode()).hexdigest()[:12], 16)
        done = self._find() if self._cluster.chief else 0
        (agreed,) = self._cluster.agree([np.array([done, settings])])
        if agreed[1] != settings:
            raise BadInput(
                "This worker was given other data or settings than the chief; run the same command on all workers."
            )
        return int(agreed[0])

    def read(self, epochs_done: int, optimizer: list[tf.Variable]) -> None:
        """Take up the state after so many epochs: the network, with the trunks that it has by then, the optimizer."""
        variables = _variables(self._network, optimizer)
        values = {name: variable.numpy() for name, variable in variables.items()}
        if self._cluster.chief:
            values = read_arrays(self.folder / f"epoch-{epochs_done}.npz", values)
        for variable, value in zip(variables.values(), self._cluster.agree(list(values.values())), strict=True):
            variable.assign(value)
        self._network.choose(1.0)  # among the weights that were read: the next phase may begin with what is chosen

    def _find(self) -> int:
        """How many epochs the training in the folder has done; a new one begins if it is empty."""
        if (self.folder / STATE).is_file():
            state = read_state(self.folder)
            if state.settings != self._state.settings:
                raise BadInput(
                    f"{self.folder} holds the training of another network or of other settings; delete it, or choose "
                    "another place with --checkpoint."
                )
            return state.epochs_done
        with disk.writing(self.folder):
            others = list(self.folder.iterdir()) if self.folder.exists() else []
        if any(not _BEGINNINGS.fullmatch(path.name) for path in others):
            raise BadInput(f"{self.folder} holds other files; choose another place with --checkpoint.")
        self._write(0)
        return 0

    def _write(self, epochs_done: int) -> None:
        with disk.writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        own = {str(structure): exits for structure, exits in self._network.own_exits.items()}
        codec.write_text(self.folder / STATE, codec.dump(replace(self._state, epochs_done=epochs_done, own=own)))

    def save(self, epochs_done: int, optimizer: list[tf.Variable]) -> None:
        """Write the state after so many epochs of all phases; one more stands for the statistics at the end.

        Raises:
            AdaScaleError: a value is not finite; the state before it stays.
        """
        # Every worker reads, since statistics are a mean over all of them.
        arrays = {name: variable.numpy() for name, variable in _variables(self._network, optimizer).items()}
        finite.check(arrays)
        if not self._cluster.chief:
            return
        target = self.folder / f"epoch-{epochs_done}.npz"
        write_arrays(target, arrays)
        self._write(epochs_done)
        with disk.writing(self.folder):
            for old in self.folder.glob("epoch-*.npz"):
                if old != target:
                    old.unlink()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other trainings of this machine out of a checkpoint's folder during the block."""
    with disk.locked(folder / STATE, "written"):
        yield


def sweep(folder: Path) -> None:
    """Remove what killed or failed writes left behind."""
    with disk.writing(folder):
        for path in folder.iterdir():
            if path.name.startswith(".") and _BEGINNINGS.fullmatch(path.name) and path.suffix != ".lock":
                path.unlink(missing_ok=True)


def read_state(folder: Path) -> TrainingState:
    """What a checkpoint folder says of itself; :class:`BadInput` if it is none."""
    path = folder / STATE
    if not path.is_file():
        raise BadInput(f"{folder} is not a checkpoint: it has no {STATE}; give the folder that 'adascale build' kept.")
    raw = codec.read_json(path)
    name = raw.get("format") if isinstance(raw, dict) else None
    if name in _FORMER:
        raise BadInput(
            f"{folder} was written by an older version in a format that is no longer read; delete it and build again."
        )
    if name != FORMAT:
        raise BadInput(f"{path} is not of format {FORMAT}; build it again.")
    schedule = raw.get("schedule")
    missing = {field.name for field in fields(Schedule)} - set(schedule if isinstance(schedule, dict) else ())
    if missing:
        raise BadInput(f"{path} has no {', '.join(sorted(missing))} in its schedule; build it again.")
    state = codec.from_json(TrainingState, raw, str(path))
    graph_file.check(state.graph, str(path))
    if not 0 <= state.epochs_done <= state.schedule.total + 1:
        raise BadInput(f"{path} counts {state.epochs_done} of {state.schedule.total} epochs; build it again.")
    if state.given is not None and not (0 <= state.given.value <= 1 and state.given.samples > 0):
        raise BadInput(f"{path} has an impossible accuracy for the initial model; build it again.")
    for number, later in enumerate(state.later):
        whole = state.finished and (later.finished or number == len(state.later) - 1)
        if not (whole and 0 < later.epochs < 1e6 and 0 <= later.epochs_done <= ceil(later.epochs) + 1):
            raise BadInput(f"{path} counts {later.epochs_done} of {later.epochs:g} later epochs; build it again.")
    for text in (*state.recipes, *state.own, *(t for later in state.later for t in (*later.recipes, *later.own))):
        parse(text)
    detached = [*state.own.values(), *(exits for later in state.later for exits in later.own.values())]
    if not all(exits and all(1 <= number <= len(state.graph.outputs) for number in exits) for exits in detached):
        raise BadInput(f"{path} names exits that its network does not have; build it again.")
    return state


def load(folder: Path) -> tuple[TrainingState, ElasticNetwork]:
    """The elastic network of a finished training, its statistics and choices as they were at the end.

    Its recipes are those that it was built for, and those that were specialised since.
    """
    state = read_state(folder)
    if not state.finished:
        raise BadInput(
            f"{folder} holds {state.epochs_done} of {state.schedule.total} epochs; run the same 'adascale build' "
            "again to finish it."
        )
    with _building(folder):
        backbone = build_model(state.graph, state.backbone)
        network = ElasticNetwork(backbone, [parse(text) for text in state.recipes])
        for structure, exits in state.own.items():
            network.detach(parse(structure), exits)
    network.take(read_arrays(folder / f"epoch-{state.epochs_done}.npz", network.values))
    network.choose(1.0)
    for later in state.later:
        if later.finished:
            with _building(folder):
                network = network.evolved(dict.fromkeys((*network.recipes, *map(parse, later.recipes))))
                for structure, exits in later.own.items():
                    network.detach(parse(structure), exits)
            read_own(network, later.own, folder / later.file)
    return state, network


@contextmanager
def _building(folder: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a network is built from a checkpoint into a sentence."""
    try:
        with limited(str(folder / STATE)):
            yield
    except BadInput:
        raise
    except Exception as error:  # layers raise whatever a setting makes them raise
        reason = excerpt(str(error) or type(error).__name__, 160)
        raise BadInput(f"{folder / STATE} holds a network that cannot be built ({reason}); build it again.") from None


def _variables(network: ElasticNetwork, optimizer: Sequence[tf.Variable]) -> Mapping[str, tf.Variable]:
    return {**network.state, **numbered(optimizer)}


def digest(graph: Graph, data: Dataset) -> str:
    """A short name of the layers and the examples."""
    made = hashlib.sha256(codec.dump(graph).encode())
    for array in (data.x_train, data.y_train):
        made.update(str(array.shape).encode())
        made.update(np.ascontiguousarray(array[:: max(1, len(array) // 256)]).tobytes())
    return made.hexdigest()[:16]
