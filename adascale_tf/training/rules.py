"""Optimizers of the training behind one interface: how a step's gradients update the weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from adascale_tf.training.adascale_sgd import AdaScaleSGD
from adascale_tf.training.schedule import Schedule

Pairs = list[tuple[tf.Tensor, tf.Variable]]


class Rule(ABC):
    """An optimizer over the weights that train in a phase.

    Args:
        schedule: its rates and weight decay.
        phase: whose rate.
        steps: length of the phase in scale-invariant iterations.
        accumulate: batches that each replica contributes to a step.
    """

    def __init__(self, schedule: Schedule, phase: str, steps: int, accumulate: int) -> None:
        rate = tf_keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - steps // 10), warmup_target=schedule.rate(phase), warmup_steps=max(1, steps // 10)
        )
        self.optimizer = self.make(rate, schedule.weight_decay, accumulate)
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])

    @abstractmethod
    def make(self, rate: Any, weight_decay: float, accumulate: int) -> Any:
        """The Keras optimizer; ``rate`` is a schedule of scale-invariant iterations."""

    @property
    @abstractmethod
    def progress(self) -> float:
        """Scale-invariant iterations so far."""

    @abstractmethod
    def scaled(self, gradients: Sequence[tf.Tensor], parts: float) -> list[tf.Tensor]:
        """Gradients that were summed over so many ``parts`` (trunks, exits, replicas), as the rule wants them."""

    @abstractmethod
    def hold(self, pairs: Pairs) -> None:
        """Keep a batch's gradients for the next update."""

    @abstractmethod
    def update(self, pairs: Pairs) -> None:
        """Update the weights by these gradients and those that were held."""


RULES: dict[str, type[Rule]] = {}


def rule(name: str) -> Callable[[type[Rule]], type[Rule]]:
    """Register a rule under a schedule's name of it, which also stands in :data:`~.schedule.RATES`."""

    def register(kind: type[Rule]) -> type[Rule]:
        RULES[name] = kind
        return kind

    return register


@rule("adamw")
class AdamW(Rule):
    """AdamW, for steps of one batch: an iteration is a step, and the gradients' scale does not matter."""

    def make(self, rate: Any, weight_decay: float, accumulate: int) -> Any:
        return tf_keras.optimizers.AdamW(rate, weight_decay=weight_decay)

    @property
    def progress(self) -> float:
        return float(self.optimizer.iterations.numpy())

    def scaled(self, gradients: Sequence[tf.Tensor], parts: float) -> list[tf.Tensor]:
        return list(gradients)

    def hold(self, pairs: Pairs) -> None:
        raise ValueError("AdamW takes one batch per step.")

    def update(self, pairs: Pairs) -> None:
        self.optimizer.apply_gradients(pairs)


@rule("sgd")
class ScaledSGD(Rule):
    """:class:`AdaScaleSGD`, for steps of any number of batches."""

    def make(self, rate: Any, weight_decay: float, accumulate: int) -> Any:
        return AdaScaleSGD(rate, 0.9, weight_decay=weight_decay, accumulation=accumulate)

    @property
    def progress(self) -> float:
        return float(self.optimizer.progress.numpy())

    def scaled(self, gradients: Sequence[tf.Tensor], parts: float) -> list[tf.Tensor]:
        # A mean, so that the rate is the same however many trunks and exits train. And Keras' way: divided by the
        # number of replicas, over which they are summed.
        return [gradient / parts for gradient in gradients]

    def hold(self, pairs: Pairs) -> None:
        self.optimizer.accumulate(pairs)

    def update(self, pairs: Pairs) -> None:
        self.optimizer.step(pairs)


def open_rule(schedule: Schedule, phase: str, steps: int, accumulate: int) -> Rule:
    """The rule that a schedule names, at the rate of a phase."""
    return RULES[schedule.optimizer](schedule, phase, steps, accumulate)
