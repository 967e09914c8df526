"""Names of the Keras layers, activations and operations that are allowed; all others are refused.

Names only, without TensorFlow, so that a file can be looked at before anything opens it.
"""

from __future__ import annotations

#: Layers that operators, the port and checkpoints know.
LAYERS = frozenset({
    "Activation", "Add", "Average", "AveragePooling1D", "AveragePooling2D", "BatchNormalization", "Concatenate",
    "Conv1D", "Conv2D", "Cropping1D", "Cropping2D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "Dropout", "ELU",
    "Embedding", "Flatten", "GRU", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "LSTM", "LayerNormalization", "LeakyReLU",
    "MaxPooling1D", "MaxPooling2D", "Maximum", "Minimum", "Multiply", "PReLU", "Permute", "ReLU", "Rescaling",
    "Reshape", "Resizing", "SeparableConv1D", "SeparableConv2D", "SimpleRNN", "Softmax", "SpatialDropout1D",
    "SpatialDropout2D", "Subtract", "UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
})  # fmt: skip
#: Layers that change training examples and hand everything else on unchanged.
AUGMENTATIONS = frozenset({
    "ActivityRegularization", "AlphaDropout", "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness",
    "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing",
    "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHeight", "RandomHue", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear",
    "RandomTranslation", "RandomWidth", "RandomZoom",
})  # fmt: skip
#: What holds layers or begins them in a saved model.
STRUCTURE = frozenset({"Functional", "InputLayer", "Model", "Sequential"})
#: Activations that mean the same in Keras 3 and ``tf_keras``.
ACTIVATIONS = frozenset({
    "elu", "exponential", "gelu", "linear", "mish", "relu", "selu", "sigmoid", "silu", "softmax", "softplus",
    "softsign", "swish", "tanh",
})  # fmt: skip
#: Operations that are no layers, by the last part of their name without underscores, in small letters.
OPERATIONS = ACTIVATIONS | {
    "add", "addv2", "clip", "clip_by_value", "div", "divide", "hard_sigmoid", "hard_silu", "hard_swish", "hardsigmoid",
    "hardsilu", "hardswish", "leaky_relu", "leakyrelu", "maximum", "minimum", "mul", "multiply", "neg", "negative",
    "relu6", "sub", "subtract", "true_divide", "truediv", "truedivide",
}  # fmt: skip


def bare(symbol: str) -> str:
    """An operation's name as in :data:`OPERATIONS`: ``math.add`` and ``__operators__.add`` are both ``add``."""
    return symbol.split(".")[-1].strip("_").lower()
