"""The same bundle measured twice, minutes apart: how far do two profiles of one device differ?

Every pair of profiles is as ``adascale profile`` makes them, in files of their own. A cell's figure of one profile is
held against the other's, as it was seen and at the device's usual speed, which is that of both together. Prints the
middle pair and the worst with the goals, and writes ``benchmarks/results/again.json``, or with ``--wander``, on a
machine whose speed is made to wander, ``again_wandering.json``.

    python benchmarks/again.py
    python benchmarks/again.py --wander
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import building
import console
import drift
import evidence
from goals import repeated, show

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import bundle, speed
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from profiling import measure

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "adascale_runtime/measuring",
    "adascale_runtime/seams/speed.py",
    "profiling/host.py",
    "profiling/jobs.py",
    "profiling/measure.py",
    "profiling/rounds.py",
    "profiling/wander.py",
    "benchmarks/drift.py",
)
RESULTS = Path(__file__).parent / "results" / "again.json"
#: Timed runs of a cell, as many as 'adascale profile' takes where nothing else is asked for.
RUNS = 50


def pair(opened: Bundle, pause_s: float, folder: Path) -> dict[str, Any]:
    """Two profiles, and by branch the second's figure over the first's, less 1."""
    first, second = folder / "first.jsonl", folder / "second.jsonl"
    one = measure.profile(opened, ["cpu"], [1], runs=RUNS, out=first, precise=speed.PRECISE)
    time.sleep(pause_s)
    other = measure.profile(opened, ["cpu"], [1], runs=RUNS, out=second, precise=speed.PRECISE)
    both = [*one, *other]
    usual = speed.usual(both)

    def apart(figure: Any) -> dict[str, float]:
        return {a.branch: figure(b) / figure(a) - 1.0 for a, b in zip(one, other, strict=True)}

    figures = [speed.at_usual(m, usual) for m in both]
    return {
        "seen": apart(lambda m: m.latency_quantile_ms(0.5)),
        "at_usual": apart(lambda m: speed.at_usual(m, usual).value_ms),
        "overlap": _overlapping(one, other, usual),
        "percent": [figure.percent for figure in figures],
        "wandered": {kind: rates for kinds in speed.wandered(both, usual).values() for kind, rates in kinds.items()},
    }


def _overlapping(one: list[Measurement], other: list[Measurement], usual: speed.Usual) -> float:
    """The share of cells whose two intervals overlap."""
    found = []
    for a, b in zip(one, other, strict=True):
        first, second = speed.at_usual(a, usual), speed.at_usual(b, usual)
        found.append(first.low_ms <= second.high_ms and second.low_ms <= first.high_ms)
    return sum(found) / len(found)


def _worst(differences: dict[str, float]) -> float:
    return 100 * max(abs(value) for value in differences.values())


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="default: one of the digits, built first")
    parser.add_argument("--pairs", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--pause", type=float, default=30.0, help="seconds between the two (default: %(default)s)")
    drift.add_option(parser)
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    pairs, pause_s = (2, 0.5) if options.smoke else (max(1, options.pairs), options.pause)
    try:
        drift.check(options)
        found = []
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            opened = (
                bundle.load(options.bundle) if options.bundle else building.built(folder / "bundle", 3, options.smoke)
            )
            with drift.machine(options, pairs * (pause_s + 60.0)):
                for number in range(pairs):
                    (folder / str(number)).mkdir()
                    found.append(pair(opened, pause_s, folder / str(number)))
                    print(f"pair {number + 1} of {pairs}", file=sys.stderr, flush=True)
        goal = drift.goal(options, "<= 3 %", "<= 5 %")
        rows = [
            repeated("two profiles, worst cell apart at usual speed, %", goal, [_worst(p["at_usual"]) for p in found]),
            repeated("two profiles, worst cell apart as seen, %", goal, [_worst(p["seen"]) for p in found]),
            repeated("cells whose intervals overlap, %", ">= 95 %", [100 * p["overlap"] for p in found]),
        ]
        facts = {"bundle": opened.digest, "cells": len(found[0]["seen"]), "pause_s": pause_s, "pairs": found}
        evidence.write(options, __file__, {**facts, "rows": [asdict(row) for row in rows]})
    except AdaScaleError as error:
        print(f"again: {error}", file=sys.stderr)
        return error.exit_code
    show("Measured again on a machine that wanders" if options.wander else "Measured again", rows)
    columns = ("pair", "worst cell at usual speed", "as seen", "speed of the float anchor, p10-p90")
    console.table(
        "Pairs of profiles", columns,
        [
            (n, f"{_worst(p['at_usual']):.1f} %", f"{_worst(p['seen']):.1f} %",
             "-".join(f"{rate:.2f}" for rate in p["wandered"].get("float", ())))
            for n, p in enumerate(found, start=1)
        ],
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
