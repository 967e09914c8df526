"""Training and test data: built-in digits, folders and archives of classes, arrays. No TensorFlow in here."""

from adascale_tf.data.dataset import Dataset, load, parse_size

__all__ = ["Dataset", "load", "parse_size"]
