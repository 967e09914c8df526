"""``demo``: the full pipeline on a small scale, on real data that comes with scikit-learn."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.files import codec
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle
from adascale_runtime.seams.records import Measurement

if TYPE_CHECKING:
    from adascale_runtime.seams.predictors import Predictors
    from adascale_tf.data import Dataset

#: The loop's phases: label, seconds, and how many CPU burners per core run beside it.
PHASES = (("idle", 5.0, 0), ("loaded", 7.0, 3), ("idle again", 5.0, 0))
#: Of the training: enough for these digits.
EPOCHS = 8
#: The demo's latency budget, as a multiple of what the best branch takes in an idle loop.
SLACK = 2.0
#: Seconds over which that is measured: at a single moment a device may be lucky.
TRIAL_S = 2.0
#: The share of deadlines that may be missed: strict, since branches as short as the demo's are seldom hit by stalls.
MISSES = 0.02


@dataclass(frozen=True)
class DemoBranch:
    """A branch of the demo, as it was measured."""

    id: str
    recipe: str
    precision: str
    #: Of the .tflite on the test split, in [0, 1].
    accuracy: float
    size_bytes: int
    macs: int
    #: Median of one thread, on the CPU.
    latency_p50_ms: float
    #: Against the full branch.
    speedup: float


@dataclass(frozen=True)
class Demonstration:
    """What the demo did; ``summary.json`` holds the same."""

    branches: tuple[DemoBranch, ...]
    #: The budget, and what :func:`adascale_runtime.loop.summary` says of the adaptive loop.
    loop: dict[str, Any]
    #: Each predictor's quantity, held-out error and form.
    predictors: tuple[dict[str, Any], ...]
    seed: int
    #: Wall time of everything.
    seconds: float
    versions: dict[str, str]
    #: Id and accuracy of the most accurate branch.
    best: dict[str, Any]
    #: Id, accuracy, speed-up and latency of the fastest branch.
    cheapest: dict[str, Any]


def demo(out: str | Path = "build/demo", *, seed: int = 0, tick: Tick = silent) -> Demonstration:
    """Build a bundle of digits, measure it, fit predictors, run it under load, and write a report.

    Args:
        out: the folder for ``bundle/``, ``measurements.jsonl``, ``predictors.json``, ``events.jsonl``, ``report.html``
            and ``summary.json``.
        seed: of the training.
        tick: called at every step of the work.

    Raises:
        BadInput: the folder cannot be written.
    """
    from adascale_tf import data
    from adascale_tf.verbs.build import build
    from adascale_tf.verbs.training import Training
    from converters import process
    from profiling import fit, measure, report

    out, begun = Path(out), time.monotonic()
    bundle.check_target(out / "bundle")
    digits = data.load("digits", tick=tick)
    training = Training(epochs=EPOCHS)
    opened = build(digits, out / "bundle", training=training, seed=seed, tick=tick).bundle
    process.stop()  # what is measured next should have the machine to itself
    (out / "measurements.jsonl").unlink(missing_ok=True)
    measurements = measure.profile(opened, ["cpu"], [1], runs=60, out=out / "measurements.jsonl", tick=tick)
    predictors = fit.fit(measurements)
    codec.write_text(out / "predictors.json", codec.dump(predictors))
    loop_facts = _loop(opened, digits, out / "events.jsonl", predictors, tick)
    inputs = report.gather([out / n for n in ("bundle", "measurements.jsonl", "events.jsonl", "predictors.json")])
    report.write(
        out / "report.html", inputs.manifest, inputs.measurements, inputs.traces, inputs.predictors, "adascale demo"
    )
    branches = _branches(opened, measurements)
    best, cheapest = max(branches, key=lambda b: b.accuracy), min(branches, key=lambda b: b.latency_p50_ms)
    facts = Demonstration(
        branches,
        loop_facts,
        tuple({"quantity": p.quantity, "held_out_error": p.error, "how": p.how} for p in predictors.predictors),
        seed,
        round(time.monotonic() - begun, 1),
        opened.manifest.versions,
        {"id": best.id, "accuracy": best.accuracy},
        {name: getattr(cheapest, name) for name in ("id", "accuracy", "speedup", "latency_p50_ms")},
    )
    codec.write_text(out / "summary.json", codec.dump(facts))
    return facts


def _loop(opened: bundle.Bundle, digits: Dataset, out: Path, predictors: Predictors, tick: Tick) -> dict[str, Any]:
    """The adaptive loop through all phases, in one session, with real burners in the loaded one."""
    from adascale_runtime import loop
    from adascale_runtime.policies.policy import Settings
    from adascale_runtime.seams.budget import Budget
    from adascale_runtime.seams.records import quantile
    from adascale_runtime.session import Session
    from profiling.load import Burners

    with Session(opened, Budget()) as free:
        trial = loop.run(free, loop.cycle(digits), TRIAL_S, tick=tick)
    budget = Budget(latency_ms=round(SLACK * quantile([event.latency_ms for event in trial], 0.5), 3))
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


def _branches(opened: bundle.Bundle, measurements: list[Measurement]) -> tuple[DemoBranch, ...]:
    latency = {m.branch: m.latency_quantile_ms(0.5) for m in measurements}
    return tuple(
        DemoBranch(
            b.id,
            b.recipe,
            b.precision,
            b.accuracy.value,
            b.size_bytes,
            b.cost.macs,
            latency[b.id],
            latency["full"] / latency[b.id],
        )
        for b in opened.manifest.branches
    )
