"""``python -m adascale_tf``: the command line."""

from adascale_tf.cli import main

main()
