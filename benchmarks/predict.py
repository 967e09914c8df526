"""How well predictors know branches and models that they never saw: latency, latency under load, memory, energy.

Builds bundles of several architectures with random weights (time does not depend on their values), measures them and
micro-kernels on this machine, fits on some and judges on others, nn-Meter's way: the share of predictions within 5, 10,
15 and 20 % of the measurement (Zhang et al., MobiSys 2021). Three ways to hold out:

* ``branches``: fitted on the micro-kernels and the six branches that ``adascale profile --calibrate`` chooses of a
  bundle; judged on that bundle's other branches.
* ``models``: fitted on micro-kernels and all other bundles; judged on a bundle of which nothing was measured.
* under load, the slowdown is fitted on the other bundles' branches, too.

All branches and micro-kernels are measured in common rounds. Idle latencies are judged at the machine's usual speed
(``docs/measuring.md``), means under load as they were seen. Branches are measured a second time, minutes later, and
compared with themselves: no prediction can be expected to be closer than this repeat error. Where it alone misses a
goal, the table says so. ``--wander`` makes the machine's speed wander meanwhile; ``--no-anchors`` measures without
anchors, to show what they are worth.

Energy comes from the battery of an emulated phone, whose truth is known to its emulator only.

    python benchmarks/predict.py --short
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import console
import drift
import evidence
from predict_networks import NAMES, build_all
from predict_phases import Phases, Size, joined, on_a_phone
from predict_rows import LEVELS, at_rest, beside_repeats, energies, held_out, repeats, row, shares, under_load

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import speed
from profiling import calibration, device, fit

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "benchmarks/predict_networks.py",
    "benchmarks/predict_phases.py",
    "benchmarks/predict_rows.py",
    "profiling",
    "converters/kernel_classes.py",
    "converters/flatbuffer.py",
    "adascale_runtime/seams/predictors.py",
    "adascale_runtime/seams/speed.py",
    "adascale_runtime/measuring/anchors.py",
)
RESULTS = Path(__file__).parent / "results" / "predict.json"
#: A repeat counts as the same if it is as close as this, idle and under load.
CLOSE, CLOSE_UNDER_LOAD = 0.10, 0.15
#: As much as six minutes allow, at leisure, and to see that all of it works.
SHORT, LONG = Size(8, 160, 6, 3, 1, 8), Size(20, 240, 6, 8, 4, 24)
SMOKE, SMOKE_NAMES = Size(5, 8, 4, 1, 1, 6, 0.3, 0.4), ("plain", "mobile")


def run(names: tuple[str, ...], size: Size, root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Build, measure, fit, judge; gives what the results file holds."""
    begun = time.monotonic()
    spent: dict[str, float] = {}

    def done(what: str) -> None:
        spent[what] = round(time.monotonic() - begun - sum(spent.values()), 1)
        print(f"{what}: {spent[what]:.0f} s", file=sys.stderr, flush=True)

    bundles = build_all(names, size.recipes, root)
    done("build")
    plans = {
        name: calibration.plan(opened, device.caches(), size.kernels, size.few) for name, opened in bundles.items()
    }
    chosen = list(dict.fromkeys(kernel for plan, _ in plans.values() for kernel in plan))
    done("plan")
    phases = Phases(bundles, root, options)
    first, kernels = phases.idle(chosen)
    done(f"branches and {len(kernels)} micro-kernels")
    strained = phases.loaded(size.loaded)
    done("under load")
    second, _ = phases.idle([])
    done("branches again")
    strained_again = phases.loaded(size.repeated)
    done("under load again")
    idle = {name: [joined(*pair) for pair in zip(first[name], second[name], strict=True)] for name in names}
    few = {name: ids for name, (_, ids) in plans.items()}
    usual = speed.usual([*kernels, *(m for members in idle.values() for m in members)])
    pairs = held_out(idle, kernels, few)
    everything = [*kernels, *(m for source in (idle, strained) for members in source.values() for m in members)]
    idle_twice = row(
        "repeat error, idle, at usual speed", CLOSE, repeats(first, second, lambda m: fit.idle_ms(m, usual))
    )
    loaded_twice = row(
        "repeat error, mean under load", CLOSE_UNDER_LOAD, repeats(strained, strained_again, at_rest(everything))
    )
    rows = [
        *(
            beside_repeats(
                shares(options, f"latency, idle, held-out {how}", CLOSE, goals, pairs["latency_ms", how]),
                idle_twice, goals[options.wander],
            )
            for how, goals in (("branches", (0.95, 0.85)), ("models", (0.95, 0.85)))
        ),
        idle_twice,
        row("repeat error, idle, as seen", CLOSE, repeats(first, second, lambda m: fit.idle_ms(m, {}))),
        beside_repeats(
            shares(
                options, "mean latency under load, held-out models", CLOSE_UNDER_LOAD, (0.90, 0.80),
                under_load(idle, strained, kernels),
            ),
            loaded_twice, (0.90, 0.80)[options.wander],
        ),
        loaded_twice,
        row("memory, held-out branches", 0.05, pairs["memory_mb", "branches"], "mean error <= 5 %"),
        row("memory, held-out models", 0.05, pairs["memory_mb", "models"], "mean error <= 5 %"),
    ]  # fmt: skip
    done("predictions")
    if not options.no_phone:
        for how, found in energies(on_a_phone(bundles, size, root)).items():
            rows.append(row(f"energy, phone, held-out branches, {how}", 0.10, found, "mean error <= 10 %"))
        done("phone")
    return {
        "caches": device.caches(), "models": list(names), "seconds": spent, "rows": [asdict(r) for r in rows],
        "levels": list(LEVELS), "calibrated_on": few, "micro_kernels": len(kernels),
        "measured": {
            f"{name}/{m.branch}": {"p50_ms": m.latency_quantile_ms(0.5), "p25_ms": m.latency_quantile_ms(0.25),
                                   "usual_ms": fit.idle_ms(m, usual), "memory_mb": m.memory_mb}
            for name, members in idle.items() for m in members
        },
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer branches, under six minutes on two cores")
    parser.add_argument("--models", default=None, help=f"two or more of {','.join(NAMES)}; default: all")
    parser.add_argument("--recipes", type=int, default=None, help="how many recipes of each model")
    parser.add_argument("--no-phone", action="store_true", help="leave energy out, as --wander does")
    parser.add_argument(
        "--no-anchors", action="store_true", help="measure without anchors; the result is kept with --out only"
    )
    drift.add_option(parser)
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    options.no_phone = options.no_phone or options.wander  # the phone is an emulated one, whose energy does not wander
    size = SMOKE if options.smoke else SHORT if options.short else LONG
    names = tuple(options.models.split(",")) if options.models else SMOKE_NAMES if options.smoke else NAMES
    if len(set(names) & set(NAMES)) != len(names) or len(names) < 2:
        parser.error(f"--models should name two or more of {', '.join(NAMES)}")
    size = replace(size, recipes=options.recipes or size.recipes)
    try:
        drift.check(options)
        with tempfile.TemporaryDirectory() as folder:
            facts = run(names, size, Path(folder), options)
        if options.out is not None or not options.no_anchors:
            evidence.write(options, __file__, facts)
    except AdaScaleError as error:
        print(f"predict: {error}", file=sys.stderr)
        return error.exit_code
    columns = ("what", "goal", "cases", *(f"<= {level:.0%}" for level in LEVELS), "mean error", "")
    lines = [
        (
            r["what"], r["goal"], r["count"], *(f"{w:.0%}" for w in r["within"]), f"{r['mape']:.1%}",
            ", ".join(filter(None, ("" if r["met"] is None else "met" if r["met"] else "missed", r["note"]))),
        )
        for r in facts["rows"]
    ]  # fmt: skip
    console.table("Predictions of what was never measured", columns, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
