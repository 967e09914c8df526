"""A bundle's branches for people, under the names that other modules import them by."""

from adascale_tf.cli.options import max_loss_option as max_loss_option
from adascale_tf.cli.tables import accuracy_cell as accuracy_cell
from adascale_tf.cli.tables import branches as show
from adascale_tf.cli.tables import say_remarks as say_remarks

__all__ = ["accuracy_cell", "max_loss_option", "say_remarks", "show"]
