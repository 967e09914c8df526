"""To and from Keras: saved files, anybody's models, the built-in backbones."""
