"""What becomes of other networks than the small backbone: a part of ``headline.py``.

* *wider*: the backbone ``resnet-wide`` on images, where the fixed costs of an inference weigh little;
* *recurrent*: the backbone ``gru`` on sounds, against recurrent networks that plain Keras trains one by one;
* *given*: MobileNetV2 as a user would bring it, trained before, and made elastic.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tf_keras
from goals import Row, repeated
from ours import efforts, measured
from timing import latencies, seconds

import adascale_tf
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import parse
from adascale_tf import data
from adascale_tf.bridge import backbones
from adascale_tf.bridge.functional import read_graph
from adascale_tf.data import Dataset
from adascale_tf.data.validation import hold_out
from adascale_tf.graph import shapes
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule, train
from adascale_tf.training.feed import batches
from adascale_tf.verbs.evolve import derive
from adascale_tf.verbs.export import write_bundle
from profiling import meters

Facts = dict[str, Any]
#: Points of accuracy that a fast branch may lose on the validation split.
WITHIN = 4.0
#: Branches of the wider backbone, beside the full one.
WIDER = ("width(0.5)", "width(0.75)+depth(0.5)", "width(0.5)+depth(0.5)")
#: Recurrent networks made by hand: their units and their number of GRUs, and the branch of the same cost.
RECURRENT = {
    "half the units": (48, 2, "width(0.5)"),
    "half the units, one GRU": (48, 1, "width(0.5)+exit(1)"),
    "a quarter of the units": (24, 2, "width(0.25)"),
}
#: Branches of the user's model.
GIVEN = ("full", "width(0.75)", "width(0.5)")


@dataclass(frozen=True)
class Size:
    """How long all of it takes: training examples at most and epochs for each network, and classes of the last."""

    wider: tuple[int, int]
    recurrent: tuple[int, int]
    given: tuple[int, int]
    classes: int
    batch: int = 64


SHORT = Size(wider=(6_000, 3), recurrent=(1_000, 16), given=(4_000, 5), classes=5)
FULL = Size(wider=(50_000, 12), recurrent=(1_000, 60), given=(25_000, 30), classes=10)
SMOKE = Size(wider=(256, 1), recurrent=(256, 1), given=(256, 1), classes=4)


def run(
    tick: Tick, short: bool, seed: int, smoke: bool = False, *, images: str | Dataset, sounds: str | None = None
) -> Facts:
    """Train and measure the three networks.

    Args:
        tick: progress.
        short: five minutes on two cores, rather than hours.
        seed: of weights and shuffling.
        smoke: seconds; the figures are void.
        images: what ``adascale build --data`` takes.
        sounds: the same; without it there is no recurrent network, and in a smoke run the rows of the images stand in.

    Returns:
        Facts by network, in JSON's types.
    """
    size = SMOKE if smoke else SHORT if short else FULL
    pictures = images if isinstance(images, Dataset) else data.load(images, tick=tick)
    if sounds is not None:
        sequences = data.load(sounds, tick=tick)
    else:
        sequences = _rows_of(pictures) if smoke else None
    return {
        "seed": seed,
        "wider": wider(_some(pictures, size.wider[0]), size, seed, tick),
        "recurrent": recurrent(sequences, size, seed, tick) if sequences else None,
        "given": given(_some(pictures, size.given[0], size.classes), size, seed, tick),
    }


def _rows_of(dataset: Dataset) -> Dataset:
    """Images as sequences of their rows."""
    x_train, x_test = (x[..., 0].astype(np.float32) for x in (dataset.x_train, dataset.x_test))
    return replace(dataset, x_train=x_train, x_test=x_test, preprocessing={"kind": "array", "scale": 1 / 255})


def _some(dataset: Dataset, count: int, classes: int | None = None) -> Dataset:
    """At most so many training examples, drawn at random, of the first classes; and a validation split."""
    classes = classes or len(dataset.labels)
    train, test = dataset.y_train < classes, dataset.y_test < classes
    drawn = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(train))[:count])
    return hold_out(
        replace(
            dataset, labels=dataset.labels[:classes], x_train=dataset.x_train[drawn], y_train=dataset.y_train[drawn],
            x_test=dataset.x_test[test], y_test=dataset.y_test[test],
        )
    )  # fmt: skip


def _hard(dataset: Dataset, count: int) -> Dataset:
    """So many training examples, and all others for testing: with all of them every network gets nearly all right."""
    order = np.random.default_rng(0).permutation(len(dataset.x_train))
    kept, others = np.sort(order[:count]), np.sort(order[count:])
    x_test = np.concatenate([dataset.x_test, dataset.x_train[others]])
    y_test = np.concatenate([dataset.y_test, dataset.y_train[others]])
    x_train, y_train = dataset.x_train[kept], dataset.y_train[kept]
    return hold_out(replace(dataset, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test))


def wider(dataset: Dataset, size: Size, seed: int, tick: Tick) -> Facts:
    """The wider backbone: how much faster its int8 branches near the full one's accuracy are, on one thread."""
    schedule = Schedule(epochs=size.wider[1], batch=size.batch, flip=True, seed=seed)
    network, effort = _elastic("resnet-wide", ["full", *WIDER], dataset, schedule, partial(_named, tick, "wider"))
    count = network.trunks[0].exits
    wanted = ["full", *(f"{r}{e}" for r in WIDER for e in ("", f"+exit({count - 1})"))]
    branches = measured(network, wanted, dataset)
    floor = branches["full"]["validation"] - WITHIN / 100
    near = [recipe for recipe in wanted[1:] if branches[recipe]["validation"] >= floor]
    shipped = [parse("full"), parse("int8"), *(parse(f"{recipe}+int8") for recipe in near)]
    with tempfile.TemporaryDirectory() as folder:
        opened = write_bundle(network.evolved(shipped), dataset, schedule, Path(folder) / "bundle", tick)
        latency = latencies(opened, rounds=100)
        files = {
            b.recipe: {
                "accuracy": b.accuracy.value, "latency_ms": latency[b.recipe],
                "energy_mj": meters.estimate_mj(b.cost, b.precision), "macs": b.cost.macs,
            }
            for b in opened.manifest.branches
        }  # fmt: skip
    return {"images": len(dataset.x_train), "branches": branches, "files": files, "effort": efforts(effort)}


def recurrent(dataset: Dataset, size: Size, seed: int, tick: Tick) -> Facts:
    """The recurrent backbone: its branches, and networks of the same costs that plain Keras trains one by one."""
    dataset = _hard(dataset, size.recurrent[0])
    schedule = Schedule(epochs=size.recurrent[1], batch=size.batch // 2, seed=seed)
    tell = partial(_named, tick, "recurrent")
    network, effort = _elastic("gru", [recipe for _, _, recipe in RECURRENT.values()], dataset, schedule, tell)
    alone = {"full": partial(backbones.build, "gru", dataset.input_shape, len(dataset.labels))}
    for name, (units, layers, _) in RECURRENT.items():
        alone[name] = partial(gru, dataset.input_shape, len(dataset.labels), units, layers)
    by_hand: Facts = {}
    for name, make in alone.items():
        tf_keras.utils.set_random_seed(seed)
        model = make()
        model = tf_keras.Model(model.input, model.outputs[-1])
        spent = seconds(lambda model=model: fit(model, dataset, schedule))  # type: ignore[misc]
        by_hand[name] = {"macs": shapes.macs(read_graph(model)), "test": _right(model, dataset), "seconds": spent}
        tell("by hand", len(by_hand), len(alone), name)
    branches = measured(network, ["full", *(recipe for _, _, recipe in RECURRENT.values())], dataset)
    counts = {"examples": len(dataset.x_train), "tested": len(dataset.x_test)}
    return {**counts, "branches": branches, "by_hand": by_hand, "effort": efforts(effort)}


def gru(shape: tuple[int, ...], classes: int, units: int, layers: int) -> tf_keras.Model:
    """A strided convolution and GRUs, as anyone would write it; logits."""
    frames = tf_keras.layers.Input(shape)
    x = tf_keras.layers.Conv1D(units, 5, 2, padding="same", use_bias=False)(frames)
    x = tf_keras.layers.ReLU()(tf_keras.layers.BatchNormalization()(x))
    for _ in range(layers):
        x = tf_keras.layers.GRU(units, return_sequences=True)(x)
    x = tf_keras.layers.Dropout(0.2)(tf_keras.layers.GlobalAveragePooling1D()(x))
    return tf_keras.Model(frames, tf_keras.layers.Dense(classes)(x))


def given(dataset: Dataset, size: Size, seed: int, tick: Tick) -> Facts:
    """A user's model: what it reaches, what the elastic network's full branch does, and the others before and after."""
    epochs = size.given[1]
    schedule = Schedule(epochs=epochs, batch=size.batch, flip=True, seed=seed)
    tell = partial(_named, tick, "given")
    keras.utils.set_random_seed(seed)
    model = keras.applications.MobileNetV2(
        dataset.input_shape, alpha=0.35, weights=None, classes=len(dataset.labels), classifier_activation=None
    )
    fit(model, dataset, schedule)
    tell("trained as a user would", 1, 1, "")
    elastic = adascale_tf.elastic(model, GIVEN, seed=seed)
    recipes = [str(recipe) for recipe in elastic.recipes]
    before = measured(derive(elastic.network, elastic.recipes, dataset, silent), recipes, dataset)
    training = adascale_tf.Training(epochs=epochs, flip=True)
    trained = adascale_tf.elastic(model, GIVEN, seed=seed).fit(dataset, training=training, tick=tell)
    assert trained.effort is not None
    return {
        "images": len(dataset.x_train), "accuracy": _right(model, dataset), "before": before,
        "after": measured(trained.network, recipes, dataset), "effort": efforts(trained.effort),
    }  # fmt: skip


def fit(model: Any, dataset: Dataset, schedule: Schedule) -> None:
    """Train a network of logits alone, by the ``fit`` of Keras 2 or 3, in batches like those of the elastic ones."""
    keras_ = keras if isinstance(model, keras.Model) else tf_keras
    for layer in model.layers:
        if isinstance(layer, keras_.layers.BatchNormalization):
            layer.momentum = 0.9  # few steps: a slower average would be of weights long gone
    each = schedule.epoch_steps(len(dataset.x_train))
    steps = schedule.epochs * each
    rate = keras_.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - steps // 10), warmup_target=schedule.learning_rate, warmup_steps=max(1, steps // 10)
    )
    optimizer = keras_.optimizers.AdamW(rate, weight_decay=schedule.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras_.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=schedule.smoothing)
    model.compile(optimizer, loss, jit_compile=False)  # XLA makes steps on a CPU several times slower
    model.fit(_forever(dataset, schedule), epochs=schedule.epochs, steps_per_epoch=each, verbose=0)


def _forever(dataset: Dataset, schedule: Schedule) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(schedule.seed)
    while True:
        for x, y in batches(dataset, schedule, rng):
            yield x, tf_keras.utils.to_categorical(y, len(dataset.labels))


def _elastic(
    backbone: str, recipes: Sequence[str], dataset: Dataset, schedule: Schedule, tick: Tick
) -> tuple[ElasticNetwork, Any]:
    """A built-in backbone with its branches, trained in the default three phases; and the effort."""
    tf_keras.utils.set_random_seed(schedule.seed)
    model = backbones.build(backbone, dataset.input_shape, len(dataset.labels))
    network = ElasticNetwork(model, [parse(text) for text in recipes])
    return network, train(network, dataset, schedule, tick)


def _right(model: Any, dataset: Dataset) -> float:
    """A network's accuracy in [0, 1] on the test split."""
    logits = model.predict(dataset.inputs(dataset.x_test), batch_size=256, verbose=0)
    return float(np.mean(logits.argmax(-1) == dataset.y_test))


def _named(tick: Tick, name: str, what: str, done: int, total: int, note: str = "") -> None:
    tick(f"{name}: {what}", done, total, note)


def rows(facts: Sequence[Facts]) -> list[Row]:
    """The lines of the table, from every seed's facts."""
    fast = [fastest(f) for f in facts]
    lost = [_loss(f, recipe) for f, (recipe, _) in zip(facts, fast, strict=True)]
    lines = [
        repeated("wider backbone: fastest branch near full, x on one thread", ">= 12 x", [gain for _, gain in fast]),
        repeated("wider backbone: loss of that branch's file, points", "<= 4", lost),
        repeated("wider backbone: modelled energy near full, x", ">= 8 x", [thriftiest(f)[1] for f in facts]),
        repeated(
            "given MobileNetV2: full against given, points", ">= 0",
            [100 * (f["given"]["after"]["full"]["test"] - f["given"]["accuracy"]) for f in facts],
        ),
        repeated("given MobileNetV2: branches' mean gain by training, points", ">= 0", [_gain(f) for f in facts]),
    ]  # fmt: skip
    heard = [f["recurrent"] for f in facts if f["recurrent"]]
    if heard:
        full = [100 * (f["branches"]["full"]["test"] - f["by_hand"]["full"]["test"]) for f in heard]
        means = [float(np.mean(list(against(f).values()))) for f in heard]
        lines += [
            repeated("GRU on sounds: full against full alone, points", ">= -0.3", full),
            repeated("GRU on sounds: branches against hand-made, mean points", ">= 0", means),
        ]
    return lines


def fastest(one: Facts) -> tuple[str, float]:
    """The fastest of the wider backbone's files near the full one's accuracy on the validation split, and its gain."""
    return _least(one, "latency_ms")


def thriftiest(one: Facts) -> tuple[str, float]:
    """The same for the modelled energy."""
    return _least(one, "energy_mj")


def _least(one: Facts, key: str) -> tuple[str, float]:
    files = one["wider"]["files"]
    recipe = min(files, key=lambda name: files[name][key])
    return recipe, files["full"][key] / files[recipe][key]


def _loss(one: Facts, recipe: str) -> float:
    files = one["wider"]["files"]
    return 100 * float(files["full"]["accuracy"] - files[recipe]["accuracy"])


def _gain(one: Facts) -> float:
    """Mean points of accuracy that training gave the user's model's compressed branches over statistics alone."""
    before, after = one["given"]["before"], one["given"]["after"]
    return 100 * float(np.mean([after[r]["test"] - before[r]["test"] for r in before if r != "full"]))


def against(heard: Facts) -> dict[str, float]:
    """Points of each recurrent branch over the network made by hand of the same cost."""
    branches, by_hand = heard["branches"], heard["by_hand"]
    return {
        name: 100 * (branches[recipe]["test"] - by_hand[name]["test"]) for name, (_, _, recipe) in RECURRENT.items()
    }
