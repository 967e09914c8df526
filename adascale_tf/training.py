"""One training run for all branches.

First the full trunk trains alone, and its channels are sorted: branches learn faster from weights that know something
(Cai et al., Once-for-All, ICLR 2020). Then each step trains it on the labels, and the smallest trunk and others (the
sandwich rule) on the full trunk's answers (in-place distillation; Yu & Huang, Universally Slimmable Networks, ICCV
2019). Afterwards every trunk's BatchNorm statistics are measured anew under the final weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tf_keras

from adascale_tf.data import Dataset
from adascale_tf.derivation import cut
from adascale_tf.network import Axes, ElasticNetwork, Trunk
from adascale_tf.progress import Tick, silent

if TYPE_CHECKING:
    from adascale_tf.checkpoint import Checkpoint


@dataclass(frozen=True)
class Schedule:
    """How to train. ``learning_rate`` is Adam's peak, warmed up over the first tenth and cosine-decayed to 0.

    ``exit_weight``: weight of each early exit's loss against the last one's. ``shift``: largest random shift in
    pixels (images) or frames (sequences). ``flip``: mirror images at random. ``smoothing``: label smoothing.
    ``warm``: share of the epochs in which the full trunk trains alone. ``sampled``: how many trunks beside the full and
    the smallest one train at each later step.
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    exit_weight: float = 0.5
    shift: int = 2
    flip: bool = False
    smoothing: float = 0.05
    warm: float = 0.5
    sampled: int = 1
    seed: int = 0

    def steps(self, samples: int) -> int:
        """Optimizer steps in the whole run."""
        return self.epochs * max(1, samples // self.batch)


@dataclass(frozen=True)
class Effort:
    """What a training took. ``macs``: three times the forward ones (forward and backward); ``seconds``: wall time.

    ``joint_*``: of the steps in which the branches train with the full trunk.
    """

    macs: float
    seconds: float
    joint_macs: float
    joint_seconds: float


#: AdamW's peak for networks that come trained.
FINE_TUNING_RATE = 1e-3


def default_epochs(samples: int) -> int:
    """Passes over the data when the user names none: about 20,000 examples in all, at least 5 and at most 30 epochs."""
    return max(5, min(30, round(20_000 / samples)))


def train(
    network: ElasticNetwork,
    data: Dataset,
    schedule: Schedule,
    tick: Tick = silent,
    checkpoint: Checkpoint | None = None,
) -> Effort:
    """Train all branches of ``network`` in place on the training split; ``tick("train", ...)`` at every step.

    With a ``checkpoint`` the state is saved after every epoch, and a training found there is taken up. Gives what the
    epochs of this call took.
    """
    macs, seconds = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
    steps = schedule.steps(len(data.x_train))
    stepper = _Stepper(network, schedule, steps)
    done = checkpoint.begin(stepper.state) if checkpoint else 0
    smallest, others = _sandwich(network)
    warm = int(schedule.warm * schedule.epochs)
    for epoch in range(done, schedule.epochs):
        rng = np.random.default_rng((schedule.seed, epoch))  # of the epoch, so that a resumed run sees the same
        alone = epoch < warm
        begun = time.perf_counter()
        if epoch == warm > 0:
            stepper.permute(network.sort())  # the branches keep what the full trunk found important
        if epoch == max(warm, done):
            stepper.prepare(data.inputs(data.x_train[: schedule.batch]), tick)
        _choose(network, min(1.0, 1.5 * epoch / schedule.epochs))
        seconds[True] += time.perf_counter() - begun
        begun = time.perf_counter()
        for step, (x, y) in enumerate(batches(data, schedule, rng), start=epoch * steps // schedule.epochs + 1):
            chosen = [] if alone else smallest + _sample(others, schedule.sampled, rng)
            loss = stepper.step(x, y, chosen)
            macs[alone] += 3.0 * len(x) * (network.trunks[0].macs + sum(trunk.macs for trunk in chosen))
            tick("train", step, steps, f"epoch {epoch + 1}/{schedule.epochs}, loss {loss:.3f}")
        seconds[alone] += time.perf_counter() - begun
        if checkpoint:
            checkpoint.save(epoch + 1, stepper.state)
    _choose(network, 1.0)
    if done <= schedule.epochs:
        recalibrate(network.trunks, data, schedule.seed, tick)
        if checkpoint:
            checkpoint.save(schedule.epochs + 1, stepper.state)
    return Effort(sum(macs.values()), sum(seconds.values()), macs[False], seconds[False])


def _sandwich(network: ElasticNetwork) -> tuple[list[Trunk], list[Trunk]]:
    """The trunk with the fewest MACs (none if there is only the full one), and those between them."""
    rest = sorted(network.trunks[1:], key=lambda trunk: trunk.macs)
    return rest[:1], rest[1:]


def _sample(trunks: list[Trunk], count: int, rng: np.random.Generator) -> list[Trunk]:
    return [trunks[i] for i in rng.permutation(len(trunks))[:count]]


def _choose(network: ElasticNetwork, share: float) -> None:
    for trunk in network.trunks:
        trunk.choose(share)


class _Stepper:
    """One optimizer over the shared weights, and one traced gradient function per trunk."""

    def __init__(self, network: ElasticNetwork, schedule: Schedule, steps: int) -> None:
        self._network = network
        self._schedule = schedule
        rate = tf_keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - steps // 10), warmup_target=schedule.learning_rate, warmup_steps=max(1, steps // 10)
        )
        self._optimizer = tf_keras.optimizers.AdamW(rate, weight_decay=schedule.weight_decay)
        self._optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self._optimizer.build(network.variables)
        self._full = self._gradients(network.trunks[0], distil=False)
        self._rest = {id(trunk): self._gradients(trunk, distil=True) for trunk in network.trunks[1:]}
        self._apply = tf.function(
            lambda grads: self._optimizer.apply_gradients(zip(grads, network.variables, strict=True))
        )

    @property
    def state(self) -> list[tf.Variable]:
        """The optimizer's variables, for checkpoints."""
        return list(self._optimizer.variables)

    def permute(self, moved: list[tuple[tf.Variable, Axes]]) -> None:
        """Permute the optimizer's moments like the variables they belong to."""
        index = {id(variable): i for i, variable in enumerate(self._network.variables)}
        for variable, axes in moved:
            if id(variable) in index:  # BatchNorm statistics have no moments
                for moments in (self._optimizer._momentums, self._optimizer._velocities):
                    moment = moments[index[id(variable)]]
                    moment.assign(cut(moment, axes))

    def prepare(self, x: np.ndarray, tick: Tick) -> None:
        """Trace every trunk's gradients, on a batch, without an update."""
        even = tf.fill((len(x), self._network.classes), 1.0 / self._network.classes)
        for number, gradients in enumerate(self._rest.values(), start=1):
            gradients(tf.constant(x), even)
            tick("trace trunks", number, len(self._rest), "")

    def step(self, x: np.ndarray, y: np.ndarray, chosen: list[Trunk]) -> float:
        """One update through the full trunk and the chosen ones; gives the full trunk's loss."""
        classes = self._network.classes
        target = tf.one_hot(y, classes) * (1 - self._schedule.smoothing) + self._schedule.smoothing / classes
        loss, teacher, gradients = self._full(tf.constant(x), target)
        for trunk in chosen:
            _, _, more = self._rest[id(trunk)](tf.constant(x), teacher)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
        self._apply(gradients)
        return float(loss)

    def _gradients(self, trunk: Trunk, distil: bool) -> Callable[..., tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]]:
        """A traced ``(x, target distribution) -> (loss, own answer as a distribution, gradients)``.

        The full trunk's early exits learn from its own last exit as well as from the labels.
        """
        variables = self._network.variables
        weight = self._schedule.exit_weight

        def gradients(x: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                logits = trunk.call(x, training=True)
                answer = tf.stop_gradient(tf.nn.softmax(logits[-1]))
                early = target if distil else (target + answer) / 2
                loss = _cross_entropy(target, logits[-1])
                for exit_logits in logits[:-1]:
                    loss += weight * _cross_entropy(early, exit_logits)
            found = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return loss, answer, [tf.convert_to_tensor(g) for g in found]

        return tf.function(gradients, reduce_retracing=True)


def _cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))


def recalibrate(trunks: Sequence[Trunk], data: Dataset, seed: int = 0, tick: Tick = silent, batches: int = 12) -> None:
    """Measure each trunk's BatchNorm statistics under its final weights, as the mean over some training batches.

    Moving averages of a trunk that was sampled now and then lag behind the shared weights; on batches without
    augmentation their mean is exact. ``tick("BatchNorm", ...)`` once per trunk.
    """
    rng = np.random.default_rng(seed + 1)
    size = min(256, len(data.x_train))
    chosen = [rng.choice(len(data.x_train), size, replace=False) for _ in range(batches)]
    for number, trunk in enumerate(trunks, start=1):
        if trunk.statistics:
            measure_statistics(trunk, [data.inputs(data.x_train[index]) for index in chosen])
        tick("BatchNorm", number, len(trunks), str(trunk.recipe))


def measure_statistics(trunk: Trunk, batches: list[np.ndarray]) -> None:
    layers = [layer for layer in trunk.model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # then the moving average is the last batch's value
    run = tf.function(lambda x: trunk.call(x, training=True))
    total = [np.zeros(v.shape, np.float64) for v in trunk.statistics]
    for x in batches:
        run(tf.constant(x))
        total = [t + v.numpy() for t, v in zip(total, trunk.statistics, strict=True)]
    for variable, value in zip(trunk.statistics, total, strict=True):
        variable.assign(value / len(batches))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def batches(data: Dataset, schedule: Schedule, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shuffled, augmented batches of one epoch; the incomplete last one is left out."""
    count = len(data.x_train)
    size = min(schedule.batch, count)
    order = rng.permutation(count)
    for start in range(0, count - size + 1, size):
        index = np.sort(order[start : start + size])
        yield data.inputs(augment(data.x_train[index], schedule, rng)), data.y_train[index]


def augment(x: np.ndarray, schedule: Schedule, rng: np.random.Generator) -> np.ndarray:
    """Shift (and mirror) each example at random: images (N, H, W, C) both ways, sequences (N, T, F) in time."""
    axes = (1, 2) if x.ndim == 4 else (1,) if x.ndim == 3 else ()
    if schedule.shift and axes:
        margin = [(schedule.shift, schedule.shift) if axis in axes else (0, 0) for axis in range(x.ndim)]
        padded = np.pad(x, margin, mode="edge")
        rows = rng.integers(0, 2 * schedule.shift + 1, (len(x), 1)) + np.arange(x.shape[1])
        if x.ndim == 4:
            columns = rng.integers(0, 2 * schedule.shift + 1, (len(x), 1)) + np.arange(x.shape[2])
            x = padded[np.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]]
        else:
            x = padded[np.arange(len(x))[:, None], rows]
    if schedule.flip and x.ndim == 4:
        mirrored = rng.random(len(x)) < 0.5
        x = np.where(mirrored[:, None, None, None], x[:, :, ::-1], x)
    return x
