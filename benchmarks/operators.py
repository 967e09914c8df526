"""What each operator costs and saves: MACs, size, latency with XNNPACK, accuracy fresh from the trained parent.

Trains the built-in backbone on digits once, derives a branch with every operator without training it, and prints the
table of docs/operators.md. Writes ``benchmarks/results/operators.json``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import console
import evidence
import tensorflow as tf
import tf_keras
from timing import latencies

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.recipe import parse
from adascale_tf import data
from adascale_tf.bridge import backbones
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule, train
from adascale_tf.verbs.evolve import derive
from adascale_tf.verbs.export import write_bundle
from converters import flatbuffer

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "adascale_tf/operators",
    "adascale_tf/network/derivation.py",
    "adascale_tf/bridge/functional.py",
    "adascale_tf/bridge/backbones.py",
    "converters",
)
RESULTS = Path(__file__).parent / "results" / "operators.json"
#: One branch an operator, and the two backbones they belong to.
RECIPES = {
    "resnet": (
        "full", "width(0.75)", "depth(0.5)", "exit(2)", "lowrank(0.5)", "separable@stage3", "fire(0.5)", "ghost(0.5)",
        "resolution(0.5)", "prune(0.5)", "prune(0.5:4x1)", "prune(2:4)", "cluster(16)", "float16", "dynamic", "int8",
        "qat", "int16x8",
    ),
    "gru": ("full", "width(0.75)", "exit(1)", "lowrank(0.5)", "steps(0.75)", "int8"),
}  # fmt: skip


#: Of a smoke run.
FEW = {"resnet": ("full", "width(0.75)", "prune(0.5)", "int8"), "gru": ("full", "steps(0.75)")}


def measure(name: str, spec: str, epochs: int, rounds: int, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row an operator on one backbone."""
    with console.progress(False) as tick:
        dataset = data.load(spec, tick=tick)
        if name == "gru" and len(dataset.input_shape) == 3:  # rows of an image as a sequence
            images = (dataset.x_train[..., 0], dataset.x_test[..., 0])
            dataset = data.Dataset(dataset.name, dataset.labels, dataset.preprocessing, images[0], dataset.y_train,
                                   images[1], dataset.y_test)  # fmt: skip
        tf_keras.utils.set_random_seed(0)
        backbone = backbones.build(name, dataset.input_shape, len(dataset.labels))
        network = ElasticNetwork(backbone, [parse("full")])
        schedule = Schedule(epochs=epochs)
        train(network, dataset, schedule, tick)
        recipes = [parse(text) for text in wanted]
        with tempfile.TemporaryDirectory() as folder:
            evolved = derive(network, recipes, dataset, tick)
            opened = write_bundle(evolved, dataset, schedule, Path(folder) / "bundle", tick)
            latency = latencies(opened, rounds)
            branches = opened.manifest.branches
            zipped = {b.recipe: _zipped(opened.path(b.file).read_bytes(), b.signature) for b in branches}
    return [
        {
            "backbone": name,
            "recipe": b.recipe,
            "macs": b.cost.macs,
            "size_bytes": b.size_bytes,
            "zipped_bytes": zipped[b.recipe],
            "latency_ms": latency[b.recipe],
            "speedup": latency["full"] / latency[b.recipe],
            "accuracy": b.accuracy.value,
        }
        for b in branches
    ]


def _zipped(file: bytes, signature: str) -> int:
    """The branch's own part of a file, compressed as an app package would."""
    return len(zlib.compress(flatbuffer.extract(file, signature), 9))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits", help="what 'adascale build --data' takes (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=300, help="timed runs of each branch (default: %(default)s)")
    evidence.add_options(parser, RESULTS)
    arguments = parser.parse_args()
    chosen = FEW if arguments.smoke else RECIPES
    epochs, rounds = (1, 3) if arguments.smoke else (arguments.epochs, arguments.rounds)
    tf.get_logger().setLevel("ERROR")
    try:
        rows = [row for name in chosen for row in measure(name, arguments.data, epochs, rounds, chosen[name])]
        evidence.write(arguments, __file__, {"rows": rows})
    except AdaScaleError as error:
        print(f"operators: {error}", file=sys.stderr)
        return error.exit_code
    print("| backbone | recipe | MMACs | file kB | zipped kB | latency ms | faster | accuracy, untrained |")
    print("|---" * 8 + "|")
    for row in rows:
        cells = (
            row["backbone"], f"`{row['recipe']}`", f"{row['macs'] / 1e6:.2f}", f"{row['size_bytes'] / 1e3:.0f}",
            f"{row['zipped_bytes'] / 1e3:.0f}", f"{row['latency_ms']:.3f}", f"{row['speedup']:.2f}x",
            f"{row['accuracy']:.1%}",
        )  # fmt: skip
        print("| " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
