"""Layers that compute with kernels: convolutions, dense and recurrent layers, embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from adascale_tf.graph.kinds import groups, sizes, work
from adascale_tf.graph.kinds.record import IN, OUT, WHOLE, Axis, LayerKind, layer_kind

_KERNEL = {"kernel": (OUT, IN), "bias": (OUT,)}

for _name in ("Conv1D", "Conv2D"):
    layer_kind(
        LayerKind(
            _name, width="filters", axes=_KERNEL, channels=groups.made, shape=sizes.windowed, macs=work.convolution,
            prunable=("kernel",), thin="itself",
        )
    )  # fmt: skip

for _name in ("SeparableConv1D", "SeparableConv2D"):
    layer_kind(
        LayerKind(
            _name, width="filters", channels=groups.made, shape=sizes.windowed, macs=work.separable,
            axes={"depthwise_kernel": (WHOLE, IN), "pointwise_kernel": (OUT, IN), "bias": (OUT,)},
            prunable=("pointwise_kernel",),
        )
    )  # fmt: skip

layer_kind(LayerKind("DepthwiseConv1D", shape=sizes.windowed, macs=work.depthwise))
layer_kind(
    LayerKind(
        "DepthwiseConv2D", axes={"depthwise_kernel": (WHOLE, IN), "bias": (OUT,)}, channels=groups.kept_by_depthwise,
        shape=sizes.windowed, macs=work.depthwise,
    )
)  # fmt: skip

layer_kind(
    LayerKind(
        "Dense", width="units", axes=_KERNEL, channels=groups.made, shape=sizes.dense, macs=work.dense,
        prunable=("kernel",), thin="dense",
    )
)  # fmt: skip

for _name, _count in (("GRU", 3), ("LSTM", 4), ("SimpleRNN", 1)):
    _gates = Axis("out", _count)
    layer_kind(
        LayerKind(
            _name, width="units", gates=_count, channels=groups.made, shape=sizes.recurrent,
            axes={"kernel": (_gates, IN), "recurrent_kernel": (_gates, OUT), "bias": (_gates,)},
            macs=partial(work.recurrent, gates=_count), prunable=("kernel", "recurrent_kernel"), thin="dense",
            quantized_training=False,
        )
    )  # fmt: skip


def _embedding(settings: dict[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "input_length"}


layer_kind(LayerKind("Embedding", quantized_training=False, ported=_embedding))
