"""Branches to .tflite: precision modes, signatures that share weights, verification against Keras, packing."""
