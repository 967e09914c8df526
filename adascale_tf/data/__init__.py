"""Training and test data: built-in digits, folders and archives of classes, arrays. No TensorFlow in here."""

from adascale_tf.data.dataset import Dataset, load

__all__ = ["Dataset", "load"]
