"""Checkpoints: an elastic network and its training state, from which a killed run resumes after its last full epoch.

A folder with ``checkpoint.json`` (the layers, what is trained, how far) and ``epoch-N.npz`` (the weights, statistics
and optimizer after epoch N; only the newest is kept). Nothing in it is code, and no Keras object is loaded from it. A
finished one is also where ``adascale search`` and ``adascale evolve`` derive new branches from.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives, codec, disk
from adascale_runtime.seams.manifest import Accuracy
from adascale_runtime.seams.recipe import parse
from adascale_runtime.text import excerpt
from adascale_tf.bridge.functional import build_model, limited
from adascale_tf.data import Dataset
from adascale_tf.graph import graph_file
from adascale_tf.graph.nodes import Graph
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import finite
from adascale_tf.training.schedule import Schedule
from adascale_tf.training.workers import Workers, alone

FORMAT = "adascale-checkpoint/3"
#: Formats of older versions: the first could contain code, the second has no fork and no trunks of their own.
_FORMER = ("adascale-checkpoint/1", "adascale-checkpoint/2")
_STATE = "checkpoint.json"
#: What a killed or failed write leaves behind, and the layers that older versions began with.
_BEGINNINGS = re.compile(r"\.(checkpoint\.json|epoch-\d+\.npz)\..*|backbone\.keras")


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
    #: The structures with weights of their own, each with the number of its exits.
    own: dict[str, int] = field(default_factory=dict)

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
            _digest(graph, data),
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
        with disk.locked(self.folder / _STATE, "written"):
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
            values = _read(self.folder, epochs_done, values)
        for variable, value in zip(variables.values(), self._cluster.agree(list(values.values())), strict=True):
            variable.assign(value)

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
        with disk.writing(self.folder):
            others = list(self.folder.iterdir()) if self.folder.exists() else []
        if any(not _BEGINNINGS.fullmatch(path.name) for path in others):
            raise BadInput(f"{self.folder} holds other files; choose another place with --checkpoint.")
        self._write(0)
        return 0

    def _write(self, epochs_done: int) -> None:
        with disk.writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.iterdir():
                if path.name.startswith(".") and _BEGINNINGS.fullmatch(path.name) and path.suffix != ".lock":
                    path.unlink(missing_ok=True)
        own = {str(trunk.recipe): trunk.exits for trunk in self._network.own}
        codec.write_text(self.folder / _STATE, codec.dump(replace(self._state, epochs_done=epochs_done, own=own)))

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
        _write_arrays(target, arrays)
        self._write(epochs_done)
        with disk.writing(self.folder):
            for old in self.folder.glob("epoch-*.npz"):
                if old != target:
                    old.unlink()


def read_state(folder: Path) -> TrainingState:
    """What a checkpoint folder says of itself; :class:`BadInput` if it is none."""
    path = folder / _STATE
    if not path.is_file():
        raise BadInput(f"{folder} is not a checkpoint: it has no {_STATE}; give the folder that 'adascale build' kept.")
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
    for text in (*state.recipes, *state.own):
        parse(text)
    if not all(1 <= exits <= len(state.graph.outputs) for exits in state.own.values()):
        raise BadInput(f"{path} names exits that its network does not have; build it again.")
    return state


def load(folder: Path) -> tuple[TrainingState, ElasticNetwork]:
    """The elastic network of a finished training, its statistics and choices as they were at the end."""
    state = read_state(folder)
    if not state.finished:
        raise BadInput(
            f"{folder} holds {state.epochs_done} of {state.schedule.total} epochs; run the same 'adascale build' "
            "again to finish it."
        )
    try:
        with limited(str(folder / _STATE)):
            backbone = build_model(state.graph, state.backbone)
            network = ElasticNetwork(backbone, [parse(text) for text in state.recipes])
            for structure, exits in state.own.items():
                network.detach(parse(structure), exits)
    except BadInput:
        raise
    except Exception as error:  # layers raise whatever a setting makes them raise
        reason = excerpt(str(error) or type(error).__name__, 160)
        raise BadInput(f"{folder / _STATE} holds a network that cannot be built ({reason}); build it again.") from None
    network.take(_read(folder, state.epochs_done, network.values))
    network.choose(1.0)
    return state, network


def _read(folder: Path, epoch: int, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The saved values of the names in ``like``, of the same shapes and types."""
    path = folder / f"epoch-{epoch}.npz"
    if not path.is_file():
        raise BadInput(f"{folder} has no {path.name}, its newest epoch; delete the folder and train again.")
    try:
        with archives.opened(path) as archive:
            names = set(archive.namelist())
            lost = [name for name in like if f"{name}.npy" not in names]
            if lost:
                raise BadInput(f"{path} does not hold '{excerpt(lost[0])}'; copy it again.")
            arrays = {}
            for name, value in like.items():
                with archive.open(f"{name}.npy") as member:
                    content = member.read()
                arrays[name] = _array(content, value, f"{path}: {name}")
            return arrays
    except BadInput as error:
        raise BadInput(f"{str(error).rstrip('.')}, or delete {folder} and train again.") from None


def _array(content: bytes, like: np.ndarray, where: str) -> np.ndarray:
    """One member of a .npz, of the shape and type of ``like``: nothing else is made of it."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, kind = header(stream)
    except (ValueError, TypeError, EOFError) as error:
        raise BadInput(f"{where} is damaged ({excerpt(str(error))}); copy it again.") from None
    if (shape, kind) != (like.shape, like.dtype) or len(content) - stream.tell() != like.nbytes:
        raise BadInput(f"{where} is {kind} {shape}, but the network has {like.dtype} {like.shape}; copy it again.")
    values = np.frombuffer(content, kind, offset=stream.tell()).reshape(shape, order="F" if by_columns else "C")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BadInput(f"{where} holds numbers that are not finite; copy it again.")
    return values


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a whole .npz or nothing, so that it is there even after a power cut."""
    temporary = path.with_name(f".{path.name}.partial")
    with disk.writing(path):
        try:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name
            finally:
                os.close(folder)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _variables(network: ElasticNetwork, optimizer: list[tf.Variable]) -> Mapping[str, tf.Variable]:
    return {**network.state, **{f"optimizer/{i}": variable for i, variable in enumerate(optimizer)}}


def _digest(graph: Graph, data: Dataset) -> str:
    """A short name of the layers and the examples."""
    digest = hashlib.sha256(codec.dump(graph).encode())
    for array in (data.x_train, data.y_train):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array[:: max(1, len(array) // 256)]).tobytes())
    return digest.hexdigest()[:16]
