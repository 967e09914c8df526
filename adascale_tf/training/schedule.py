"""Training schedules: length, strength, optimizer; and the effort that a training took."""

from __future__ import annotations

from dataclasses import dataclass

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt

#: The optimizers by name, each with its peak learning rate for fresh weights and for networks that come trained.
RATES = {"adamw": (3e-3, 1e-3), "sgd": (0.2, 0.02)}
#: The settings' names, with the least and the most that makes sense.
_RANGES = (
    ("epochs", 1, 1_000_000), ("batch", 1, 1_000_000), ("learning_rate", 0.0, 1e3), ("weight_decay", 0.0, 1e3),
    ("exit_weight", 0.0, 1e3), ("shift", 0, 10_000), ("smoothing", 0.0, 1.0), ("warm", 0.0, 1.0),
    ("sampled", 0, 10_000), ("seed", 0, 2**63 - 1),
)  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Raises:
        BadInput: a setting that no training can have.
    """

    #: Passes over the data.
    epochs: int = 20
    #: Examples of a batch; each replica has its own.
    batch: int = 64
    #: The optimizer's peak, warmed up over the first tenth and cosine-decayed to 0.
    learning_rate: float = RATES["adamw"][0]
    #: "adamw", or "sgd" for :class:`~adascale_tf.training.AdaScaleSGD`, which alone can use several batches a step.
    optimizer: str = "adamw"
    weight_decay: float = 1e-4
    #: Weight of each early exit's loss against the last one's.
    exit_weight: float = 0.5
    #: Largest random shift, in pixels (images) or frames (sequences).
    shift: int = 2
    #: Mirror images at random.
    flip: bool = False
    #: Label smoothing.
    smoothing: float = 0.05
    #: Share of the epochs in which the full trunk trains alone.
    warm: float = 0.5
    #: How many trunks beside the full and the smallest one train at each later step.
    sampled: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in RATES:
            raise BadInput(f"A schedule has the optimizer {excerpt(self.optimizer)}; use {' or '.join(RATES)}.")
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if not least <= value <= most:  # NaN too is in no range
                raise BadInput(f"A schedule's {name} is {excerpt(value)}; it should be between {least} and {most}.")

    def steps(self, samples: int) -> int:
        """Steps in the whole run at one batch a step: the run's length in scale-invariant iterations."""
        return self.epochs * self.epoch_steps(samples)

    def epoch_steps(self, samples: int) -> int:
        """Scale-invariant iterations in an epoch; the incomplete last batch is left out."""
        return max(1, samples // self.batch)


@dataclass(frozen=True)
class Effort:
    """What a training took."""

    #: Multiply-accumulates: three times the forward ones (forward and backward).
    macs: float
    #: Wall time.
    seconds: float
    #: Of the steps in which the branches train with the full trunk.
    joint_macs: float
    #: Of the same steps.
    joint_seconds: float
    #: Updates of the weights.
    steps: int = 0
    #: Updates at one batch a step that they are worth.
    iterations: float = 0.0


def default_epochs(samples: int) -> int:
    """Passes over the data when the user names none: about 20,000 examples in all, at least 5 and at most 30 epochs."""
    return max(5, min(30, round(20_000 / samples)))
