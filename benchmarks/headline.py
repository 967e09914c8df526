"""The paper's table: branches of an elastic network against compressions made by hand, all trained in one run.

For every seed, on the same data, by the same optimizer, on the same machine:

1. five hand-made compressions and the full network, each alone from scratch by plain Keras (``baselines.py``);
2. ours: the full network, which then teaches; a join; and several ways to train what ships (``ours.py``);
3. rivals with the same teacher: the five hand-made networks, and a sample of our own branches' networks, from scratch
   (``rivals.py``), at several lengths: accuracy against total compute (``compute.py``);
4. a wider backbone, a recurrent one and a model as a user brings it (``networks.py``).

Branches are chosen on images that nobody trained on, and the test split only reports. A pair is a hand-made network
and our branch of at most its MACs that is best there. Cost is counted in MACs trained, as a share of training each of
thirty branches alone. A goal is met only if every seed meets it (``headline_rows.py``).

    python benchmarks/headline.py --short --data cifar10.zip --sounds spoken_digits.zip

takes one seed, 3 epochs and 12,000 images; without ``--short`` three seeds, 30 epochs and 45,000 images, many hours.

A killed run goes on with the same command: its finished parts lie beside the result in ``NAME.partial``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import console
import evidence
import goals
import headline_rows
import headline_tables
import networks
import tensorflow as tf
from headline_parts import FULL, SHORT, SMOKE, Seed, Size, split
from parts import Parts

from adascale_runtime.errors import AdaScaleError
from adascale_tf import data

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "adascale_tf/training",
    "adascale_tf/operators",
    "adascale_tf/network",
    "adascale_tf/bridge/functional.py",
    "adascale_tf/bridge/backbones.py",
    "converters",
    "adascale_runtime/engines",
    "adascale_runtime/seams",
    "benchmarks/baselines.py",
    "benchmarks/headline_parts.py",
    "benchmarks/networks.py",
    "benchmarks/ours.py",
    "benchmarks/rivals.py",
)
RESULTS = Path(__file__).parent / "results" / "headline.json"
Facts = dict[str, Any]


def measure(options: argparse.Namespace, size: Size) -> tuple[Path | None, Facts, list[goals.Row]]:
    """Run every seed, write the result, and remove the parts it was made from."""
    with ExitStack() as stack:
        tick = stack.enter_context(console.progress(False))
        out = options.out or (None if options.smoke else options.results)
        folder = out.with_suffix(".partial") if out else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            "size": asdict(size),
            "data": options.data,
            "sounds": options.sounds,
            "digest": evidence.digest(Path(__file__)),
        }
        parts = Parts(folder, settings)
        dataset = split(data.load(options.data, tick=tick), size)
        runs = [Seed(dataset, size, seed, parts, tick).run(options) for seed in size.seeds]
        rows = headline_rows.rows(runs)
        rows += networks.rows([one["networks"] for one in runs])
        facts = {
            "data": dataset.name,
            "epochs": size.epochs,
            "train_images": len(dataset.x_train),
            "test_images": len(dataset.x_test),
            "short": options.short,
            "seconds": parts.seconds,
            "rows": [asdict(row) for row in rows],
            "runs": runs,
        }
        place = evidence.write(options, __file__, facts)
        parts.remove()
    return place, facts, rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="one seed, 3 epochs, 12,000 images: 20 minutes at most")
    parser.add_argument("--data", help="what 'adascale build --data' takes; the committed figures are of CIFAR-10")
    parser.add_argument("--sounds", help="the same, of sounds; without it no recurrent network is trained")
    parser.add_argument("--epochs", type=int, default=None, help=f"default: {FULL.epochs}, with --short {SHORT.epochs}")
    parser.add_argument("--seeds", default=None, help="comma-separated; default: 0,1,2, with --short 0")
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    if options.smoke:
        options.short, options.data = True, options.data or "digits"
    if options.data is None:
        parser.error("--data is missing; give images as a folder or .zip of classes, or 'digits'")
    size = SMOKE if options.smoke else SHORT if options.short else FULL
    size = replace(size, epochs=options.epochs or size.epochs)
    if options.seeds:
        size = replace(size, seeds=tuple(int(seed) for seed in options.seeds.split(",")))
    tf.get_logger().setLevel("ERROR")
    begun = time.perf_counter()
    try:
        place, facts, rows = measure(options, size)
    except AdaScaleError as error:
        print(f"headline: {error}", file=sys.stderr)
        return error.exit_code
    goals.show("Headline", rows)
    for table in headline_tables.tables(facts):
        console.table(table.title, table.columns, table.rows)
    print(headline_tables.uncertainty(facts))
    print(f"{time.perf_counter() - begun:.0f} s in all." + (f" Raw figures are in {place}." if place else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
