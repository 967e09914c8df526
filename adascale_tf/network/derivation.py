"""Computing a branch's weights from the backbone's variables: :mod:`adascale_tf.graph.weights` in TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from adascale_tf.graph.weights import Averaged, Constant, Cut, Key, Product, Weight, Whole, choices


class Derivation:
    """The values of some weight expressions over the backbone's variables, with the choices they rest on."""

    def __init__(self, weights: Iterable[Weight], variables: Mapping[Key, tf.Variable]) -> None:
        self._variables = variables
        self._choices = {id(choice): choice for weight in weights for choice in choices(weight)}
        self._constants: dict[int, list[tf.Variable]] = {}
        self.choose(0.0)

    def choose(self, share: float) -> None:
        """Make every choice anew from the current weights; ``share`` in [0, 1] of the final sparsity."""
        for key, choice in self._choices.items():
            constants = choice.choose(self.value(choice.of).numpy(), share)
            if key in self._constants:
                for variable, value in zip(self._constants[key], constants, strict=True):
                    variable.assign(value)
            else:
                self._constants[key] = [tf.Variable(value, trainable=False) for value in constants]

    def value(self, weight: Weight) -> tf.Tensor:
        """The weight's value now; differentiable with respect to the backbone's variables."""
        if isinstance(weight, Whole):
            return tf.convert_to_tensor(self._variables[weight.key])
        if isinstance(weight, Cut):
            return cut(self.value(weight.of), weight.axes)
        index = 0 if isinstance(weight, Averaged) else weight.index
        constant = tf.convert_to_tensor(self._constants[id(weight.choice)][index])
        if isinstance(weight, Constant):
            return constant
        of = self.value(weight.choice.of)
        if isinstance(weight, Product):
            return tf.einsum(weight.spec, of, constant)
        means = tf.math.unsorted_segment_mean(tf.reshape(of, [-1]), tf.reshape(constant, [-1]), weight.clusters)
        return tf.gather(means, constant)


def cut(value: tf.Tensor, axes: tuple[np.ndarray | None, ...]) -> tf.Tensor:
    """The kept positions of each axis, in their order."""
    value = tf.convert_to_tensor(value)
    for axis, kept in enumerate(axes):
        if kept is None:
            continue
        if np.array_equal(kept, np.arange(kept[0], kept[0] + len(kept))):  # a cheap slice; its gradient is a pad
            begin, size = [0] * value.shape.rank, [-1] * value.shape.rank
            begin[axis], size[axis] = int(kept[0]), len(kept)
            value = tf.slice(value, begin, size)
        else:
            value = tf.gather(value, kept, axis=axis)
    return value
