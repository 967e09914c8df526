"""Training schedules: the length of each phase, strength, optimizer; and the effort that a training took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt

#: The optimizers by name, each with its peak learning rate for fresh weights and for networks that come trained.
RATES = {"adamw": (3e-3, 1e-3), "sgd": (0.2, 0.02)}
#: The phases, in their order.
PHASES = ("pretrain", "join", "specialise")
#: Their default lengths, as shares of the epochs (benchmarks/headline.py compares them).
SHARES = {"pretrain": 1.0, "join": 1 / 3, "specialise": 1 / 2}
#: The settings' names, with the least and the most that makes sense.
_RANGES = (
    ("epochs", 1, 1_000_000), ("batch", 1, 1_000_000), ("learning_rate", 0.0, 1e3), ("pretrain_rate", 0.0, 1e3),
    ("weight_decay", 0.0, 1e3), ("exit_weight", 0.0, 1e3), ("shift", 0, 10_000), ("smoothing", 0.0, 1.0),
    ("pretrain", 0.0, 1_000_000), ("join", 0.0, 1_000_000), ("specialise", 0.0, 1_000_000), ("sampled", 0, 10_000),
    ("seed", 0, 2**63 - 1),
)  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """A part of a training."""

    #: One of :data:`PHASES`.
    name: str
    #: Passes over the data; the last one may be a part of a pass.
    epochs: float
    #: How many epochs, begun ones included, the phases before it have.
    first: int

    @property
    def end(self) -> int:
        """How many epochs, begun ones included, there are when it is over."""
        return self.first + ceil(self.epochs)


@dataclass(frozen=True)
class Schedule:
    """How to train.

    Raises:
        BadInput: a setting that no training can have.
    """

    #: Passes over the data that the full trunk is meant to have; the phases' lengths follow from it.
    epochs: int = 20
    #: Examples of a batch; each replica has its own.
    batch: int = 64
    #: The optimizer's peak in each phase, warmed up over the first tenth and cosine-decayed to 0.
    learning_rate: float = RATES["adamw"][0]
    #: The same while the full trunk trains; None for ``learning_rate``.
    pretrain_rate: float | None = None
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
    #: Epochs in which the full trunk trains alone; None for all ``epochs``. 0 leaves its weights as they are.
    pretrain: float | None = None
    #: Epochs in which the compressed trunks train together; None for a third of ``epochs``.
    join: float | None = None
    #: Epochs in which each shipped trunk trains alone; None for half of ``epochs``.
    specialise: float | None = None
    #: How many trunks beside the smallest one train at each step of the join.
    sampled: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in RATES:
            raise BadInput(f"A schedule has the optimizer {excerpt(self.optimizer)}; use {' or '.join(RATES)}.")
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:  # NaN too is in no range
                raise BadInput(f"A schedule's {name} is {excerpt(value)}; it should be between {least} and {most}.")

    def length(self, phase: str) -> float:
        """Epochs of a phase."""
        value: float | None = getattr(self, phase)
        return self.epochs * SHARES[phase] if value is None else value

    def rate(self, phase: str) -> float:
        """Peak learning rate of a phase."""
        return self.learning_rate if phase != "pretrain" or self.pretrain_rate is None else self.pretrain_rate

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that take any time."""
        phases: list[Phase] = []
        for name in PHASES:
            if self.length(name) > 0:
                phases.append(Phase(name, self.length(name), phases[-1].end if phases else 0))
        return tuple(phases)

    @property
    def total(self) -> int:
        """Epochs of all phases, begun ones included."""
        return max((phase.end for phase in self.phases), default=0)

    def steps(self, phase: Phase, samples: int) -> int:
        """Steps of a phase at one batch a step: its length in scale-invariant iterations."""
        return max(1, round(phase.epochs * self.epoch_steps(samples)))

    def epoch_steps(self, samples: int) -> int:
        """Scale-invariant iterations in an epoch; the incomplete last batch is left out."""
        return max(1, samples // self.batch)


@dataclass(frozen=True)
class PhaseEffort:
    """What a phase of a training took."""

    #: One of :data:`PHASES`.
    name: str
    #: Multiply-accumulates: three times the forward ones of what trains (forward and backward), and once the teacher's.
    macs: float = 0.0
    #: Wall time.
    seconds: float = 0.0
    #: Of it, the time in which trunks were traced, before the first step.
    tracing_s: float = 0.0
    #: Of it, the time in which batches were loaded and augmented.
    loading_s: float = 0.0
    #: Updates of the weights.
    steps: int = 0
    #: Updates at one batch a step that they are worth.
    iterations: float = 0.0


@dataclass(frozen=True)
class Effort:
    """What a training took."""

    phases: tuple[PhaseEffort, ...] = ()

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all phases."""
        return self._sum(phase.macs for phase in self.phases)

    @property
    def seconds(self) -> float:
        """Wall time of all phases."""
        return self._sum(phase.seconds for phase in self.phases)

    @property
    def steps(self) -> int:
        """Updates of the weights."""
        return sum(phase.steps for phase in self.phases)

    @property
    def iterations(self) -> float:
        """Updates at one batch a step that they are worth."""
        return self._sum(phase.iterations for phase in self.phases)

    def phase(self, name: str) -> PhaseEffort:
        """The effort of a phase; nothing if it did not take place."""
        return next((phase for phase in self.phases if phase.name == name), PhaseEffort(name))

    @staticmethod
    def _sum(values: Iterable[float]) -> float:
        return float(sum(values))


def default_epochs(samples: int) -> int:
    """Passes over the data when the user names none: about 20,000 examples in all, at least 5 and at most 30 epochs."""
    return max(5, min(30, round(20_000 / samples)))
