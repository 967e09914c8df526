"""How long ``adascale --help`` takes as a whole process, against an empty Python and against importing TensorFlow.

The three run in turn, several rounds; prints medians and writes ``benchmarks/results/startup.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import evidence

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.records import quantile

#: What its figures are of; a change of it makes them stale.
MEASURES = ("adascale_tf/cli",)
RESULTS = Path(__file__).parent / "results" / "startup.json"
COMMANDS = {
    "adascale --help": ("-m", "adascale_tf", "--help"),
    "empty Python": ("-c", "pass"),
    "import tensorflow": ("-c", "import tensorflow"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    evidence.add_options(parser, RESULTS)
    arguments = parser.parse_args()
    rounds = 1 if arguments.smoke else arguments.rounds
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            before = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            if number:  # the first round fills the file cache
                samples[name].append(time.perf_counter() - before)
    for name, values in samples.items():
        print(f"{name:20}{quantile(values, 0.5):8.3f} s")
    try:
        evidence.write(arguments, __file__, {"seconds": samples})
    except AdaScaleError as error:
        print(f"startup: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
