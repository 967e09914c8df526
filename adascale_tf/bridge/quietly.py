"""Import TensorFlow without its remarks on GPUs, oneDNN and retracing."""

from __future__ import annotations

import os


def import_tensorflow() -> None:
    """Import TensorFlow and Keras 2; where that has happened already, only the logger is set."""
    from adascale_runtime.quiet import quiet_stderr

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():  # it reports on GPUs and oneDNN while it is imported
        import tensorflow as tf
        import tf_keras  # noqa: F401
    tf.get_logger().setLevel("ERROR")  # every branch is a new model: Keras' advice against retracing does not apply
