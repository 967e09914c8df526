"""What happened in each phase of an adaptive loop, under the name that other modules import it by."""

from adascale_tf.cli.tables import phases as show

__all__ = ["show"]
