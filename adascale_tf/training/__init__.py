"""Training in three phases, on one device or on many."""

from adascale_tf.training.adascale_sgd import AdaScaleSGD
from adascale_tf.training.run import own_exits, specialise, train
from adascale_tf.training.schedule import PHASES, RATES, Effort, Phase, PhaseEffort, Schedule, default_epochs
from adascale_tf.training.statistics import measure_statistics, recalibrate
from adascale_tf.training.workers import Workers, open_workers

__all__ = [
    "PHASES", "RATES", "AdaScaleSGD", "Effort", "Phase", "PhaseEffort", "Schedule", "Workers", "default_epochs",
    "measure_statistics", "open_workers", "own_exits", "recalibrate", "specialise", "train",
]  # fmt: skip
