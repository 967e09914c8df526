"""Options of a training: length, optimizer, devices, checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adascale_runtime.errors import BadInput

if TYPE_CHECKING:
    from adascale_tf.training import Schedule


@dataclass(frozen=True)
class Training:
    """How an elastic network is trained. None stands for the default that suits the data or the model.

    Raises:
        BadInput: a number is below 1.
    """

    #: Passes over the data; by default so many that about 20,000 examples are seen, at least 5 and at most 30. The
    #: phases' lengths follow from it.
    epochs: int | None = None
    #: Epochs in which the whole network trains alone. By default all ``epochs``; none for a model whose weights know
    #: something, which then computes what it computed before.
    pretrain: float | None = None
    #: Epochs in which the compressed branches train together on its answers; by default a third of ``epochs``.
    join: float | None = None
    #: Epochs in which each branch that ships trains alone, with weights of its own; by default half of ``epochs``.
    specialise: float | None = None
    #: Mirror training images at random; not for digits or text.
    flip: bool = False
    #: "adamw", or "sgd" for AdaScale SGD; by default AdaScale SGD wherever more than one batch may make a step.
    optimizer: str | None = None
    #: "none", "mirrored" (all GPUs of this machine) or "multi-worker" (several machines, named by TF_CONFIG; TensorFlow
    #: then listens on all network interfaces, without a password: see docs/scale.md).
    strategy: str = "none"
    #: With "mirrored": the number of GPUs; without GPUs, of parts of the CPU.
    replicas: int | None = None
    #: Batches that each replica contributes to a step.
    accumulate: int = 1
    #: The folder where the training is kept after every epoch: a killed one goes on there, and `search` and `evolve`
    #: start from it. None keeps nothing.
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "replicas", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"A training's {name} is {value}; give at least 1.")
        for name in ("pretrain", "join", "specialise"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1e6:
                raise BadInput(f"A training's {name} is {value}; give a number of epochs, 0 for none.")

    @property
    def rule(self) -> str:
        """The optimizer's name."""
        return self.optimizer or ("adamw" if self.strategy == "none" and self.accumulate == 1 else "sgd")

    def schedule(self, samples: int, seed: int, trained: bool) -> Schedule:
        """The schedule for so many training examples.

        Networks that come ``trained`` keep their weights, or are trained further at a lower learning rate.

        Raises:
            BadInput: the optimizer is unknown.
        """
        from adascale_tf.training import RATES, Schedule, default_epochs

        fresh_rate, trained_rate = RATES.get(self.rule, (0.0, 0.0))
        return Schedule(
            epochs=self.epochs or default_epochs(samples),
            pretrain=0.0 if trained and self.pretrain is None else self.pretrain,
            join=self.join,
            specialise=self.specialise,
            learning_rate=fresh_rate,
            pretrain_rate=trained_rate if trained else None,
            optimizer=self.rule,
            flip=self.flip,
            seed=seed,
        )
