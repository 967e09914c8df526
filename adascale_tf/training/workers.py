"""The replicas that train one network: this process alone, several devices of a machine, or several machines.

All of it is ``tf.distribute``'s; here is which strategy, who is the chief, and how the workers come to agree.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick, silent

STRATEGIES = ("none", "mirrored", "multi-worker")
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Role:
    """This process among the workers: its ``index`` in the chief's order, their ``addresses``."""

    index: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Workers:
    """A strategy, and this process's place among its workers; worker 0 is the chief, who alone writes files."""

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1

    @property
    def replicas(self) -> int:
        """Replicas of all workers."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def places(self) -> range:
        """The numbers of this worker's replicas among all."""
        local = self.replicas // self.workers
        return range(self.worker * local, (self.worker + 1) * local)

    @property
    def chief(self) -> bool:
        return self.worker == 0

    @property
    def alone(self) -> bool:
        """Whether nothing is distributed."""
        return not tf.distribute.has_strategy() and self.strategy is tf.distribute.get_strategy()

    def agree(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The chief's values on every worker; the others give arrays of the same shapes and types."""
        if self.workers == 1:
            return list(values)
        flat = np.concatenate([np.ravel(value).astype(np.float64) for value in values])
        mine = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(flat * (context.replica_id_in_sync_group == 0))
        )
        agreed = self.strategy.reduce(tf.distribute.ReduceOp.SUM, mine, axis=None).numpy()
        ends = np.cumsum([value.size for value in values])[:-1]
        return [
            part.reshape(value.shape).astype(value.dtype)
            for part, value in zip(np.split(agreed, ends), values, strict=True)
        ]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While this lasts, the loss of another worker is one sentence (:class:`AdaScaleError`)."""
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
            if self.workers == 1:
                raise
            raise AdaScaleError(
                "Another worker of this training is gone; start all workers again with the same commands to resume "
                "after the last epoch that the chief saved."
            ) from error


def alone() -> Workers:
    """This process, without a strategy."""
    return Workers(tf.distribute.get_strategy())


def open_workers(
    name: str, replicas: int | None = None, environment: Mapping[str, str] = os.environ, tick: Tick = silent
) -> Workers:
    """The workers of a strategy's name; to be opened before any other use of TensorFlow in this process.

    Args:
        name: "none"; "mirrored", all GPUs of this machine; "multi-worker", what TF_CONFIG says.
        replicas: with "mirrored" the number of GPUs; without GPUs, of parts of the CPU, one by default.
        environment: where TF_CONFIG stands.
        tick: called with "wait for workers".

    Raises:
        BadInput: the devices or TF_CONFIG do not allow it.
        AdaScaleError: the workers could not meet, or TensorFlow runs already.
    """
    if name not in STRATEGIES:
        raise BadInput(f"Unknown strategy '{name}'; use {', '.join(STRATEGIES)}.")
    if replicas is not None and name != "mirrored":
        raise BadInput("A number of replicas needs the strategy 'mirrored'; remove the number or choose that strategy.")
    if name == "none":
        return alone()
    if name == "mirrored":
        return Workers(tf.distribute.MirroredStrategy(_devices(replicas)))
    task = parse_task(environment.get("TF_CONFIG"))
    others = len(task.addresses) - 1
    tick("wait for workers", 0, 1, f"{others} other(s) of {', '.join(task.addresses)}")
    try:
        with _interruptible():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise AdaScaleError(
            f"The workers of TF_CONFIG could not connect ({str(error).splitlines()[0][:120]}); start all within an "
            "hour, each on the machine and the free port that its address names."
        ) from None
    tick("wait for workers", 1, 1, "")
    return Workers(strategy, task.index, len(task.addresses))


@contextmanager
def _interruptible() -> Iterator[None]:
    """While TensorFlow waits in native code, where Python hears no Ctrl-C, let the system end the process: nothing is
    lost yet."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def parse_task(text: str | None) -> Role:
    """Read TF_CONFIG; :class:`BadInput` says what is wrong with it."""
    try:
        said = json.loads(text or "")
        cluster, task = said["cluster"], said["task"]
        kind, index = task["type"], task["index"]
        order = [("chief", i, a) for i, a in enumerate(cluster.get("chief", []))]
        order += [("worker", i, a) for i, a in enumerate(cluster.get("worker", []))]
        addresses = tuple(str(address) for _, _, address in order)
        return Role([(k, i) for k, i, _ in order].index((kind, index)), addresses)
    except (ValueError, KeyError, TypeError, AttributeError):
        state = "is not set" if not text else f"does not say which worker this is: {text[:80]}"
        raise BadInput(
            f"The environment variable TF_CONFIG {state}; for two workers give the first one {_EXAMPLE}, and the other "
            "the same with index 1."
        ) from None


def _devices(replicas: int | None) -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if replicas is not None and replicas > len(gpus):
            raise BadInput(f"This machine has {len(gpus)} GPU(s), fewer than {replicas} replicas; ask for fewer.")
        return [f"GPU:{number}" for number in range(replicas or len(gpus))]
    count = replicas or 1
    if count > 1:
        part = tf.config.LogicalDeviceConfiguration()
        try:
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [part] * count)
        except (RuntimeError, ValueError):
            if len(tf.config.list_logical_devices("CPU")) < count:
                raise AdaScaleError(
                    "TensorFlow is already initialized, so its CPU cannot be divided; start a new process."
                ) from None
    return [f"CPU:{number}" for number in range(count)]
