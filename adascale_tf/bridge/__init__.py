"""Conversion from and to Keras: saved files, users' models, the built-in backbones."""
