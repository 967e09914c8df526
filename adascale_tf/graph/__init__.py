"""The network as data: nodes, shapes, channels, weights. numpy, no TensorFlow."""
