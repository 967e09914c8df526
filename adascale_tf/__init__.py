"""adascale-tf: one Keras model in, a bundle of TFLite branches out, switched on the phone in under a millisecond."""

__version__ = "0.1.0"
