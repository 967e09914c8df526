"""Networks with random weights of several architectures, and their bundles: a part of ``predict.py``."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from adascale_runtime.seams import bundle
from adascale_runtime.seams.bundle import Bundle

RECIPES = (
    "full", "int8", "dynamic", "width(0.5)", "width(0.75)+int8", "width(0.35)+int8", "depth(0.5)+int8", "exit(1)",
    "exit(2)+int8", "lowrank(0.5)", "fire(0.5)+int8", "width(0.6)", "ghost(0.5)", "resolution(0.5)+int8", "float16",
    "width(0.25)", "width(0.5)+int8", "separable+int8", "width(0.5)+dynamic", "lowrank(0.5)+int8",
)  # fmt: skip
NAMES = ("resnet", "plain", "mobile", "inverted", "dense", "fire", "bottleneck", "gru")


def models() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Builders of the architectures, by name, with their input shapes."""
    import tf_keras

    from adascale_tf.bridge import backbones

    layers = tf_keras.layers

    def conv(x: Any, filters: int, size: int, stride: int, name: str, relu: bool = True) -> Any:
        x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x) if relu else x

    def depthwise(x: Any, size: int, stride: int, name: str) -> Any:
        x = layers.DepthwiseConv2D(size, stride, padding="same", use_bias=False, name=f"{name}_dw")(x)
        return layers.ReLU(6.0, name=f"{name}_dwrelu")(layers.BatchNormalization(name=f"{name}_dwbn")(x))

    def head(source: Any, x: Any, name: str) -> Any:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return tf_keras.Model(source, layers.Dense(10, name="logits")(x), name=name)

    def plain(shape: tuple[int, ...]) -> Any:
        """As VGG: convolutions, poolings, a dense layer."""
        source = x = layers.Input(shape, name="image")
        for stage, filters in enumerate((24, 48, 96)):
            for block in range(2):
                x = conv(x, filters, 3, 1, f"s{stage}b{block}")
            x = layers.MaxPooling2D(2, name=f"s{stage}_pool")(x)
        x = layers.Dense(128, activation="relu", name="fc")(layers.Flatten(name="flat")(x))
        return tf_keras.Model(source, layers.Dense(10, name="logits")(x), name="plain")

    def mobile(shape: tuple[int, ...]) -> Any:
        """As MobileNet: depthwise and pointwise in turn."""
        source = layers.Input(shape, name="image")
        x = conv(source, 32, 3, 2, "stem")
        for n, (filters, stride) in enumerate(((64, 1), (96, 2), (96, 1), (192, 2), (192, 1), (256, 1))):
            x = conv(depthwise(x, 3, stride, f"b{n}"), filters, 1, 1, f"b{n}_pw")
        return head(source, x, "mobile")

    def inverted(shape: tuple[int, ...]) -> Any:
        """As MobileNet v2: inverted residuals, 3x3 and 5x5."""
        source = layers.Input(shape, name="image")
        x = conv(source, 16, 3, 2, "stem")
        blocks = ((16, 1, 4, 3), (24, 2, 4, 3), (24, 1, 4, 3), (40, 2, 4, 5), (40, 1, 4, 5), (80, 1, 3, 3))
        for n, (filters, stride, factor, size) in enumerate(blocks):
            wide = conv(x, x.shape[-1] * factor, 1, 1, f"b{n}_e")
            y = conv(depthwise(wide, size, stride, f"b{n}"), filters, 1, 1, f"b{n}_p", relu=False)
            x = layers.Add(name=f"b{n}_add")([x, y]) if stride == 1 and x.shape[-1] == filters else y
        return head(source, x, "inverted")

    def dense(shape: tuple[int, ...]) -> Any:
        """As DenseNet: every layer sees all before it."""
        source = layers.Input(shape, name="image")
        x = conv(source, 24, 3, 1, "stem")
        for stage in range(3):
            for block in range(3):
                y = conv(conv(x, 32, 1, 1, f"s{stage}b{block}_1"), 16, 3, 1, f"s{stage}b{block}_2")
                x = layers.Concatenate(name=f"s{stage}b{block}_cat")([x, y])
            if stage < 2:
                x = conv(x, int(x.shape[-1]) // 2, 1, 1, f"s{stage}_t")
                x = layers.AveragePooling2D(2, name=f"s{stage}_pool")(x)
        return head(source, x, "dense")

    def fire(shape: tuple[int, ...]) -> Any:
        """As SqueezeNet: squeeze, expand, join."""
        source = layers.Input(shape, name="image")
        x = conv(source, 32, 3, 2, "stem")
        for n, (squeeze, expand) in enumerate(((16, 32), (16, 48), (24, 64), (32, 64))):
            y = conv(x, squeeze, 1, 1, f"f{n}_s")
            parts = [conv(y, expand, 1, 1, f"f{n}_a"), conv(y, expand, 3, 1, f"f{n}_b")]
            x = layers.Concatenate(name=f"f{n}_cat")(parts)
            x = layers.MaxPooling2D(2, name="pool1")(x) if n == 1 else x
        return head(source, x, "fire")

    def bottleneck(shape: tuple[int, ...]) -> Any:
        """As ResNet-50: 1x1, 3x3, 1x1 around a shortcut."""
        source = layers.Input(shape, name="image")
        x = conv(source, 32, 5, 2, "stem")
        for n, (filters, stride) in enumerate(((64, 1), (64, 1), (128, 2), (128, 1), (256, 2))):
            y = conv(conv(x, filters // 4, 1, 1, f"b{n}_1"), filters // 4, 3, stride, f"b{n}_2")
            y = conv(y, filters, 1, 1, f"b{n}_3", relu=False)
            same = stride == 1 and int(x.shape[-1]) == filters
            z = x if same else conv(x, filters, 1, stride, f"b{n}_z", relu=False)
            x = layers.ReLU(name=f"b{n}_relu")(layers.Add(name=f"b{n}_add")([y, z]))
        return head(source, x, "bottleneck")

    own = {"resnet": (32, 32, 3), "gru": (40, 32)}
    found: dict[str, tuple[Any, tuple[int, ...]]] = {
        name: (lambda shape, name=name: backbones.build(name, shape, 10), shape) for name, shape in own.items()
    }
    images = {plain: 32, mobile: 64, inverted: 64, dense: 32, fire: 48, bottleneck: 64}
    return found | {build.__name__: (build, (side, side, 3)) for build, side in images.items()}


def build(name: str, recipes: int, root: str) -> None:
    """Write the bundle of one architecture with random weights, of the first recipes that apply to it."""
    import tensorflow as tf
    import tf_keras

    from adascale_runtime.errors import BadInput
    from adascale_runtime.seams.recipe import parse
    from adascale_tf import operators
    from adascale_tf.data import Dataset
    from adascale_tf.network import create
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.training import Schedule
    from adascale_tf.verbs.export import write_bundle

    tf.get_logger().setLevel("ERROR")
    tf_keras.utils.set_random_seed(0)
    make, shape = models()[name]
    backbone = make(shape) if name in ("resnet", "gru") else create.with_exits(make(shape))
    whole = ElasticNetwork(backbone, [parse("full")])
    chosen = []
    for recipe in map(parse, RECIPES):
        try:
            operators.apply(whole.whole, recipe)
        except BadInput:
            continue
        chosen.append(recipe)
    network = ElasticNetwork(backbone, chosen[:recipes])
    for trunk in network.trunks:
        trunk.choose(1.0)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (8, *shape)).astype(np.uint8) if len(shape) == 3 else rng.normal(size=(8, *shape))
    how = {"scale": 1 / 255} if len(shape) == 3 else {}
    data = Dataset("random", tuple(map(str, range(10))), how, x, np.arange(8) % 10, x, np.arange(8) % 10)
    write_bundle(network, data, Schedule(), Path(root) / name)


def build_all(names: tuple[str, ...], recipes: int, root: Path) -> dict[str, Bundle]:
    """All bundles, two at a time."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(build, names, [recipes] * len(names), [str(root)] * len(names)))
    return {name: bundle.load(root / name) for name in names}
