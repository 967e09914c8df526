"""How long ``adascale --help`` takes as a whole process, against an empty Python and against importing TensorFlow.

The three run in turn, several rounds; prints medians and writes ``benchmarks/results/startup.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from adascale_tf import codec
from adascale_tf.records import quantile

COMMANDS = {
    "adascale --help": ("-m", "adascale_tf", "--help"),
    "empty Python": ("-c", "pass"),
    "import tensorflow": ("-c", "import tensorflow"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "startup.json")
    arguments = parser.parse_args()
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(arguments.rounds + 1):
        for name, command in COMMANDS.items():
            before = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            if number:  # the first round fills the file cache
                samples[name].append(time.perf_counter() - before)
    for name, values in samples.items():
        print(f"{name:20}{quantile(values, 0.5):8.3f} s")
    codec.write_text(arguments.out, codec.dump({"seconds": samples}))


if __name__ == "__main__":
    main()
