"""One training run for all branches, on one device or on many."""

from adascale_tf.training.adascale_sgd import AdaScaleSGD
from adascale_tf.training.run import train
from adascale_tf.training.schedule import RATES, Effort, Schedule, default_epochs
from adascale_tf.training.statistics import measure_statistics, recalibrate
from adascale_tf.training.workers import Workers, open_workers

__all__ = [
    "RATES", "AdaScaleSGD", "Workers", "Effort", "Schedule", "default_epochs", "measure_statistics", "open_workers",
    "recalibrate", "train",
]  # fmt: skip
