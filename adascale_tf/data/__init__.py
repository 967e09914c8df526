"""Training and test data: built-in digits, folders and archives of classes, arrays. No TensorFlow in here."""

from adascale_tf.data.dataset import Dataset, fit, load

__all__ = ["Dataset", "fit", "load"]
