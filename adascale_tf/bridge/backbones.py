"""The built-in backbones: small networks with a head at the end of each stage, by name.

Layer names start with their block (``stage2_block1_conv1``), which is what recipes point at with ``@stage2``. Heads
give logits. To add a backbone: a function ``(input_shape, classes) -> tf_keras.Model`` under ``@backbone("name")``,
here or in a plug-in. TensorFlow is imported inside it, so that the command line lists backbones at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput

if TYPE_CHECKING:
    import tf_keras

Builder = Callable[[tuple[int, ...], int], "tf_keras.Model"]
BACKBONES: dict[str, Builder] = {}


def backbone(name: str) -> Callable[[Builder], Builder]:
    """Declare a backbone by the function that builds it.

    Args:
        name: What ``--backbone`` calls it.

    Raises:
        BadInput: The name is taken.
    """

    def register(builder: Builder) -> Builder:
        plugins.claim("backbones", BACKBONES, name, builder, builder)
        return builder

    return register


def build(name: str, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Build a backbone.

    Args:
        name: What it was declared as.
        input_shape: An input's shape without batch: (H, W, C) or (T, F).
        classes: Number of logits at each exit.

    Returns:
        A model with an output per exit.

    Raises:
        BadInput: There is no such backbone, or it does not take such inputs.
    """
    if name not in BACKBONES:
        plugins.load("backbones")
    if name not in BACKBONES:
        raise BadInput(plugins.unknown("backbones", "backbone", name, BACKBONES))
    return BACKBONES[name](input_shape, classes)


def names() -> tuple[str, ...]:
    """The names of all backbones, those of plug-ins included; sorted."""
    plugins.load("backbones")
    return tuple(sorted(BACKBONES))


def default_for(input_shape: tuple[int, ...]) -> str:
    """The backbone that suits an input: ``resnet`` for images (H, W, C), ``gru`` for sequences (T, F)."""
    known = {3: "resnet", 2: "gru"}
    if len(input_shape) not in known:
        raise _unsuited("No built-in backbone takes", input_shape)
    return known[len(input_shape)]


def _unsuited(who: str, input_shape: tuple[int, ...]) -> BadInput:
    kind = "vectors" if len(input_shape) == 1 else "examples"
    return BadInput(
        f"{who} {kind} of the shape {input_shape}: 'resnet' and 'resnet-wide' take images (height, width, channels), "
        "'gru' sequences (time, features); reshape the data to one of these, or give a network of your own with "
        "--model."
    )


def _conv(x: Any, filters: int, size: int, stride: int, name: str) -> Any:
    from tf_keras import layers as L

    x = L.Conv2D(filters, size, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return L.BatchNormalization(name=f"{name}_bn")(x)


@backbone("resnet")
def resnet(input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """A CIFAR-style residual network (He et al., 2016): 3 stages of 2 blocks, 16/32/64 channels, an exit per stage.

    Input (H, W, C); larger images are first reduced to about 32 pixels by the stem's stride.
    """
    return _residual("resnet", (16, 32, 64), input_shape, classes)


@backbone("resnet-wide")
def wide_resnet(input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """:func:`resnet` with 32/64/128 channels: about 100 million multiply-accumulates for 32x32 pixels.

    Its compressed branches are faster against it than those of the small one, where what each layer costs beside its
    arithmetic counts.
    """
    return _residual("resnet-wide", (32, 64, 128), input_shape, classes)


def _residual(name: str, channels: Sequence[int], input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Stages of two blocks with so many channels, each but the first at half the resolution of the one before."""
    import tf_keras
    from tf_keras import layers as L

    if len(input_shape) != 3:
        raise _unsuited(f"Backbone '{name}' does not take", input_shape)
    if min(input_shape[:2]) < 8:
        raise BadInput(
            f"Backbone '{name}' needs images of at least 8x8 pixels, but they have {input_shape[1]}x{input_shape[0]}; "
            "enlarge them, as with --input-size 32."
        )
    stride = max(1, min(input_shape[:2]) // 32)
    image = L.Input(input_shape, name="image")
    x = L.ReLU(name="stem_relu")(_conv(image, channels[0], 3, stride, "stem"))
    exits = []
    for stage, filters in enumerate(channels, start=1):
        for number in (1, 2):
            block = f"stage{stage}_block{number}"
            step = 2 if number == 1 and stage > 1 else 1
            y = L.ReLU(name=f"{block}_relu1")(_conv(x, filters, 3, step, f"{block}_1"))
            y = _conv(y, filters, 3, 1, f"{block}_2")
            shortcut = _conv(x, filters, 1, step, f"{block}_shortcut") if step != 1 else x
            x = L.ReLU(name=f"{block}_relu2")(L.Add(name=f"{block}_add")([shortcut, y]))
        exits.append(_image_head(x, classes, f"head{stage}", last=stage == len(channels)))
    return tf_keras.Model(image, exits, name=name)


def _image_head(x: Any, classes: int, name: str, last: bool) -> Any:
    """Early heads keep a coarse 4x4 map: low-level features say little without their place."""
    from tf_keras import layers as L

    if last:
        x = L.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    else:
        size = tuple(max(1, n // 4) for n in x.shape[1:3])
        x = L.Flatten(name=f"{name}_flat")(L.AveragePooling2D(size, name=f"{name}_pool")(x))
    return L.Dense(classes, name=f"{name}_logits")(x)


@backbone("gru")
def gru(input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """A recurrent network for sequences (T, F): a strided convolution, two GRUs of 96 units, an exit after each."""
    import tf_keras
    from tf_keras import layers as L

    if len(input_shape) != 2:
        raise _unsuited("Backbone 'gru' does not take", input_shape)
    frames = L.Input(input_shape, name="frames")
    x = L.Conv1D(96, 5, 2, padding="same", use_bias=False, name="stem_conv")(frames)
    x = L.ReLU(name="stem_relu")(L.BatchNormalization(name="stem_bn")(x))
    exits = []
    for stage in (1, 2):
        x = L.GRU(96, return_sequences=True, name=f"stage{stage}_gru")(x)
        pooled = L.GlobalAveragePooling1D(name=f"head{stage}_pool")(x)
        pooled = L.Dropout(0.2, name=f"head{stage}_dropout")(pooled)
        exits.append(L.Dense(classes, name=f"head{stage}_logits")(pooled))
    return tf_keras.Model(frames, exits, name="gru")
