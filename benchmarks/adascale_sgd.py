"""AdaScale SGD against the identity rule and linear scaling, at 1, 4 and 16 batches a step on one machine.

After the experiments of Johnson et al. (ICML 2020): a learning rate is tuned once, for one batch a step, and each rule
of ``scaling_rules.py`` says what becomes of it when a step averages S. As a tuned rate is a matter of luck, and linear
scaling's quality hangs on it, the rules are tried at every rate of the grid, too. Prints the tables with the goals, and
writes ``benchmarks/results/adascale_sgd.json``.

    python benchmarks/adascale_sgd.py            digits, three seeds: under 10 minutes on two cores
    python benchmarks/adascale_sgd.py --full     ten seeds
    python benchmarks/adascale_sgd.py --data CIFAR10.zip --iterations 2000 --out FILE       10,000 images of 16 x 16
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import console
import evidence
import numpy as np
import tensorflow as tf
from goals import Row, show
from scaling_rules import ADASCALE, BATCH, IDENTITY, LINEAR, MOMENTUM, WARM, Outcome, Task, Trial, train

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick
from adascale_tf import data
from adascale_tf.data import dataset

#: What its figures are of; a change of it makes them stale.
MEASURES = ("adascale_tf/training/adascale_sgd.py", "benchmarks/scaling_rules.py")
RESULTS = Path(__file__).parent / "results" / "adascale_sgd.json"
#: At one batch a step the rules are one; two of them show that AdaScale's gain then is 1.
RULES = {1: (IDENTITY, ADASCALE), 4: (IDENTITY, ADASCALE, LINEAR, WARM), 16: (IDENTITY, ADASCALE, LINEAR, WARM)}
#: The rates that are tried, at one batch a step and with seed 0.
GRID = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: What is tried at every rate of the grid: rule, batches a step.
SWEPT = ((IDENTITY, 1), (ADASCALE, 16), (LINEAR, 16), (WARM, 16))
ITERATIONS = 1000
IMAGES = 10_000
#: Images are made this wide and high, so that a batch takes a millisecond or two.
SIDE = 16
#: Share of the training images on which rates are judged, and which do not train meanwhile.
HELD_OUT = 0.2
#: Points of accuracy that more batches a step may cost before quality counts as lost.
TOLERANCE = 1.0


def prepare(spec: str, images: int, tick: Tick) -> Task:
    """The data that ``spec`` names, at most ``images`` to train on: small, with mean 0 and deviation 1.

    BadInput for data that are no images.
    """
    found = data.load(spec, tick=tick)
    if found.x_train.ndim != 4:
        raise BadInput(f"{spec} holds examples of shape {found.input_shape}; give images (height, width, channels).")
    index = np.sort(np.random.default_rng(0).permutation(len(found.x_train))[:images])
    found = replace(found, x_train=found.x_train[index], y_train=found.y_train[index])
    found = dataset.fit(found, {"height": SIDE, "width": SIDE, "channels": found.input_shape[-1]})
    middle, spread = found.x_train.mean(), found.x_train.std()
    x_train, x_test = (((x - middle) / spread).astype(np.float32) for x in (found.x_train, found.x_test))
    return Task(len(found.labels), x_train, found.y_train, x_test, found.y_test)


def held_out(task: Task) -> Task:
    """The training images alone, a share of them to judge on: the test split has no say in the rate."""
    order = np.random.default_rng(1).permutation(len(task.x_train))
    test, train = np.split(order, [max(1, int(HELD_OUT * len(order)))])
    return Task(task.classes, task.x_train[train], task.y_train[train], task.x_train[test], task.y_train[test])


def tune(task: Task, iterations: int, grid: Sequence[float], tick: Tick) -> tuple[float, list[Outcome]]:
    """The rate with the highest accuracy on held-out images, one batch a step, seed 0; and all that were tried.

    Of equally good ones it is the lowest, with which linear scaling has it easiest.
    """
    judged = held_out(task)
    tried = []
    for number, rate in enumerate(grid):
        tick("tune the rate", number, len(grid), "")
        tried.append(train(judged, Trial(IDENTITY, 1, rate, iterations, seed=0)))
    return max(tried, key=lambda one: (one.accuracy, -one.trial.rate)).trial.rate, tried


def compare(task: Task, rate: float, iterations: int, seeds: Sequence[int], tick: Tick) -> list[Outcome]:
    """All rules at all scales, seed after seed, in an order that is shuffled for each."""
    found: list[Outcome] = []
    total = len(seeds) * sum(len(rules) for rules in RULES.values())
    for seed in seeds:
        trials = [Trial(rule, scale, rate, iterations, seed) for scale, rules in RULES.items() for rule in rules]
        random.Random(seed).shuffle(trials)
        for trial in trials:
            tick("train", len(found), total, f"{trial.rule}, S = {trial.scale}, seed {seed}")
            found.append(train(task, trial))
    return found


def sweep(task: Task, iterations: int, grid: Sequence[float], tick: Tick) -> list[Outcome]:
    """One batch a step and the rules at sixteen, at every rate of the grid, with seed 0."""
    trials = [Trial(rule, scale, rate, iterations, seed=0) for rate in grid for rule, scale in SWEPT]
    found: list[Outcome] = []
    for trial in trials:
        tick("sweep the rate", len(found), len(trials), f"{trial.rule}, S = {trial.scale}, rate {trial.rate:g}")
        found.append(train(task, trial))
    return found


def summary(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """A line for each scale and rule: means over seeds, and the spread of the accuracy and of the gain."""
    outcomes = list(outcomes)
    lines = []
    for scale, rules in RULES.items():
        for rule in rules:
            runs = [one for one in outcomes if (one.trial.scale, one.trial.rule) == (scale, rule)]
            accuracies = [one.accuracy for one in runs]
            line: dict[str, Any] = {"scale": scale, "rule": rule, "accuracy": mean(accuracies)}
            line |= {"least": min(accuracies), "greatest": max(accuracies)}
            line |= {key: mean(getattr(one, key) for one in runs) for key in ("loss", "steps", "images", "seconds")}
            line["speedup"] = runs[0].trial.iterations / line["steps"]
            if rule == ADASCALE:
                means, least, greatest = zip(*(one.gain for one in runs), strict=True)
                line["gain"] = (mean(means), min(least), max(greatest))
            lines.append(line)
    return lines


def goals(lines: list[dict[str, Any]], swept: list[Outcome]) -> list[Row]:
    """What the paper found, as goals. Linear scaling may choose its best rate of the sweep, by the test split even."""
    by = {(line["rule"], line["scale"]): line for line in lines}

    def points(rule: str, scale: int, against: tuple[str, int] = (IDENTITY, 1)) -> float:
        return float(100 * (by[rule, scale]["accuracy"] - by[against]["accuracy"]))

    rows = []
    for scale in (4, 16):
        reached = points(ADASCALE, scale)
        name = f"AdaScale against one batch a step, S = {scale}, points"
        rows.append(Row(name, f">= -{TOLERANCE:g}", reached, reached >= -TOLERANCE))
    for rule in (LINEAR, WARM):
        reached = points(rule, 16)
        name = f"{rule} against one batch a step, S = 16, points"
        rows.append(Row(name, f"< -{TOLERANCE:g}, it degrades", reached, reached < -TOLERANCE))
    best = max(100 * one.accuracy for one in swept if one.trial.rule in (LINEAR, WARM))
    reached = 100 * by[ADASCALE, 16]["accuracy"] - best
    rows.append(Row("AdaScale against linear at its own best rate, S = 16, points", "> 0", reached, reached > 0))
    for scale in (4, 16):
        reached = by[ADASCALE, scale]["speedup"]
        rows.append(Row(f"AdaScale's steps, S = {scale}, fewer by", "> 1, <= S", reached, 1 < reached <= scale))
    outside = sum(not 1 <= by[ADASCALE, scale]["gain"][i] <= scale for scale in RULES for i in (1, 2))
    outside += sum(not 1 <= gain <= one.trial.scale for one in swept for gain in one.gain)
    rows.append(Row("extreme gains outside [1, S]", "0", outside, outside == 0))
    return rows


def print_lines(title: str, lines: list[dict[str, Any]], swept: list[Outcome]) -> None:
    """Print the tables of the rules."""
    columns = ("rule", "S", "accuracy", "least", "greatest", "train loss", "steps", "fewer by", "images", "s", "gain")
    shown = []
    for line in lines:
        gain = "{:.2f} in [{:.2f}, {:.2f}]".format(*line["gain"]) if "gain" in line else "-"
        accuracies = (f"{line[key]:.2%}" for key in ("accuracy", "least", "greatest"))
        steps = (f"{line['steps']:,.0f}", f"{line['speedup']:.1f}x", f"{line['images']:,.0f}", f"{line['seconds']:.1f}")
        shown.append((line["rule"], line["scale"], *accuracies, f"{line['loss']:.4f}", *steps, gain))
    console.table(title, columns, shown)
    by = {(one.trial.rate, one.trial.rule): one for one in swept}
    rates = [
        (f"{rate:g}", *(f"{by[rate, rule].accuracy:.2%}" for rule, _ in SWEPT))
        for rate in sorted({rate for rate, _ in by})
    ]
    names = ("rate at S = 1", *(f"{rule}, S = {scale}" for rule, scale in SWEPT))
    console.table("Accuracy at every rate, seed 0", names, rates)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="three seeds; the default")
    parser.add_argument("--full", action="store_true", help="ten seeds")
    parser.add_argument("--seeds", default=None, help="comma-separated; default: 0,1,2")
    parser.add_argument("--data", default="digits", help="images, as 'adascale build --data' takes them")
    parser.add_argument("--images", type=int, default=IMAGES, help="to train on, at most (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="T (default: %(default)s)")
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    grid = GRID
    if options.smoke:
        options.seeds, options.images, options.iterations, grid = "0", 200, 48, (0.1,)
    seeds = [int(s) for s in options.seeds.split(",")] if options.seeds else list(range(10 if options.full else 3))
    tf.get_logger().setLevel("ERROR")
    # The operators are too small for more threads; branches of the graph run side by side.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    begun = time.perf_counter()
    try:
        if options.iterations < max(RULES) or options.images < BATCH:
            raise BadInput(
                f"Give --iterations of at least {max(RULES)}, the largest S, and --images of at least {BATCH}."
            )
        with console.progress(False) as tick:
            task = prepare(options.data, options.images, tick)
            rate, tried = tune(task, options.iterations, grid, tick)
            outcomes = compare(task, rate, options.iterations, seeds, tick)
            swept = sweep(task, options.iterations, grid, tick)
        lines = summary(outcomes)
        rows = goals(lines, swept)
        facts = {
            "data": options.data if options.data == "digits" else Path(options.data).stem,
            "train_images": len(task.x_train), "test_images": len(task.x_test), "side": SIDE, "batch": BATCH,
            "momentum": MOMENTUM, "iterations": options.iterations, "rate": rate, "seeds": seeds,
            "seconds": time.perf_counter() - begun,
            "tuning": [{"rate": t.trial.rate, "accuracy": t.accuracy, "loss": t.loss} for t in tried],
            "rows": [asdict(row) for row in rows], "lines": lines, "runs": outcomes, "swept": swept,
        }  # fmt: skip
        place = evidence.write(options, __file__, facts)
    except AdaScaleError as error:
        print(f"adascale_sgd: {error}", file=sys.stderr)
        return error.exit_code
    title = f"{facts['data']}, T = {options.iterations:,}, rate {rate:g} tuned at S = 1, {len(seeds)} seeds"
    print_lines(title, lines, swept)
    show("AdaScale SGD", rows)
    print(f"{time.perf_counter() - begun:.0f} s in all." + (f" Raw figures are in {place}." if place else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
