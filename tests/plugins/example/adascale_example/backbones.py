"""A backbone: a network with an output for each exit, whose layers' names begin with their block."""

from __future__ import annotations

from typing import Any

from adascale_tf.bridge.backbones import backbone


@backbone("tiny")
def tiny(input_shape: tuple[int, ...], classes: int) -> Any:
    """Two convolutions with an exit after each, for images (H, W, C)."""
    import tf_keras
    from tf_keras import layers as L

    image = L.Input(input_shape, name="image")
    x, exits = image, []
    for stage, filters in enumerate((16, 32), start=1):
        x = L.Conv2D(filters, 3, 2, padding="same", use_bias=False, name=f"stage{stage}_conv")(x)
        x = L.ReLU(name=f"stage{stage}_relu")(L.BatchNormalization(name=f"stage{stage}_bn")(x))
        pooled = L.GlobalAveragePooling2D(name=f"head{stage}_pool")(x)
        exits.append(L.Dense(classes, name=f"head{stage}_logits")(pooled))
    return tf_keras.Model(image, exits, name="tiny")
