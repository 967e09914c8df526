"""The elastic network in the headline benchmark: how it is trained, measured and deployed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import switching
import tensorflow as tf
import tf_keras
from compute import line
from timing import latencies, seconds

from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import parse
from adascale_tf.bridge import backbones
from adascale_tf.data import Dataset
from adascale_tf.graph import shapes
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Effort, Schedule, specialise, train
from adascale_tf.verbs.evolve import derive
from adascale_tf.verbs.export import write_bundle
from profiling import meters

Facts = dict[str, Any]
#: The ten structures of which one branch each, or all exits, ship; the cost of training them alone is the unit.
TEN = (
    "full", "width(0.75)", "width(0.5)", "width(0.25)", "depth(0.5)", "width(0.75)+depth(0.5)",
    "width(0.5)+depth(0.5)", "lowrank(0.5)", "lowrank(0.35)", "prune(0.75)",
)  # fmt: skip
#: What is trained for the sizes of the five hand-made networks alone: they need few branches.
FOUR = ("width(0.5)", "lowrank(0.35)", "width(0.75)+lowrank(0.35)", "separable")
#: Recipes that nobody trained, each with trained ones of its kind around or beside it.
EVOLVED = {
    "width(0.625)": ("width(0.5)", "width(0.75)"),
    "width(0.375)": ("width(0.25)", "width(0.5)"),
    "width(0.625)+depth(0.5)": ("width(0.5)+depth(0.5)", "width(0.75)+depth(0.5)"),
    "width(0.875)+depth(0.5)": ("width(0.75)+depth(0.5)", "depth(0.5)"),
    "lowrank(0.425)": ("lowrank(0.35)", "lowrank(0.5)"),
    "width(0.75)+lowrank(0.5)": ("width(0.75)+lowrank(0.35)", "width(0.75)"),
    "prune(0.5)": ("prune(0.75)",),
}
#: Distilled steps that an evolved branch gets.
EVOLVED_STEPS = 30
#: A branch is deployed if it loses at most so many points of accuracy on the validation split, and how many are.
NEAR, DEPLOYED = 6.0, 8


@dataclass(frozen=True)
class Variant:
    """A way to train what ships: which branches, after a join or not, each for how long."""

    recipes: tuple[str, ...]
    #: Whether the compressed trunks train together first.
    join: bool
    #: Share of the epochs that each structure then trains alone.
    length: float

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{'join, then ' if self.join else ''}{len(self.recipes)} branches for {self.length:.2f} of the epochs"


def exits(structures: Iterable[str], count: int) -> tuple[str, ...]:
    """All branches of some structures over a backbone of ``count`` exits; the last exit has no step."""
    return tuple(
        branch(structure, number, count) for structure in structures for number in range(1, count + 1)
    )  # fmt: skip


def branch(structure: str, number: int, count: int) -> str:
    """The recipe of a structure that ends at an exit, counted from 1."""
    if number == count:
        return structure
    return f"exit({number})" if structure == "full" else f"{structure}+exit({number})"


def of_full(recipe: str) -> bool:
    """Whether a branch is the full network, which trains first; its early exits are trained like other branches."""
    return recipe == "full"


def pretrained(dataset: Dataset, schedule: Schedule, tick: Tick) -> tuple[ElasticNetwork, Effort]:
    """The full network, trained alone: the teacher of all others, ours and the rivals."""
    tf_keras.utils.set_random_seed(schedule.seed)
    network = untrained(dataset)
    return network, train(network, dataset, replace(schedule, join=0, specialise=0), tick)


def untrained(dataset: Dataset) -> ElasticNetwork:
    """The backbone as the only branch."""
    backbone = backbones.build("resnet", dataset.input_shape, len(dataset.labels))
    return ElasticNetwork(backbone, [parse("full")])


def compressed(full: ElasticNetwork, structures: Iterable[str]) -> ElasticNetwork:
    """The structures, derived from the trained full network as it is."""
    return ElasticNetwork(full.backbone, [parse(text) for text in structures])


def joined(
    full: ElasticNetwork, structures: Iterable[str], dataset: Dataset, schedule: Schedule, tick: Tick
) -> tuple[ElasticNetwork, Effort]:
    """The structures, trained together on the full network's answers."""
    network = compressed(full, structures)
    return network, train(network, dataset, replace(schedule, pretrain=0, specialise=0), tick)


def specialised(
    start: ElasticNetwork, recipes: Sequence[str], length: float, dataset: Dataset, schedule: Schedule, tick: Tick
) -> tuple[ElasticNetwork, Effort]:
    """A network whose branches were each trained alone for a share of the epochs; ``start`` stays as it is."""
    network = start.evolved([parse(recipe) for recipe in recipes])
    shipped = [parse(recipe) for recipe in recipes if not of_full(recipe)]
    return network, specialise(network, shipped, dataset, schedule, tick, epochs=length * schedule.epochs)


def measured(network: ElasticNetwork, recipes: Iterable[str], dataset: Dataset) -> Facts:
    """MACs, and accuracy in [0, 1] on the validation and on the test split, of each branch."""
    of_trunk: dict[Any, list[str]] = {}
    for recipe in recipes:
        of_trunk.setdefault(network.trunk(parse(recipe)), []).append(recipe)
    facts: Facts = {}
    for trunk, several in of_trunk.items():
        call = tf.function(lambda x, trunk=trunk: tf.stack(trunk.call(x, training=False)), reduce_retracing=True)
        right = {
            "validation": _right(call, dataset, *dataset.validation),
            "test": _right(call, dataset, dataset.x_test, dataset.y_test),
        }
        for recipe in several:
            number = network.exit(parse(recipe)) - 1
            facts[recipe] = {
                "macs": macs(network, recipe),
                **{split: shares[number] for split, shares in right.items()},
            }
    return facts


def macs(network: ElasticNetwork, recipe: str) -> int:
    """MACs of one inference of a branch."""
    return shapes.macs(network.plan(parse(recipe)).graph)


def _right(call: Any, dataset: Dataset, x: np.ndarray, y: np.ndarray) -> list[float]:
    """The share of right answers of each exit."""
    answers = [call(tf.constant(dataset.inputs(x[i : i + 500]))).numpy().argmax(-1) for i in range(0, len(x), 500)]
    return [float(share) for share in (np.concatenate(answers, axis=1) == y).mean(1)]


def efforts(effort: Effort) -> Facts:
    """A training's effort by phase."""
    return {phase.name: asdict(phase) for phase in effort.phases}


def alone_seconds(network: ElasticNetwork, recipes: Iterable[str], dataset: Dataset, schedule: Schedule) -> Facts:
    """What training each branch alone would take, in seconds: a measured step times the number of steps."""
    steps = schedule.epochs * schedule.epoch_steps(len(dataset.x_train))
    x = tf.constant(dataset.inputs(dataset.x_train[: schedule.batch]))
    target = tf.one_hot(dataset.y_train[: schedule.batch], len(dataset.labels))
    return {
        recipe: steps * step_s(network.trunk(parse(recipe)).network(parse(recipe)), x, target) for recipe in recipes
    }  # fmt: skip


def step_s(model: tf_keras.Model, x: tf.Tensor, target: tf.Tensor) -> float:
    """Median wall time of one training step of a network, of five."""
    optimizer = tf_keras.optimizers.AdamW(1e-3)
    variables = model.trainable_variables
    optimizer.build(variables)

    def step() -> None:
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    traced = tf.function(step)
    traced()
    return median(seconds(traced) for _ in range(5))


def evolved(
    network: ElasticNetwork, known: Mapping[str, Facts], dataset: Dataset, schedule: Schedule, tick: Tick
) -> Facts:
    """Branches that nobody trained, after some distilled steps: each one's accuracy, and what its neighbours reach.

    Args:
        network: the joined network.
        known: its branches' measures.
        dataset: the data.
        schedule: how the network was trained.
        tick: progress.
    """
    count = network.trunks[0].exits
    near = {recipe: ends for recipe, ends in EVOLVED.items() if set(ends) <= set(known)}
    recipes = exits(near, count)
    begun = time.perf_counter()
    wanted = [parse(recipe) for recipe in recipes]
    new = derive(network, wanted, dataset, tick, EVOLVED_STEPS, schedule=schedule)
    spent = time.perf_counter() - begun
    branches = measured(new, recipes, dataset)
    for structure, ends in near.items():
        for number in range(1, count + 1):
            around = [known[branch(end, number, count)] for end in ends]
            points = [(log(one["macs"]), one["test"]) for one in around]
            facts = branches[branch(structure, number, count)]
            facts["between"] = line(points, log(facts["macs"]))
    return {"seconds": spent, "steps": EVOLVED_STEPS, "branches": branches}


def deployed(
    network: ElasticNetwork, known: Mapping[str, Facts], dataset: Dataset, schedule: Schedule, tick: Tick
) -> Facts:
    """Branches as .tflite files: accuracy, latency on one thread, modelled energy; a new branch, and a switch.

    Of every structure the cheapest branch near the full one's accuracy is converted to int8, the cheapest of them
    first.
    """
    floor = known["full"]["validation"] - NEAR / 100
    near = sorted((r for r, one in known.items() if one["validation"] >= floor), key=lambda r: known[r]["macs"])
    cheapest: dict[str, str] = {}
    for recipe in near:
        cheapest.setdefault(str(network.trunk(parse(recipe)).recipe), recipe)
    chosen = [recipe for recipe in cheapest.values() if recipe != "full"][:DEPLOYED]
    recipes = [parse("full"), parse("int8"), *(parse(f"{recipe}+int8") for recipe in chosen)]
    with tempfile.TemporaryDirectory() as folder:
        opened = write_bundle(network.evolved(recipes), dataset, schedule, Path(folder) / "bundle", tick)
        latency = latencies(opened)
        return {
            "branches": {
                b.recipe: {
                    "accuracy": b.accuracy.value,
                    "latency_ms": latency[b.recipe],
                    "energy_mj": meters.estimate_mj(b.cost, b.precision),
                    "macs": b.cost.macs,
                }
                for b in opened.manifest.branches
            },
            "runnable_s": seconds(lambda: _make_runnable(network, dataset, schedule, Path(folder) / "new")),
            "switch_ms": median(switching.measure(opened, 200)[switching.SWITCH]),
        }


def _make_runnable(network: ElasticNetwork, dataset: Dataset, schedule: Schedule, folder: Path) -> None:
    """From a recipe that nobody trained to its first answer: derive, measure statistics, convert, open, run."""
    small = replace(dataset, x_test=dataset.x_test[:16], y_test=dataset.y_test[:16])
    new = derive(network, [parse("width(0.625)+depth(0.5)+int8")], small, silent)
    opened = write_bundle(new, small, schedule, folder, silent)
    open_branch(opened, opened.manifest.branches[0])(small.inputs(small.x_test[:1]))
