"""Steps of a phase: gradients of the chosen trunks on every replica, and one update of the weights they train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from adascale_runtime.progress import Tick
from adascale_tf.network.trunk import Trunk
from adascale_tf.training.feed import Batch
from adascale_tf.training.rules import open_rule
from adascale_tf.training.schedule import Schedule
from adascale_tf.training.workers import Workers

Gradients = Callable[..., tuple[Any, list[Any]]]
_ZERO = tf.UnconnectedGradients.ZERO


class Student:
    """A trunk that trains.

    Args:
        trunk: with its last exit.
        exits: the numbers of the earlier exits that train too, counted from 1.
        kernels: whether its kernels train, or only BatchNorm, biases and heads.
    """

    def __init__(self, trunk: Trunk, exits: Sequence[int] = (), kernels: bool = True) -> None:
        self.trunk = trunk
        self.exits = tuple(number for number in exits if number < trunk.exits)
        self.variables = trunk.source.variables if kernels else trunk.source.without_kernels


class Stepper:
    """One rule over the weights of some trunks' sources, and one traced gradient function a trunk.

    Trunks of one source are sampled, and their gradients are summed. Of several sources each has one trunk, and all of
    them train at every step: the rule sees their weights side by side.

    Made in the scope of the workers' strategy, like the network.

    Args:
        students: the trunks that train.
        teacher: whose answers they learn; None if there is one student, which learns the labels.
        schedule: strength and optimizer.
        length: steps of the whole phase at one batch a step.
        cluster: the replicas.
        phase: the name of the phase, which decides the rate.
        accumulate: batches of each replica that make a step.
    """

    def __init__(
        self, students: Sequence[Student], teacher: Trunk | None, schedule: Schedule, length: int, cluster: Workers, *,
        phase: str, accumulate: int = 1,
    ) -> None:  # fmt: skip
        self._schedule = schedule
        self._classes = int(students[0].trunk.model.outputs[-1].shape[-1])
        self._strategy, self._replicas, self._local = cluster.strategy, cluster.replicas, len(cluster.places)
        by_source = {student.trunk.source: student.variables for student in students}
        self._shared = len(by_source) == 1
        self._variables = [variable for variables in by_source.values() for variable in variables]
        # On labels early exits add nothing to the trunk's gradients.
        exits = 0 if teacher is None else max(len(student.exits) for student in students)
        self._exits = 1 + schedule.exit_weight * exits
        self._rule = open_rule(schedule, phase, length, accumulate)
        self._rule.optimizer.build(self._variables)
        self._gradients = {student.trunk: self._traced(student, labels=teacher is None) for student in students}
        self._teacher = None if teacher is None else self._answers(teacher)
        self._hold = self._combined(self._rule.hold)
        self._apply = self._combined(self._rule.update)

    @property
    def state(self) -> list[tf.Variable]:
        """The optimizer's variables, for checkpoints; the same at any scale."""
        return list(self._rule.optimizer.variables)

    @property
    def progress(self) -> float:
        """Scale-invariant iterations so far."""
        return self._rule.progress

    def prepare(self, x: np.ndarray, tick: Tick) -> None:
        """Trace every trunk's gradients, on a batch, without an update."""
        even = np.full((len(x), self._classes), 1.0 / self._classes, np.float32)
        inputs, targets = self._spread([x] * self._local), self._spread([even] * self._local)
        for number, gradients in enumerate(self._gradients.values(), start=1):
            gradients(inputs, targets)
            tick("trace trunks", number, len(self._gradients), "")

    def step(self, batches: Sequence[Batch], chosen: Sequence[Trunk]) -> float:
        """One update through the chosen trunks; gives the mean of their losses.

        ``batches``: for this worker's replicas, as many times as gradients are accumulated.
        """
        losses: list[float] = []
        for start in range(0, len(batches), self._local):
            inputs, labels = zip(*batches[start : start + self._local], strict=True)
            x = self._spread(inputs)
            target = self._teacher(x) if self._teacher else self._spread([self._target(y) for y in labels])
            answers = [self._gradients[trunk](x, target) for trunk in chosen]
            (self._apply if start + self._local >= len(batches) else self._hold)(*[part for _, part in answers])
            losses = [float(self._strategy.experimental_local_results(loss)[0]) for loss, _ in answers]
        return float(np.mean(losses))

    def _target(self, y: np.ndarray) -> np.ndarray:
        smoothing, classes = self._schedule.smoothing, self._classes
        return (np.eye(classes)[y] * (1 - smoothing) + smoothing / classes).astype(np.float32)

    def _spread(self, values: Sequence[np.ndarray]) -> Any:
        """One value for each replica of this worker."""
        rest = iter(values)
        return self._strategy.experimental_distribute_values_from_function(lambda _: tf.constant(next(rest)))

    def _combined(self, act: Callable[[list[tuple[tf.Tensor, tf.Variable]]], Any]) -> Callable[..., Any]:
        """A traced function that brings the trunks' gradients together on each replica and hands them to the rule."""

        def update(*parts: list[tf.Tensor]) -> None:
            if self._shared:
                count, gradients = len(parts), [tf.add_n(list(slopes)) for slopes in zip(*parts, strict=True)]
            else:
                count, gradients = 1, [slope for part in parts for slope in part]
            gradients = self._rule.scaled(gradients, count * self._exits * self._replicas)
            act(list(zip(gradients, self._variables, strict=True)))

        return tf.function(lambda *parts: self._strategy.run(update, args=parts))

    def _answers(self, teacher: Trunk) -> Callable[[Any], Any]:
        """A traced ``x -> distribution`` of the teacher's last exit on each replica."""

        def answer(x: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(teacher.call(x, training=False)[-1])

        return tf.function(lambda x: self._strategy.run(answer, args=(x,)), reduce_retracing=True)

    def _traced(self, student: Student, labels: bool) -> Gradients:
        """A traced ``(x, target distribution) -> (loss, gradients)`` on each replica.

        On labels, early exits train their own heads alone, on the last exit's answers too, so that the trunk learns
        what it would learn without them.
        """
        trunk, weight = student.trunk, self._schedule.exit_weight
        variables = student.variables
        heads = {id(variable) for variable in trunk.source.of_early_exits} if labels else set()

        def gradients(x: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape(persistent=labels) as tape:
                logits = trunk.call(x, training=True)
                early = (target + tf.stop_gradient(tf.nn.softmax(logits[-1]))) / 2 if labels else target
                last = _cross_entropy(target, logits[-1])
                exits = [weight * _cross_entropy(early, logits[number - 1]) for number in student.exits]
                loss = tf.add_n([last, *exits])
            slopes = tape.gradient(last if labels else loss, variables, unconnected_gradients=_ZERO)
            if labels and exits:
                own = [variable for variable in variables if id(variable) in heads]
                of_heads = iter(tape.gradient(loss, own, unconnected_gradients=_ZERO))
                slopes = [
                    next(of_heads) if id(variable) in heads else slope
                    for variable, slope in zip(variables, slopes, strict=True)
                ]
            return loss, [tf.convert_to_tensor(slope) for slope in slopes]

        return tf.function(lambda x, target: self._strategy.run(gradients, args=(x, target)), reduce_retracing=True)


def _cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
