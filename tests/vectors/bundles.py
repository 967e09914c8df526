"""Bundles for the tests of the Kotlin runtime: ``python -m tests.vectors.bundles OUT`` writes them within a minute.

They go into the folder ``bundles`` of OUT, beside what the other modules here write.
``digits``: branches of several precisions, trained for an epoch, with the outputs that LiteRT gives for its samples.
``tiny``: ``full`` (accuracy 0.9) costs far more than ``half`` (0.8), which costs more than ``tiny`` (0.6).
``poisoned``: as ``tiny``, but the most accurate branch answers NaN.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fixtures import tiny_networks

RECIPES = "full,float16,int8,prune(0.5)+dynamic,width(0.5),width(0.25)+exit(1)+int8"


def write(out: Path) -> None:
    """Write all bundles, into the new folder ``bundles``."""
    from adascale_tf import data
    from adascale_tf.verbs.build import build
    from adascale_tf.verbs.training import Training

    folder = out / "bundles"
    models = {
        "full": tiny_networks.convert(4, 32),
        "half": tiny_networks.convert(2, 16),
        "tiny": tiny_networks.convert(1, 2),
        "poisoned": tiny_networks.convert(1, 2, poison=True),
    }
    for name, accuracies in {
        "tiny": {"full": 0.9, "half": 0.8, "tiny": 0.6},
        "poisoned": {"poisoned": 0.99, "half": 0.8, "tiny": 0.6},
    }.items():
        tiny_networks.write_bundle(folder / name, {key: models[key] for key in accuracies}, accuracies)
    build(data.load("digits"), folder / "digits", recipes=RECIPES, training=Training(epochs=1))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
