"""Kinds of layers, one record each: widths, weights, channels, shapes, work, and what operators may do with them.

To add one: a :class:`LayerKind`, registered by :func:`layer_kind` in the module of its like, and its name in
:data:`adascale_tf.graph.stock.LAYERS`. What a record leaves out stays whole. Where a new kind needs what no field says
(the heads of an attention, for example), a field with a default is added, which the existing records need not name.
"""

from adascale_tf.graph.kinds import elementwise, joining, positions, weighted  # the built-in kinds register themselves
from adascale_tf.graph.kinds.record import LAYER_KINDS, Axis, LayerKind, Shape, layer_kind, of

__all__ = [
    "LAYER_KINDS", "Axis", "LayerKind", "Shape", "elementwise", "joining", "layer_kind", "of", "positions", "weighted",
]  # fmt: skip
