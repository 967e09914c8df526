"""The paper's table: an elastic network's branches against compressions made by hand, all trained in one run.

Same data, epochs, optimizer and machine for all; the hand-made ones (``baselines.py``) are trained alone by plain
Keras. Prints the table with the goals, and writes ``benchmarks/results/headline.json``.

    python benchmarks/headline.py --short --data cifar10.zip    one seed, 3 epochs, 20,000 images: under 20 minutes
    python benchmarks/headline.py --data cifar10.zip            three seeds, mean and spread, 30 epochs: hours
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import console
import evidence
import numpy as np
import switching
import tensorflow as tf
import tf_keras
from baselines import BASELINES, Trained, Training, accuracy
from timing import latencies, seconds

from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import Recipe, parse
from adascale_tf import data
from adascale_tf.bridge import backbones
from adascale_tf.data import Dataset
from adascale_tf.graph import shapes
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.network.trunk import Trunk
from adascale_tf.training import Effort, Schedule, train
from adascale_tf.verbs.evolve import derive
from adascale_tf.verbs.export import write_bundle

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "adascale_tf/training",
    "adascale_tf/operators",
    "adascale_tf/network",
    "adascale_tf/bridge/functional.py",
    "adascale_tf/bridge/backbones.py",
    "converters",
    "adascale_runtime",
    "benchmarks/baselines.py",
)
RESULTS = Path(__file__).parent / "results" / "headline.json"
SHORT_EPOCHS, FULL_EPOCHS = 3, 30
#: Training images of the short run, the same for all.
SHORT_IMAGES = 20_000
BATCH = 128
#: The structures that are trained together; each has an exit at the end of every stage.
STRUCTURES = (
    "full", "width(0.75)", "width(0.5)", "width(0.25)", "depth(0.5)", "width(0.75)+depth(0.5)",
    "width(0.5)+depth(0.5)", "lowrank(0.5)", "lowrank(0.35)", "prune(0.75)",
)  # fmt: skip
#: Recipes that nobody trained, each between two trained ones of its kind.
EVOLVED = {
    "width(0.625)": ("width(0.5)", "width(0.75)"),
    "width(0.625)+depth(0.5)": ("width(0.5)+depth(0.5)", "width(0.75)+depth(0.5)"),
    "lowrank(0.425)": ("lowrank(0.35)", "lowrank(0.5)"),
    "prune(0.5)": ("prune(0.75)", "full"),
}
#: Of a smoke run.
FEW_STRUCTURES = ("full", "width(0.75)", "width(0.5)")
FULL_ALONE = "full, alone"
Value = Callable[[dict[str, Any]], float]


@dataclass(frozen=True)
class Point:
    """A branch: its accuracy in [0, 1] on the test split, and the MACs of one inference."""

    recipe: str
    macs: int
    accuracy: float


@dataclass(frozen=True)
class Row:
    """A line of the table: a goal, and what was reached with each seed."""

    quantity: str
    goal: str
    reached: tuple[float, ...]
    unit: str
    met: bool


def run(
    dataset: Dataset, structures: Sequence[str], epochs: int, seed: int, full_run: bool, tick: Tick
) -> dict[str, Any]:
    """Everything for one seed: trains the baselines and the elastic network, and measures."""
    between = {recipe: ends for recipe, ends in EVOLVED.items() if set(ends) <= set(structures)}
    classes = len(dataset.labels)
    training = Training(dataset.x_train, dataset.y_train, classes, epochs, BATCH, seed=seed, tick=tick)
    schedule = Schedule(epochs=epochs, batch=BATCH, flip=True, sampled=2, seed=seed)
    made = {}
    for name, make in BASELINES.items():
        made[name] = make(training)
    hand_made = {name: accuracy(one.model, dataset.x_test, dataset.y_test) for name, one in made.items()}
    network, effort = elastic(dataset, structures, schedule, tick)
    points = [point for trunk in network.trunks for point in branches(trunk, dataset)]
    begun = time.perf_counter()
    evolved = derive(network, [parse(r) for r in between], dataset, silent)
    derive_s = (time.perf_counter() - begun) / len(between)
    new = {r: branches(evolved.trunk(parse(r)), dataset)[-1] for r in between}
    trained = _trained_alike(dataset, schedule, points, new, full_run, tick)
    deployed = deploy(network, dataset, schedule, points, tick)
    deployed["derive_s"] = derive_s
    return {
        "seed": seed,
        "hand_made": {n: {**_facts(one), "accuracy": hand_made[n]} for n, one in made.items()},
        "branches": [asdict(point) for point in points],
        "pairs": pairs(made, hand_made, points),
        "effort": asdict(effort),
        "alone": alone(network, dataset, epochs, made[FULL_ALONE]),
        "evolved": {r: {"accuracy": new[r].accuracy, "trained": trained[r]} for r in between},
        "deployed": deployed,
    }


def _some(dataset: Dataset, count: int) -> Dataset:
    """The data with at most ``count`` training examples, drawn at random."""
    index = np.sort(np.random.default_rng(0).permutation(len(dataset.x_train))[:count])
    return replace(dataset, x_train=dataset.x_train[index], y_train=dataset.y_train[index])


def elastic(dataset: Dataset, recipes: Sequence[str], schedule: Schedule, tick: Tick) -> tuple[ElasticNetwork, Effort]:
    """The elastic network over the same backbone, trained for all branches at once."""
    tf_keras.utils.set_random_seed(schedule.seed)
    backbone = backbones.build("resnet", dataset.input_shape, len(dataset.labels))
    network = ElasticNetwork(backbone, [parse(text) for text in recipes])
    return network, train(network, dataset, schedule, lambda what, *rest: tick(f"elastic: {what}", *rest))


def branches(trunk: Trunk, dataset: Dataset) -> list[Point]:
    """The branches of a trunk, one an exit, with their accuracy on the test split."""
    call = tf.function(lambda x: trunk.call(x, training=False))
    x = dataset.inputs(dataset.x_test)
    outputs = [call(tf.constant(x[i : i + 500])) for i in range(0, len(x), 500)]
    found = []
    for number, logits in enumerate(zip(*outputs, strict=True), start=1):
        last = number == len(outputs[0])
        recipe = Recipe((*trunk.recipe.steps, *(() if last else parse(f"exit({number})").steps)))
        right = np.concatenate([np.asarray(out) for out in logits]).argmax(-1) == dataset.y_test
        found.append(Point(str(recipe), _macs(trunk, recipe), float(right.mean())))
    return found


def _macs(trunk: Trunk, recipe: Recipe) -> int:
    return shapes.macs(trunk.branch_plan(recipe).graph)


def pairs(made: dict[str, Trained], hand_made: dict[str, float], points: list[Point]) -> list[dict[str, Any]]:
    """For each hand-made network our most accurate branch of at most its MACs."""
    found = []
    for name, one in made.items():
        if name != FULL_ALONE:
            ours = max((p for p in points if p.macs <= one.macs), key=lambda p: p.accuracy)
            found.append(
                {
                    "hand_made": name,
                    "macs": one.macs,
                    "effective_macs": one.effective_macs,
                    "accuracy": hand_made[name],
                    "branch": ours.recipe,
                    "branch_macs": ours.macs,
                    "branch_accuracy": ours.accuracy,
                    "points": 100 * (ours.accuracy - hand_made[name]),
                }
            )
    return found


def alone(network: ElasticNetwork, dataset: Dataset, epochs: int, full: Trained) -> dict[str, float]:
    """What training each branch alone would take: MACs counted, seconds from measured steps times their number."""
    steps = epochs * (len(dataset.x_train) // BATCH)
    x = tf.constant(dataset.inputs(dataset.x_train[:BATCH]))
    target = tf.one_hot(dataset.y_train[:BATCH], len(dataset.labels))
    macs = wall_s = 0.0
    count = 0
    for trunk in network.trunks:
        for number in range(1, len(network.whole.graph.outputs) + 1):
            recipe = Recipe((*trunk.recipe.steps, *parse(f"exit({number})").steps))
            macs += 3.0 * BATCH * steps * _macs(trunk, recipe)
            wall_s += steps * _step_s(trunk.network(recipe), x, target)
            count += 1
    return {"branches": count, "macs": macs, "seconds": wall_s, "full_seconds": full.seconds}


def _step_s(model: tf_keras.Model, x: tf.Tensor, target: tf.Tensor) -> float:
    """Median wall time of one training step of a network, of five."""
    optimizer = tf_keras.optimizers.AdamW(1e-3)
    variables = model.trainable_variables
    optimizer.build(variables)

    def step() -> None:
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )

    traced = tf.function(step)
    traced()
    return median(seconds(traced) for _ in range(5))


def _trained_alike(
    dataset: Dataset, schedule: Schedule, points: list[Point], new: dict[str, Point], full_run: bool, tick: Tick
) -> dict[str, float]:
    """What the evolved recipes reach when they are trained with the rest.

    The full run trains them, in a second elastic network. The short one takes the line between the trained branches on
    both sides, over MACs (or their middle where those are equal), which is an estimate.
    """
    if full_run:
        network, _ = elastic(dataset, [*STRUCTURES, *EVOLVED], schedule, tick)
        return {r: branches(network.trunk(parse(r)), dataset)[-1].accuracy for r in EVOLVED}
    known = {point.recipe: point for point in points}
    found = {}
    for recipe in new:
        low, high = EVOLVED[recipe]
        a, b = known[low], known[high]
        share = (new[recipe].macs - a.macs) / (b.macs - a.macs) if b.macs != a.macs else 0.5
        found[recipe] = a.accuracy + share * (b.accuracy - a.accuracy)
    return found


def deploy(
    network: ElasticNetwork, dataset: Dataset, schedule: Schedule, points: list[Point], tick: Tick
) -> dict[str, Any]:
    """The branches as .tflite files: accuracy and latency on one thread, time to a runnable branch, time to switch."""
    floor = points[len(network.whole.graph.outputs) - 1].accuracy - 0.06
    cheap = sorted((p for p in points if p.accuracy >= floor), key=lambda p: p.macs)[:6]
    recipes = [Recipe(), parse("int8"), *(parse(f"{p.recipe}+int8") for p in cheap if p.recipe != "full")]
    with tempfile.TemporaryDirectory() as folder:
        opened = write_bundle(network.evolved(recipes), dataset, schedule, Path(folder) / "bundle", tick)
        latency = latencies(opened)
        found: dict[str, Any] = {
            b.recipe: {"accuracy": b.accuracy.value, "latency_ms": latency[b.recipe], "macs": b.cost.macs}
            for b in opened.manifest.branches
        }
        runnable = seconds(lambda: _make_runnable(network, dataset, schedule, Path(folder) / "new"))
        return {
            "branches": found,
            "runnable_s": runnable,
            "switch_ms": median(switching.measure(opened, 200)[switching.SWITCH]),
        }


def _make_runnable(network: ElasticNetwork, dataset: Dataset, schedule: Schedule, folder: Path) -> None:
    """From a recipe that nobody trained to its first answer: derive, measure statistics, convert, open, run."""
    small = replace(dataset, x_test=dataset.x_test[:16], y_test=dataset.y_test[:16])
    recipe = parse("width(0.625)+depth(0.5)+int8")
    opened = write_bundle(derive(network, [recipe], small, silent), small, schedule, folder, silent)
    open_branch(opened, opened.manifest.branches[0])(small.inputs(small.x_test[:1]))


def _facts(one: Trained) -> dict[str, Any]:
    return {k: v for k, v in vars(one).items() if k not in ("name", "model")}


def table(runs: list[dict[str, Any]], full_run: bool) -> list[Row]:
    """The lines of the table, from every seed's facts."""

    def row(
        quantity: str, goal: str, unit: str, value: Callable[[dict[str, Any]], float], met: Callable[[float], bool]
    ) -> Row:
        reached = tuple(value(one) for one in runs)
        return Row(quantity, goal, reached, unit, met(mean(reached)))

    def speedup(one: dict[str, Any]) -> float:
        measured = one["deployed"]["branches"]
        full = measured["full"]
        near = [b for b in measured.values() if b["accuracy"] > full["accuracy"] - 0.04]
        return float(full["latency_ms"] / min(b["latency_ms"] for b in near))

    how = "trained with the rest" if full_run else "between its trained neighbours"
    return [
        row("accuracy against hand-made, at most its MACs", ">= +5.1", "points",
            lambda r: mean(p["points"] for p in r["pairs"]), lambda v: v >= 5.1),
        row("MACs trained, all branches against each alone", "<= -75", "%",
            lambda r: 100 * (r["effort"]["macs"] / r["alone"]["macs"] - 1), lambda v: v <= -75),
        row("wall time of training against each alone", "<= -75", "%",
            lambda r: 100 * (r["effort"]["seconds"] / r["alone"]["seconds"] - 1), lambda v: v <= -75),
        row("latency, cheapest branch under 4 points of loss", ">= 12", "x", speedup, lambda v: v >= 12),
        row("elastic step against Keras fit, MACs trained/s", ">= 0.85", "x", _throughput, lambda v: v >= 0.85),
        row("new recipe to runnable branch", "<= 10", "s", lambda r: r["deployed"]["runnable_s"], lambda v: v <= 10),
        row("decision + switch between existing branches", "< 1", "ms",
            lambda r: r["deployed"]["switch_ms"], lambda v: v < 1),
        row(f"evolved recipe, worst loss against {how}", "<= 2", "points",
            lambda r: max(100 * (e["trained"] - e["accuracy"]) for e in r["evolved"].values()), lambda v: v <= 2),
    ]  # fmt: skip


def _throughput(one: dict[str, Any]) -> float:
    full = one["hand_made"][FULL_ALONE]
    effort = one["effort"]
    return float(effort["joint_macs"] / effort["joint_seconds"] / (full["train_macs"] / full["seconds"]))


def show(rows: list[Row], runs: list[dict[str, Any]]) -> None:
    """Print the table, and what is behind its first line."""
    lines = []
    for row in rows:
        spread = f" ± {pstdev(row.reached):.2f}" if len(row.reached) > 1 else ""
        reached = f"{mean(row.reached):+.2f}{spread} {row.unit}" if row.unit != "ms" else f"{mean(row.reached):.4f} ms"
        lines.append((row.quantity, f"{row.goal} {row.unit}", reached, "met" if row.met else "missed"))
    console.table("Headline", ("quantity", "goal", "reached", ""), lines)
    for one in runs:
        pairs_ = [
            (
                p["hand_made"], f"{p['macs'] / 1e6:.2f}", f"{p['accuracy']:.2%}", p["branch"],
                f"{p['branch_macs'] / 1e6:.2f}", f"{p['branch_accuracy']:.2%}", f"{p['points']:+.2f}",
            )
            for p in one["pairs"]
        ]  # fmt: skip
        columns = ("made by hand, trained alone", "MMACs", "accuracy", "our branch", "MMACs", "accuracy", "points")
        console.table(f"Accuracy, seed {one['seed']}", columns, pairs_)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="one seed, 3 epochs, 20,000 images: 20 minutes at most")
    parser.add_argument("--data", help="what 'adascale build --data' takes; the committed figures are of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=None, help=f"default: {FULL_EPOCHS}, with --short {SHORT_EPOCHS}")
    parser.add_argument("--seeds", default=None, help="comma-separated; default: 0,1,2, with --short 0")
    evidence.add_options(parser, RESULTS)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.short, arguments.data, arguments.epochs = True, arguments.data or "digits", arguments.epochs or 2
    if arguments.data is None:
        parser.error("--data is missing; give images as a folder or .zip of classes, or 'digits'")
    structures = FEW_STRUCTURES if arguments.smoke else STRUCTURES
    epochs = arguments.epochs or (SHORT_EPOCHS if arguments.short else FULL_EPOCHS)
    seeds = [int(s) for s in (arguments.seeds or ("0" if arguments.short else "0,1,2")).split(",")]
    tf.get_logger().setLevel("ERROR")
    begun = time.perf_counter()
    runs: list[dict[str, Any]] = []
    try:
        with console.progress(False) as tick:
            dataset = data.load(arguments.data, tick=tick)
            if arguments.short:
                dataset = _some(dataset, SHORT_IMAGES)
            for seed in seeds:
                runs.append(run(dataset, structures, epochs, seed, not arguments.short, tick))
        rows = table(runs, not arguments.short)
        facts = {
            "data": dataset.name,
            "epochs": epochs,
            "train_images": len(dataset.x_train),
            "short": arguments.short,
            "seconds": time.perf_counter() - begun,
            "rows": [asdict(row) for row in rows],
            "runs": runs,
        }
        place = evidence.write(arguments, __file__, facts)
    except AdaScaleError as error:
        print(f"headline: {error}", file=sys.stderr)
        return error.exit_code
    show(rows, runs)
    print(f"{time.perf_counter() - begun:.0f} s in all." + (f" Raw figures are in {place}." if place else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
