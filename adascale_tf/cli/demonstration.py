"""``adascale demo``: the full pipeline in small on real data that comes with scikit-learn."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from adascale_runtime.files import codec
from adascale_runtime.progress import Tick
from adascale_runtime.seams import bundle
from adascale_runtime.seams.records import Measurement
from adascale_tf import data
from adascale_tf.cli import console, phases
from adascale_tf.cli.building import Job, build_bundle

#: The loop's phases: label, seconds, and how many CPU burners per core run beside it.
PHASES = (("idle", 6.0, 0), ("loaded", 8.0, 3), ("idle again", 6.0, 0))
#: The demo's latency budget, as a multiple of the median latency of the branch that an idle device would choose.
SLACK = 1.5
#: The share of deadlines that may be missed: strict, since branches as short as the demo's are seldom hit by stalls.
MISSES = 0.01


def demonstrate(out: Path, seed: int, tick: Tick) -> dict[str, Any]:
    """Build, profile, fit, run under load and report into ``out``; gives what ``summary.json`` holds."""
    from converters import process
    from profiling import fit, measure, report

    begun = time.monotonic()
    bundle.check_target(out / "bundle")
    digits = data.load("digits", tick=tick)
    opened = build_bundle(Job("digits", out / "bundle", seed=seed), tick, digits)
    process.stop()  # what is measured next should have the machine to itself
    (out / "measurements.jsonl").unlink(missing_ok=True)
    measurements = measure.profile(opened, ["cpu"], [1], runs=60, out=out / "measurements.jsonl", tick=tick)
    predictors = fit.fit(measurements)
    codec.write_text(out / "predictors.json", codec.dump(predictors))
    loop_facts = _loop(opened, digits, measurements, out / "events.jsonl", predictors, tick)
    inputs = report.gather([out / n for n in ("bundle", "measurements.jsonl", "events.jsonl", "predictors.json")])
    report.write(
        out / "report.html", inputs.manifest, inputs.measurements, inputs.traces, inputs.predictors, "adascale demo"
    )
    facts: dict[str, Any] = {
        "branches": _rows(opened, measurements),
        "loop": loop_facts,
        "predictors": [
            {"quantity": p.quantity, "held_out_error": p.error, "how": p.how} for p in predictors.predictors
        ],
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
        "versions": opened.manifest.versions,
    }
    facts.update(_headline(facts["branches"]))
    codec.write_text(out / "summary.json", codec.dump(facts))
    return facts


def _loop(
    opened: bundle.Bundle, digits: data.Dataset, measurements: list[Measurement], out: Path, predictors: Any, tick: Tick
) -> dict[str, Any]:
    """The adaptive loop through all phases, in one session, with real burners in the loaded one."""
    from adascale_runtime import loop
    from adascale_runtime.policies.policy import Settings
    from adascale_runtime.seams.budget import Budget
    from adascale_runtime.session import Session
    from profiling.load import Burners

    best = max(
        measurements, key=lambda m: (opened.manifest.branch(m.branch).accuracy.value, -m.latency_quantile_ms(0.5))
    )
    budget = Budget(latency_ms=round(SLACK * best.latency_quantile_ms(0.5), 3))
    cores = os.cpu_count() or 1
    seconds = sum(length for _, length, _ in PHASES)
    opening = Session(opened, budget, predictors=predictors, settings=Settings(misses=MISSES))
    with Burners() as burners, opening as session, loop.writer(out) as write:

        def phase(elapsed: float) -> str:
            name, per_core = _phase_at(elapsed)
            burners.resize(per_core * cores)
            return name

        events = loop.run(session, loop.cycle(digits), seconds, write, phase=phase, tick=tick)
    return {"budget": {"latency_ms": budget.latency_ms}, **loop.summary(events)}


def _phase_at(elapsed: float) -> tuple[str, int]:
    for name, length, per_core in PHASES:
        if elapsed < length:
            return name, per_core
        elapsed -= length
    return PHASES[-1][0], PHASES[-1][2]


def _rows(opened: bundle.Bundle, measurements: list[Measurement]) -> list[dict[str, Any]]:
    latency = {m.branch: m.latency_quantile_ms(0.5) for m in measurements if m.delegate == "cpu"}
    return [
        {
            "id": b.id,
            "recipe": b.recipe,
            "precision": b.precision,
            "accuracy": b.accuracy.value,
            "size_bytes": b.size_bytes,
            "macs": b.cost.macs,
            "latency_p50_ms": latency[b.id],
            "speedup": latency["full"] / latency[b.id],
        }
        for b in opened.manifest.branches
    ]


def _headline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    cheapest = min(rows, key=lambda row: row["latency_p50_ms"])
    best = max(rows, key=lambda row: row["accuracy"])
    return {
        "best": {key: best[key] for key in ("id", "accuracy")},
        "cheapest": {key: cheapest[key] for key in ("id", "accuracy", "speedup", "latency_p50_ms")},
    }


def show(facts: dict[str, Any], out: Path) -> None:
    """The demo's result in the terminal."""
    rows = [
        (
            row["recipe"], f"{row['accuracy']:.2%}", f"{row['latency_p50_ms']:.3f}", f"{row['speedup']:.1f}x",
            console.size(row["size_bytes"]), f"{row['macs'] / 1e6:.2f}",
        )
        for row in facts["branches"]
    ]  # fmt: skip
    console.table("Branches, one thread", ("recipe", "accuracy", "p50 ms", "speed-up", "size", "MMACs"), rows)
    phases.show(facts["loop"]["phases"], f"Adaptive loop, budget {facts['loop']['budget']['latency_ms']} ms")
    console.say(f"Done in {facts['seconds']:.0f} s. Open {out / 'report.html'}; the bundle is in {out / 'bundle'}.")
