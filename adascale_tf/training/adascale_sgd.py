"""AdaScale SGD: learning rates that follow the scale of data-parallel training.

After Johnson, Agrawal, Gu and Guestrin, AdaScale SGD: A User-Friendly Algorithm for Distributed Training (ICML 2020).
A step at scale S averages the gradients of S batches, on as many replicas or one after the other. It is worth

    r = (sigma^2 + mu^2) / (sigma^2 / S + mu^2),    1 <= r <= S

steps of one batch, where sigma^2 is the variance of a batch's gradient (the trace of its covariance) and mu^2 the
squared norm of the true one: where noise rules, averaging pays and r is S; where all batches agree, it is 1. The step
is r times the learning rate, and training has come r *scale-invariant iterations* further. Schedules are functions of
these, so that one that was chosen for one batch a step holds at any scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
import tf_keras

Pair = tuple[Any, tf.Variable]


def gain_ratio(variance: tf.Tensor, squared_norm: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The gain r of the module's docstring, in [1, scale]; negative estimates count as 0, and nothing known as 1."""
    variance, squared_norm = tf.maximum(variance, 0.0), tf.maximum(squared_norm, 0.0)
    ratio = tf.math.divide_no_nan(variance + squared_norm, variance / scale + squared_norm)
    return tf.clip_by_value(ratio, 1.0, scale)


def gradient_moments(squares: tf.Tensor, mean_square: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Unbiased estimates of sigma^2 and mu^2 from one step (appendix B.3 of the paper).

    ``squares``: the sum over the step's ``scale`` > 1 batches of their gradients' squared norms; ``mean_square``: the
    squared norm of the mean gradient.
    """
    variance = (squares - scale * mean_square) / (scale - 1.0)
    return variance, mean_square - variance / scale


@tf_keras.utils.register_keras_serializable(package="adascale_tf")
class AdaScaleSGD(tf_keras.optimizers.SGD):
    """SGD whose steps grow with what averaging over replicas and batches gains; for ``tf_keras`` models.

    Put it in the place of SGD, with the learning rate (or its schedule) that suits one batch on one replica::

        with tf.distribute.MirroredStrategy().scope():
            model = tf_keras.Sequential([...])
            model.compile(AdaScaleSGD(schedule, momentum=0.9), loss=...)
        model.fit(...)                        # one global batch holds a batch for each replica

        model.compile(AdaScaleSGD(0.1, accumulation=8), loss=...)      # one device, eight batches a step

    In a loop of one's own under a strategy with several replicas, :meth:`accumulate` takes all batches of a step but
    the last, :meth:`step` the last one. Gradients are given as Keras gives them: per replica, of a loss that was
    divided by the number of replicas, so that their *sum* over replicas is the gradient of the mean loss.

    ``learning_rate``: a number, or a schedule of the scale-invariant iteration. ``weight_decay``: so much of each
    variable is added to its mean gradient; the moments are those of the loss alone. ``accumulation``: batches of one
    replica that make a step. Train until :attr:`progress` reaches the number of steps that one batch a step would take,
    rather than for a number of steps. Clipping would bias the moments: ValueError.

    Attributes, all scalars: :attr:`gain` of the last step, in [1, scale]; :attr:`progress`, the scale-invariant
    iterations so far; :attr:`variance` and :attr:`squared_norm`, the running sigma^2 and mu^2, in squared units of the
    gradient. There are no new hyperparameters: the running averages reach over 1000 / scale steps, as in the paper.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        accumulation: int = 1,
        name: str = "AdaScaleSGD",
        **kwargs: Any,
    ) -> None:
        if any(kwargs.get(clip) is not None for clip in ("clipnorm", "clipvalue", "global_clipnorm")):
            raise ValueError("AdaScaleSGD does not clip gradients: clipping would bias their moments.")
        if accumulation < 1:
            raise ValueError(f"accumulation={accumulation}: a step needs at least one batch.")
        super().__init__(learning_rate, momentum, nesterov, weight_decay, name=name, **kwargs)
        self.accumulation = accumulation
        with tf.init_scope():
            self.gain = self._scalar("gain", 1.0)
            self.progress = self._scalar("progress", 0.0, tf.float64)
            self.variance = self._scalar("variance", 0.0)
            self.squared_norm = self._scalar("squared_norm", 0.0)
            self._estimates = self._scalar("estimates", 0.0)
        self._sums: list[tf.Variable] = []

    def _scalar(self, name: str, value: float, dtype: tf.DType = tf.float32) -> tf.Variable:
        """A number that is the same on all replicas, and is saved with the optimizer."""
        variable = tf.Variable(
            value, trainable=False, dtype=dtype, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )
        self._variables.append(variable)
        return variable

    def build(self, var_list: list[tf.Variable]) -> None:
        """Make the momenta, and the sums over batches that are not saved: at a step's end they are zero."""
        super().build(var_list)
        if self.accumulation > 1 and not self._sums:
            shapes = [variable.shape for variable in var_list]
            # Each replica has sums of its own; nothing is sent before the step.
            own = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ}
            own["aggregation"] = tf.VariableAggregation.SUM
            self._sums = [tf.Variable(tf.zeros(shape), **own) for shape in shapes]
            self._squares, self._held = tf.Variable(0.0, **own), tf.Variable(0.0, **own)

    def apply_gradients(
        self, grads_and_vars: Iterable[Pair], name: str | None = None, skip_gradients_aggregation: bool = False,
        **kwargs: Any,
    ) -> tf.Variable:  # fmt: skip
        """Take a batch's gradients; every ``accumulation``-th call is a step. What ``fit`` calls.

        Raises ValueError for gradients that were summed over replicas already: their variance is gone.
        """
        if skip_gradients_aggregation or not kwargs.pop("experimental_aggregate_gradients", True):
            raise ValueError("AdaScaleSGD needs each replica's own gradients, and sums them itself.")
        pairs = [(gradient, variable) for gradient, variable in grads_and_vars if gradient is not None]
        if self.accumulation == 1:
            return self.step(pairs)
        if _replicas() > 1:
            raise ValueError(
                "With several replicas call accumulate() for all batches of a step except the last, and step() for "
                "that one."
            )
        with tf.init_scope():
            self.build([variable for _, variable in pairs])

        def take(act: Callable[[list[Pair]], Any]) -> Callable[[], tf.Tensor]:
            def taken() -> tf.Tensor:
                act(pairs)
                return tf.constant(True)

            return taken

        tf.cond(self._held + 1 >= self.accumulation, take(self.step), take(self.accumulate))
        return self.iterations

    def accumulate(self, grads_and_vars: Iterable[Pair]) -> None:
        """Keep a batch's gradients for the next step; nothing is sent to other replicas.

        Give gradients of the same variables, in the same order, as :meth:`build` was given.
        """
        if self.accumulation == 1:
            raise ValueError("Set AdaScaleSGD(accumulation=...) to the number of batches per step.")
        gradients, variables = _dense(grads_and_vars)
        with tf.init_scope():
            self.build(variables)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)
        self._squares.assign_add(_square(gradients))
        self._held.assign_add(1.0)

    def step(self, grads_and_vars: Iterable[Pair]) -> tf.Variable:
        """Update the variables by the mean over all batches since the last step, those given now included."""
        gradients, variables = _dense(grads_and_vars)
        with tf.name_scope(self.name), tf.init_scope():
            self.build(variables)
        squares, count = _square(gradients), tf.constant(1.0)
        if self._sums:
            gradients = [g + total for g, total in zip(gradients, self._sums, strict=True)]
            squares, count = squares + self._squares, count + self._held
            for variable in (*self._sums, self._squares, self._held):
                variable.assign(tf.zeros_like(variable))
        replicas = float(_replicas())
        if replicas > 1:
            *gradients, squares = tf.distribute.get_replica_context().all_reduce("sum", [*gradients, squares])
        gradients = [gradient / count for gradient in gradients]
        # Gradients come divided by the number of replicas; their squared norms are of the undivided ones.
        gain = self._learn(replicas**2 * squares, _square(gradients), replicas * count)
        updated = super().apply_gradients(
            [(gain * self._decayed(g, variable), variable) for g, variable in zip(gradients, variables, strict=True)],
            skip_gradients_aggregation=True,
        )
        self.progress.assign_add(tf.cast(gain, tf.float64))
        return updated

    def _learn(self, squares: tf.Tensor, mean_square: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """The gain of this step, from running averages of the moments.

        A plain mean over the first 1000 / S steps, then an exponential one with theta = 1 - S / 1000 (appendix B.3).
        A step of one batch tells nothing of the variance: it leaves the averages alone, and its gain is 1.
        """
        tells = tf.cast(scale > 1.0, tf.float32)
        estimates = self._estimates + tells
        weight = tells * tf.minimum(1.0, tf.maximum(tf.math.divide_no_nan(1.0, estimates), scale / 1000.0))
        variance, squared_norm = gradient_moments(squares, mean_square, tf.maximum(scale, 2.0))
        variance = self.variance + weight * (variance - self.variance)
        squared_norm = self.squared_norm + weight * (squared_norm - self.squared_norm)
        gain = gain_ratio(variance, squared_norm, scale)
        self._estimates.assign(estimates)
        self.variance.assign(variance)
        self.squared_norm.assign(squared_norm)
        self.gain.assign(gain)
        return gain

    def _compute_current_learning_rate(self) -> None:
        """Evaluate a schedule at the scale-invariant iteration, where Keras would at the step's number."""
        if isinstance(self._learning_rate, tf_keras.optimizers.schedules.LearningRateSchedule):
            self._current_learning_rate.assign(self._learning_rate(tf.cast(tf.floor(self.progress), tf.int64)))

    def _apply_weight_decay(self, variables: Iterable[tf.Variable]) -> None:
        """It is in the gradient already."""

    def _decayed(self, gradient: tf.Tensor, variable: tf.Variable) -> tf.Tensor:
        if not self.weight_decay or not self._use_weight_decay(variable):
            return gradient
        return gradient + tf.cast(self.weight_decay, gradient.dtype) * tf.convert_to_tensor(variable)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "accumulation": self.accumulation}


def _replicas() -> int:
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _dense(pairs: Iterable[Pair]) -> tuple[list[tf.Tensor], list[tf.Variable]]:
    gradients, variables = zip(*[(g, v) for g, v in pairs if g is not None], strict=True)
    return [tf.convert_to_tensor(gradient) for gradient in gradients], list(variables)


def _square(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(tf.square(tf.cast(tensor, tf.float32))) for tensor in tensors])
