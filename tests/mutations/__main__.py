"""Damage every format in seeded ways and give it to the commands that read it.

``python -m tests.mutations --cases 5000 --seed 1`` runs all; ``--only FORMAT --case N`` repeats one and shows it. Each
case must end with exit code 0, or with a sentence and exit code 1 or 2: no traceback, no death of the process, no hang.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations import driver, goods, worker
from tests.mutations.formats import FORMATS, Phone


def main() -> int:
    """Run the cases that the arguments ask for; 1 if any of them ended otherwise than it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=sorted(FORMATS), action="append", help="this format; can be repeated")
    parser.add_argument("--fast", action="store_true", help="only formats that need neither TensorFlow nor a phone")
    parser.add_argument("--case", type=int, help="with --only: this case alone, in this process, with its files kept")
    parser.add_argument("--goods", type=Path, help="keep the undamaged files here, and use them if they are there")
    parser.add_argument("--bundle", type=Path, help="make the goods of this bundle of digits; none is built")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutations.") as folder:
        place = options.goods or Path(folder) / "goods"
        if not (place / "messages.log").exists():
            begun = time.monotonic()
            goods.make(place, options.bundle)
            print(f"Made the undamaged files in {time.monotonic() - begun:.0f} s.", flush=True)
        place = place.resolve()
        if options.case is not None:
            return one(place, options.only[0], options.case, options.seed)
        names = options.only or (driver.fast() if options.fast else list(FORMATS))
        names = [name for name in names if name != "checkpoint" or (place / "checkpoint").is_dir()]
        result = driver.run(
            place, driver.choose(options.cases, options.seed, names), options.seed, options.workers, shown
        )
    return show(result, options.seed)


def shown(done: int, total: int) -> None:
    """Say how far it is, ten times."""
    if done * 10 // total != (done - 1) * 10 // total:
        print(f"{done} of {total}", flush=True)


def one(place: Path, name: str, number: int, seed: int) -> int:
    """Repeat one case, with its files kept to be looked at."""
    folder = Path(tempfile.mkdtemp(prefix="mutation."))
    answer = worker.case(place, name, number, seed, Phone(Path(tempfile.mkdtemp(prefix="phone."))), keep=folder)
    print(f"files: {folder}\ncommand: {' '.join(answer['command'])}\n{answer['verdict']} in {answer['seconds']} s")
    print(answer["details"])
    return int(answer["verdict"] not in ("worked", "refused"))


def show(result: driver.Result, seed: int) -> int:
    """Print counts and findings; 1 if there are any."""
    for name, counts in sorted(result.by_format.items()):
        print(f"{name:14} " + ", ".join(f"{verdict} {count}" for verdict, count in counts.most_common()))
    for asked, answer in result.findings:
        again = f"--seed {seed} --only {asked.format} --case {asked.number}"
        print(f"\n{answer['verdict']}: {again}\n  {' '.join(answer.get('command', []))}\n{answer['details'][-1500:]}")
    counts = result.counts
    print(
        f"\n{sum(counts.values())} cases in {result.seconds:.0f} s: {counts['refused']} refused with a sentence, "
        f"{counts['worked']} worked, {len(result.findings)} ended otherwise."
    )
    return int(bool(result.findings))


if __name__ == "__main__":
    sys.exit(main())
