"""Layers that move, drop or repeat positions and values: pooling, padding, resizing, reshaping, the input."""

from __future__ import annotations

from typing import Any

from adascale_tf.graph.kinds import groups, sizes
from adascale_tf.graph.kinds.record import LayerKind, layer_kind
from adascale_tf.graph.nodes import Node

layer_kind(LayerKind("InputLayer", shape=sizes.given))

for _name in ("AveragePooling1D", "AveragePooling2D", "MaxPooling1D", "MaxPooling2D"):
    layer_kind(LayerKind(_name, channels=groups.kept, shape=sizes.pooled))
for _name in ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"):
    layer_kind(LayerKind(_name, channels=groups.kept, shape=sizes.pooled_globally))
for _name in ("UpSampling1D", "UpSampling2D"):
    layer_kind(LayerKind(_name, channels=groups.kept, shape=sizes.upsampled))

layer_kind(LayerKind("ZeroPadding1D", channels=groups.kept, shape=sizes.padded))
layer_kind(LayerKind("ZeroPadding2D", channels=groups.kept, shape=sizes.padded, prepares_input=True))
layer_kind(LayerKind("Cropping1D", channels=groups.kept, shape=sizes.cropped, prepares_input=True, only_resizes=True))
layer_kind(LayerKind("Cropping2D", channels=groups.kept, shape=sizes.cropped, only_resizes=True))
layer_kind(LayerKind("Resizing", channels=groups.kept, shape=sizes.resized, prepares_input=True, only_resizes=True))

layer_kind(LayerKind("Flatten", channels=groups.repeated, shape=sizes.flattened))


def _target(node: Node, width: int) -> dict[str, Any]:
    """A Reshape names its channels last; a size that it leaves open stays open."""
    if width == node.shape[-1]:
        return dict(node.config)
    return {**node.config, "target_shape": (*node.config["target_shape"][:-1], width)}


layer_kind(LayerKind("Reshape", channels=groups.kept_by_reshape, rewidth=_target, shape=sizes.reshaped))
layer_kind(LayerKind("Permute"))
