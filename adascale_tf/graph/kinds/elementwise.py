"""Layers that change values and keep shapes: activations, normalizations, noise of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adascale_tf.graph.kinds import groups, sizes
from adascale_tf.graph.kinds.record import OUT, LayerKind, layer_kind

for _name in (
    "Activation", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "ReLU", "SpatialDropout1D", "SpatialDropout2D",
):  # fmt: skip
    layer_kind(LayerKind(_name, channels=groups.kept, shape=sizes.same))

layer_kind(LayerKind("Rescaling", channels=groups.kept, shape=sizes.same, prepares_input=True))


def _slope(settings: dict[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    """Keras 3 calls the slope ``negative_slope``."""
    return {**settings, "alpha": original.get("negative_slope", original.get("alpha"))}


layer_kind(LayerKind("LeakyReLU", channels=groups.kept, shape=sizes.same, ported=_slope))

layer_kind(
    LayerKind(
        "BatchNormalization", channels=groups.kept, shape=sizes.same,
        axes=dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (OUT,)),
    )
)  # fmt: skip
layer_kind(
    LayerKind(
        "LayerNormalization", axes={"gamma": (OUT,), "beta": (OUT,)}, channels=groups.kept, shape=sizes.same,
        quantized_training=False,
    )
)  # fmt: skip

# Channels that compete (a softmax) or have slopes of their own are not cut.
layer_kind(LayerKind("PReLU", shape=sizes.same))
layer_kind(LayerKind("Softmax", shape=sizes.same))
