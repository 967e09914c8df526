"""How well predictors know branches and models that they never saw: latency, latency under load, memory, energy.

Builds bundles of several architectures with random weights (time does not depend on their values), measures them and
micro-kernels on this machine, fits on some and judges on others, nn-Meter's way: the share of predictions within 5, 10,
15 and 20 % of the measurement (Zhang et al., MobiSys 2021). Three ways to hold out:

* ``branches``: fitted on the micro-kernels and the six branches that ``adascale profile --calibrate`` chooses of a
  bundle; judged on that bundle's other branches.
* ``models``: fitted on micro-kernels and all other bundles; judged on a bundle of which nothing was measured.
* under load, the slowdown is fitted on the other bundles' branches, too.

All branches and micro-kernels are measured in common rounds. Idle latencies are judged at the machine's usual speed
(``docs/measuring.md``), means under load as they were seen. Branches are measured a second time, minutes later, and
compared with themselves: no prediction can be expected to be closer than this repeat error. Where it alone misses a
goal, the table says so. ``--wander`` makes the machine's speed wander meanwhile; ``--no-anchors`` measures without
anchors, to show what they are worth.

Energy comes from the battery of an emulated phone, whose truth is known to its emulator only.

    python benchmarks/predict.py --short
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import console
import drift
import evidence
import numpy as np
from phones import phone

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import bundle, speed
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.predictors import Predictor
from adascale_runtime.seams.records import Measurement
from adascale_runtime.seams.speed import Figure
from profiling import calibration, contexts, device, fit, together
from profiling.cells import Cell
from profiling.micro_kernels import Kernel
from profiling.together import Part

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "profiling",
    "converters/kernel_classes.py",
    "converters/flatbuffer.py",
    "adascale_runtime/seams/predictors.py",
    "adascale_runtime/seams/speed.py",
    "adascale_runtime/measuring/anchors.py",
)
RESULTS = Path(__file__).parent / "results" / "predict.json"
LEVELS = (0.05, 0.10, 0.15, 0.20)
RECIPES = (
    "full", "int8", "dynamic", "width(0.5)", "width(0.75)+int8", "width(0.35)+int8", "depth(0.5)+int8", "exit(1)",
    "exit(2)+int8", "lowrank(0.5)", "fire(0.5)+int8", "width(0.6)", "ghost(0.5)", "resolution(0.5)+int8", "float16",
    "width(0.25)", "width(0.5)+int8", "separable+int8", "width(0.5)+dynamic", "lowrank(0.5)+int8",
)  # fmt: skip
CONTEXTS = ("load50", "load100")
#: Idle branches: seconds of a block, and runs in it at most.
SETTINGS = {"seconds": 0.02, "most": 20}
#: Seconds for which a wandering machine has a course; each phase of measuring has another one.
PHASE_S = 600.0
#: A repeat counts as the same if it is as close as this, idle and under load.
CLOSE, CLOSE_UNDER_LOAD = 0.10, 0.15


@dataclass(frozen=True)
class Size:
    """Of each model: the recipes, the micro-kernels and the branches to calibrate with, the branches under load once
    and twice; and branches on the phone with the seconds of rest and of continuous inference of a measured energy."""

    recipes: int
    kernels: int
    few: int
    loaded: int
    repeated: int
    phone: int
    idle_s: float = 1.0
    batch_s: float = 2.0


#: As much as six minutes allow, at leisure, and to see that all of it works.
SHORT, LONG = Size(8, 160, 6, 3, 1, 8), Size(20, 240, 6, 8, 4, 24)
SMOKE, SMOKE_NAMES = Size(5, 8, 4, 1, 1, 6, 0.3, 0.4), ("plain", "mobile")

#: Predicted and measured, by branch.
Pairs = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """A line of the table: ``within``: shares of predictions within :data:`LEVELS`; ``errors``: signed, by branch.

    ``met``: None without a goal. ``level``: what counts as close. ``note``: what else to know.
    """

    what: str
    goal: str
    count: int
    within: tuple[float, ...]
    mape: float
    met: bool | None
    errors: dict[str, float]
    level: float
    note: str = ""


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


NAMES = ("resnet", "plain", "mobile", "inverted", "dense", "fire", "bottleneck", "gru")


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


def row(what: str, level: float, pairs: Pairs, goal: str = "", share: float | None = None) -> Row:
    """Judge predictions against measurements, by branch. ``share`` of them within ``level``; None: the mean error."""
    errors = {name: predicted / measured - 1 for name, (predicted, measured) in pairs.items()}
    sizes = np.abs(list(errors.values()))
    mape = float(np.mean(sizes))
    met = mape <= level if share is None else bool(np.mean(sizes <= level) >= share)
    within = tuple(float(np.mean(sizes <= at)) for at in LEVELS)
    return Row(what, goal, len(errors), within, mape, met if goal else None, errors, level)


def shares(options: argparse.Namespace, what: str, level: float, goals: tuple[float, float], pairs: Pairs) -> Row:
    """A line whose goal is a share of predictions within ``level``: on a quiet machine, and on one that wanders."""
    share = goals[1] if options.wander else goals[0]
    goal = drift.goal(options, *(f">= {100 * at:.0f} % within {100 * level:.0f} %" for at in goals))
    return row(what, level, pairs, goal, share)


def beside_repeats(line: Row, repeats: Row, share: float) -> Row:
    """A line with a note where the repeat error alone exceeds its goal."""
    same = repeats.within[LEVELS.index(line.level)]
    note = f"repeats alone: {same:.0%} within {line.level:.0%}" if same < share else ""
    return replace(line, note=note)


def seen_as_usual(predictor: Predictor, m: Measurement) -> float:
    """A measured idle latency at the speed that is usual to a predictor, in ms."""
    known = {kind: Figure(ms, ms, ms) for kind, ms in predictor.anchors.items()}
    return fit.idle_ms(m, {speed.place_of(m.device, m.settings): known})


def held_out(
    idle: dict[str, list[Measurement]], kernels: list[Measurement], few: dict[str, list[str]]
) -> dict[tuple[str, str], Pairs]:
    """(predicted, measured) by ``model/branch``, of (latency_ms or memory_mb, held-out branches or models)."""
    found: dict[tuple[str, str], Pairs] = {
        (q, h): {} for q in ("latency_ms", "memory_mb") for h in ("branches", "models")
    }
    for name, members in idle.items():
        known = [m for m in members if m.branch in few[name]]
        unknown = [m for m in members if m.branch not in few[name]]
        rest = [m for other, ms in idle.items() if other != name for m in ms]
        for how, training, judged in (("branches", known, unknown), ("models", rest, members)):
            fitted = fit.fit(training + kernels)
            for quantity in ("latency_ms", "memory_mb"):
                predictor = fitted.find(quantity, "cpu", 1)
                for m in judged if predictor is not None else ():
                    assert predictor is not None
                    measured = seen_as_usual(predictor, m) if quantity == "latency_ms" else m.memory_mb
                    if measured is not None:
                        predicted = predictor.predict(m.cost, m.precision)
                        found[quantity, how][f"{name}/{m.branch}"] = (predicted, measured)
    return found


def under_load(
    idle: dict[str, list[Measurement]], strained: dict[str, list[Measurement]], kernels: list[Measurement]
) -> Pairs:
    """(predicted, measured) mean latencies in contexts, of models whose branches were measured nowhere."""
    found = {}
    for name, members in strained.items():
        rest = [m for source in (idle, strained) for other, ms in source.items() if other != name for m in ms]
        fitted = fit.fit(rest + kernels).find("latency_ms", "cpu", 1)
        assert fitted is not None
        for m in members:
            ends = (m.context_before, m.context_after)
            predicted = float(np.mean([fitted.predict(m.cost, m.precision, context) for context in ends]))
            found[f"{name}/{m.branch}/{m.settings['context']}"] = (predicted, mean_ms(m))
    return found


def mean_ms(m: Measurement) -> float:
    """The mean of a measurement's runs, as they were seen."""
    return sum(m.latency_ms) / len(m.latency_ms)


#: Measurements by model.
ByModel = dict[str, list[Measurement]]


def repeats(first: ByModel, second: ByModel, value: Callable[[Measurement], float]) -> Pairs:
    """(first, second) value of what was measured twice."""
    found = {}
    for name, members in second.items():
        earlier = {(m.branch, m.settings.get("context")): m for m in first[name]}
        for m in members:
            context = m.settings.get("context")
            where = "/".join((name, m.branch, *([context] if context else [])))
            found[where] = (value(earlier[m.branch, context]), value(m))
    return found


def at_rest(measured: Sequence[Measurement]) -> Callable[[Measurement], float]:
    """Gives the mean of a measurement over the slowdown of its context, in ms: what others used differs between two
    measurements under one load, and predictions are told of it."""
    fitted = fit.fit(list(measured)).find("latency_ms", "cpu", 1)
    assert fitted is not None

    def value(m: Measurement) -> float:
        return mean_ms(m) / float(np.mean([fitted.factor(context) for context in (m.context_before, m.context_after)]))

    return value


def on_a_phone(bundles: dict[str, Bundle], size: Size, folder: Path) -> dict[str, Pairs]:
    """(predicted, measured) energies on an emulated phone: each branch left out in turn.

    ``latency measured``: the branch's latency on the phone is known, as a session knows it, only its energy is not.
    ``nothing measured``: both are predicted.
    """
    from android_harness import keys
    from android_harness.harness import Harness
    from android_harness.runner import Options

    options = Options(runs=20, energy=True, idle_s=size.idle_s, batch_s=size.batch_s)
    measurements: list[Measurement] = []
    signer = keys.load(folder / "adbkey")[0]
    with phone(folder / "phone") as (_, address):
        for name, opened in bundles.items():
            branches = [b.id for b in opened.manifest.branches][: -(-size.phone // len(bundles))]
            harness = Harness(opened, address, options, folder / f"{name}.jsonl", signer=signer)
            outcome = harness.profile(["cpu"], [1], branches)
            if outcome.failed:
                reason = next(iter(outcome.failed.values()))
                raise AdaScaleError(f"On the phone {len(outcome.failed)} cells failed: {reason}")
            measurements += outcome.measurements
    pairs: dict[str, Pairs] = {"latency measured": {}, "nothing measured": {}}
    known = [m for m in measurements if m.energy.value_mj is not None and m.energy.how.startswith("measured")]
    for m in known:
        fitted = fit.fit([other for other in known if other is not m]).find("energy_mj", "cpu", 1)
        assert fitted is not None
        assert m.energy.value_mj is not None
        where = f"{m.bundle}/{m.branch}"
        latency = m.latency_quantile_ms(0.25)
        pairs["latency measured"][where] = (
            fitted.predict(m.cost, m.precision, latency_ms=latency),
            m.energy.value_mj,
        )
        pairs["nothing measured"][where] = (fitted.predict(m.cost, m.precision), m.energy.value_mj)
    return pairs


def joined(first: Measurement, second: Measurement) -> Measurement:
    """Two measurements of a branch as one: a neighbour's burst of seconds should not be all of its runs."""
    count = len(first.latency_ms)
    later = tuple(replace(pace, run=pace.run + count) for pace in second.paces)
    return replace(
        first, latency_ms=first.latency_ms + second.latency_ms, rounds=first.rounds + second.rounds,
        paces=first.paces + later if first.paces and later else (),
    )  # fmt: skip


class Phases:
    """What is measured on this machine, of all models in common rounds; each phase into a file of its own."""

    def __init__(self, bundles: dict[str, Bundle], root: Path, options: argparse.Namespace) -> None:
        self._bundles, self._root, self._options, self._count = bundles, root, options, 0
        self._anchors = not options.no_anchors

    def idle(self, kernels: list[Kernel]) -> tuple[ByModel, list[Measurement]]:
        """All branches, and micro-kernels; with these also the memory of branches."""
        beside, out = contexts.Surroundings(), self._next()
        memory = {name: [b.id for b in opened.manifest.branches] for name, opened in self._bundles.items()}
        parts = [
            self._part(name, 0, SETTINGS, out, beside, memory[name] if kernels else ()) for name in self._bundles
        ]  # fmt: skip
        if kernels:
            (self._root / "kernels").mkdir()
            own = calibration.write(kernels, self._root / "kernels")
            parts.append(calibration.part(own, ["cpu"], [1], out, beside=beside, anchors=self._anchors))
        with self._machine():
            found = together.measure(parts)
        return dict(zip(self._bundles, found, strict=False)), found[-1] if kernels else []

    def loaded(self, count: int) -> ByModel:
        """So many branches of each model in all contexts."""
        measured: ByModel = {name: [] for name in self._bundles}
        for context in CONTEXTS:
            beside, out = contexts.Surroundings(functools.partial(contexts.beside, context)), self._next()
            settings = {"seconds": contexts.BLOCK_S, "most": contexts.MOST, "context": context}
            parts = [self._part(name, count, settings, out, beside) for name in self._bundles]
            with self._machine():
                found = together.measure(parts)
            for name, members in zip(self._bundles, found, strict=True):
                measured[name] += members
        return measured

    def _part(
        self, name: str, count: int, settings: dict[str, Any], out: Path, beside: contexts.Surroundings,
        memory: Sequence[str] = (),
    ) -> Part:  # fmt: skip
        """The first branches of a model, all for 0."""
        branches = self._bundles[name].manifest.branches
        cells = [Cell(branch, "cpu", 1) for branch in (branches[:count] if count else branches)]
        return contexts.part(
            self._bundles[name], cells, settings, out, beside=beside, journal=Path(f"{out}.{name}.journal"),
            memory=memory, anchors=self._anchors,
        )  # fmt: skip

    def _next(self) -> Path:
        self._count += 1
        return self._root / f"phase{self._count}.jsonl"

    def _machine(self) -> AbstractContextManager[object]:
        return drift.machine(self._options, PHASE_S, self._count)


def run(names: tuple[str, ...], size: Size, root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Build, measure, fit, judge; gives what the results file holds."""
    begun = time.monotonic()
    spent: dict[str, float] = {}

    def done(what: str) -> None:
        spent[what] = round(time.monotonic() - begun - sum(spent.values()), 1)
        print(f"{what}: {spent[what]:.0f} s", file=sys.stderr, flush=True)

    bundles = build_all(names, size.recipes, root)
    done("build")
    plans = {
        name: calibration.plan(opened, device.caches(), size.kernels, size.few) for name, opened in bundles.items()
    }
    chosen = list(dict.fromkeys(kernel for plan, _ in plans.values() for kernel in plan))
    done("plan")
    phases = Phases(bundles, root, options)
    first, kernels = phases.idle(chosen)
    done(f"branches and {len(kernels)} micro-kernels")
    strained = phases.loaded(size.loaded)
    done("under load")
    second, _ = phases.idle([])
    done("branches again")
    strained_again = phases.loaded(size.repeated)
    done("under load again")
    idle = {name: [joined(*pair) for pair in zip(first[name], second[name], strict=True)] for name in names}
    few = {name: ids for name, (_, ids) in plans.items()}
    usual = speed.usual([*kernels, *(m for members in idle.values() for m in members)])
    pairs = held_out(idle, kernels, few)
    everything = [*kernels, *(m for source in (idle, strained) for members in source.values() for m in members)]
    idle_twice = row(
        "repeat error, idle, at usual speed", CLOSE, repeats(first, second, lambda m: fit.idle_ms(m, usual))
    )
    loaded_twice = row(
        "repeat error, mean under load", CLOSE_UNDER_LOAD, repeats(strained, strained_again, at_rest(everything))
    )
    rows = [
        *(
            beside_repeats(
                shares(options, f"latency, idle, held-out {how}", CLOSE, goals, pairs["latency_ms", how]),
                idle_twice, goals[options.wander],
            )
            for how, goals in (("branches", (0.95, 0.85)), ("models", (0.95, 0.85)))
        ),
        idle_twice,
        row("repeat error, idle, as seen", CLOSE, repeats(first, second, lambda m: fit.idle_ms(m, {}))),
        beside_repeats(
            shares(
                options, "mean latency under load, held-out models", CLOSE_UNDER_LOAD, (0.90, 0.80),
                under_load(idle, strained, kernels),
            ),
            loaded_twice, (0.90, 0.80)[options.wander],
        ),
        loaded_twice,
        row("memory, held-out branches", 0.05, pairs["memory_mb", "branches"], "mean error <= 5 %"),
        row("memory, held-out models", 0.05, pairs["memory_mb", "models"], "mean error <= 5 %"),
    ]  # fmt: skip
    done("predictions")
    if not options.no_phone:
        for how, found in on_a_phone(bundles, size, root).items():
            rows.append(row(f"energy, phone, held-out branches, {how}", 0.10, found, "mean error <= 10 %"))
        done("phone")
    return {
        "caches": device.caches(), "models": list(names), "seconds": spent, "rows": [asdict(r) for r in rows],
        "levels": list(LEVELS), "calibrated_on": few, "micro_kernels": len(kernels),
        "measured": {
            f"{name}/{m.branch}": {"p50_ms": m.latency_quantile_ms(0.5), "p25_ms": m.latency_quantile_ms(0.25),
                                   "usual_ms": fit.idle_ms(m, usual), "memory_mb": m.memory_mb}
            for name, members in idle.items() for m in members
        },
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer branches, under six minutes on two cores")
    parser.add_argument("--models", default=None, help=f"two or more of {','.join(NAMES)}; default: all")
    parser.add_argument("--recipes", type=int, default=None, help="how many recipes of each model")
    parser.add_argument("--no-phone", action="store_true", help="leave energy out, as --wander does")
    parser.add_argument(
        "--no-anchors", action="store_true", help="measure without anchors; the result is kept with --out only"
    )
    drift.add_option(parser)
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    options.no_phone = options.no_phone or options.wander  # the phone is an emulated one, whose energy does not wander
    size = SMOKE if options.smoke else SHORT if options.short else LONG
    names = tuple(options.models.split(",")) if options.models else SMOKE_NAMES if options.smoke else NAMES
    if len(set(names) & set(NAMES)) != len(names) or len(names) < 2:
        parser.error(f"--models should name two or more of {', '.join(NAMES)}")
    size = replace(size, recipes=options.recipes or size.recipes)
    try:
        drift.check(options)
        with tempfile.TemporaryDirectory() as folder:
            facts = run(names, size, Path(folder), options)
        if options.out is not None or not options.no_anchors:
            evidence.write(options, __file__, facts)
    except AdaScaleError as error:
        print(f"predict: {error}", file=sys.stderr)
        return error.exit_code
    columns = ("what", "goal", "cases", *(f"<= {level:.0%}" for level in LEVELS), "mean error", "")
    lines = [
        (
            r["what"], r["goal"], r["count"], *(f"{w:.0%}" for w in r["within"]), f"{r['mape']:.1%}",
            ", ".join(filter(None, ("" if r["met"] is None else "met" if r["met"] else "missed", r["note"]))),
        )
        for r in facts["rows"]
    ]  # fmt: skip
    console.table("Predictions of what was never measured", columns, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
