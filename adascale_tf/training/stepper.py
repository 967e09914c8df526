"""Steps of the shared training: gradients of chosen trunks, summed, on every replica, and one update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from adascale_runtime.progress import Tick
from adascale_tf.network.elastic import Axes, ElasticNetwork, Trunk
from adascale_tf.training.feed import Batch
from adascale_tf.training.rules import open_rule
from adascale_tf.training.schedule import Schedule
from adascale_tf.training.workers import Workers

Gradients = Callable[..., tuple[Any, Any, list[Any]]]


class Stepper:
    """One rule over the shared weights, and one traced gradient function per trunk.

    Made in the scope of the workers' strategy, like the network; a step takes ``accumulate`` batches a replica.
    """

    def __init__(
        self, network: ElasticNetwork, schedule: Schedule, steps: int, cluster: Workers, accumulate: int = 1
    ) -> None:
        self._network = network
        self._schedule = schedule
        self._exits = 1 + schedule.exit_weight * (len(network.whole.graph.outputs) - 1)
        self._strategy, self._replicas, self._local = cluster.strategy, cluster.replicas, len(cluster.places)
        self._rule = open_rule(schedule, steps, accumulate)
        self._rule.optimizer.build(network.variables)
        self._full = self._gradients(network.trunks[0], distil=False)
        self._rest = {id(trunk): self._gradients(trunk, distil=True) for trunk in network.trunks[1:]}
        self._hold = self._summed(self._rule.hold)
        self._apply = self._summed(self._rule.update)

    @property
    def state(self) -> list[tf.Variable]:
        """The optimizer's variables, for checkpoints; the same at any scale."""
        return list(self._rule.optimizer.variables)

    @property
    def progress(self) -> float:
        """Scale-invariant iterations so far."""
        return self._rule.progress

    def permute(self, moved: list[tuple[tf.Variable, Axes]]) -> None:
        """Permute the optimizer's moments like the variables they belong to."""
        self._rule.permute(self._network.variables, moved)

    def prepare(self, x: np.ndarray, tick: Tick) -> None:
        """Trace every trunk's gradients, on a batch, without an update."""
        even = np.full((len(x), self._network.classes), 1.0 / self._network.classes, np.float32)
        inputs, targets = self._spread([x] * self._local), self._spread([even] * self._local)
        for number, gradients in enumerate(self._rest.values(), start=1):
            gradients(inputs, targets)
            tick("trace trunks", number, len(self._rest), "")

    def step(self, batches: Sequence[Batch], chosen: list[Trunk]) -> float:
        """One update through the full trunk and the chosen ones; gives the full trunk's loss.

        ``batches``: for this worker's replicas, as many times as gradients are accumulated.
        """
        for start in range(0, len(batches), self._local):
            inputs, targets = zip(*batches[start : start + self._local], strict=True)
            x = self._spread(inputs)
            loss, teacher, gradients = self._full(x, self._spread([self._target(y) for y in targets]))
            parts = [gradients, *[self._rest[id(trunk)](x, teacher)[2] for trunk in chosen]]
            (self._apply if start + self._local >= len(batches) else self._hold)(*parts)
        return float(self._strategy.experimental_local_results(loss)[0])

    def _target(self, y: np.ndarray) -> np.ndarray:
        smoothing, classes = self._schedule.smoothing, self._network.classes
        return (np.eye(classes)[y] * (1 - smoothing) + smoothing / classes).astype(np.float32)

    def _spread(self, values: Sequence[np.ndarray]) -> Any:
        """One value for each replica of this worker."""
        rest = iter(values)
        return self._strategy.experimental_distribute_values_from_function(lambda _: tf.constant(next(rest)))

    def _summed(self, act: Callable[[list[tuple[tf.Tensor, tf.Variable]]], Any]) -> Callable[..., Any]:
        """A traced function that sums several trunks' gradients on each replica and hands them to the rule."""

        def update(*parts: list[tf.Tensor]) -> None:
            sums = [tf.add_n(list(gradients)) for gradients in zip(*parts, strict=True)]
            sums = self._rule.scaled(sums, len(parts) * self._exits * self._replicas)
            act(list(zip(sums, self._network.variables, strict=True)))

        return tf.function(lambda *parts: self._strategy.run(update, args=parts))

    def _gradients(self, trunk: Trunk, distil: bool) -> Gradients:
        """A traced ``(x, target distribution) -> (loss, own answer as a distribution, gradients)`` on each replica.

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
            slopes = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return loss, answer, [tf.convert_to_tensor(slope) for slope in slopes]

        return tf.function(lambda x, target: self._strategy.run(gradients, args=(x, target)), reduce_retracing=True)


def _cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
