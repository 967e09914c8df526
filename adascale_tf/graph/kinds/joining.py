"""Layers that combine several tensors into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adascale_tf.graph.kinds import groups, sizes
from adascale_tf.graph.kinds.record import LayerKind, layer_kind

for _name in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"):
    layer_kind(LayerKind(_name, channels=groups.joined, shape=sizes.broadcast, joins=True))


def _one_axis(settings: dict[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    """Some saved models have the axis in a list."""
    axis = settings.get("axis")
    return {**settings, "axis": axis[0]} if isinstance(axis, (list, tuple)) else settings


layer_kind(LayerKind("Concatenate", channels=groups.lined_up, shape=sizes.concatenated, joins=True, ported=_one_axis))
