"""What is measured for ``predict.py``: branches and micro-kernels in common rounds, and energy on a phone."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import drift
from phones import phone

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from profiling import calibration, contexts, together
from profiling.cells import Cell
from profiling.micro_kernels import Kernel
from profiling.together import Part

CONTEXTS = ("load50", "load100")
#: Idle branches: seconds of a block, and runs in it at most.
SETTINGS = {"seconds": 0.02, "most": 20}
#: Seconds for which a wandering machine has a course; each phase of measuring has another one.
PHASE_S = 600.0
#: Measurements by model.
ByModel = dict[str, list[Measurement]]


@dataclass(frozen=True)
class Size:
    """Of each model: the recipes, the micro-kernels and the branches to calibrate with, the branches under load once
    and twice; and branches on the phone with the seconds of rest and of continuous inference of a measured energy."""

    recipes: int
    kernels: int
    few: int
    loaded: int
    repeated: int
    phone: int
    idle_s: float = 1.0
    batch_s: float = 2.0


class Phases:
    """What is measured on this machine, of all models in common rounds; each phase into a file of its own."""

    def __init__(self, bundles: dict[str, Bundle], root: Path, options: argparse.Namespace) -> None:
        self._bundles, self._root, self._options, self._count = bundles, root, options, 0
        self._anchors = not options.no_anchors

    def idle(self, kernels: list[Kernel]) -> tuple[ByModel, list[Measurement]]:
        """All branches, and micro-kernels; with these also the memory of branches."""
        beside, out = contexts.Surroundings(), self._next()
        memory = {name: [b.id for b in opened.manifest.branches] for name, opened in self._bundles.items()}
        parts = [
            self._part(name, 0, SETTINGS, out, beside, memory[name] if kernels else ()) for name in self._bundles
        ]  # fmt: skip
        if kernels:
            (self._root / "kernels").mkdir()
            own = calibration.write(kernels, self._root / "kernels")
            parts.append(calibration.part(own, ["cpu"], [1], out, beside=beside, anchors=self._anchors))
        with self._machine():
            found = together.measure(parts)
        return dict(zip(self._bundles, found, strict=False)), found[-1] if kernels else []

    def loaded(self, count: int) -> ByModel:
        """So many branches of each model in all contexts."""
        measured: ByModel = {name: [] for name in self._bundles}
        for context in CONTEXTS:
            beside, out = contexts.Surroundings(functools.partial(contexts.beside, context)), self._next()
            settings = {"seconds": contexts.BLOCK_S, "most": contexts.MOST, "context": context}
            parts = [self._part(name, count, settings, out, beside) for name in self._bundles]
            with self._machine():
                found = together.measure(parts)
            for name, members in zip(self._bundles, found, strict=True):
                measured[name] += members
        return measured

    def _part(
        self, name: str, count: int, settings: dict[str, Any], out: Path, beside: contexts.Surroundings,
        memory: Sequence[str] = (),
    ) -> Part:  # fmt: skip
        """The first branches of a model, all for 0."""
        branches = self._bundles[name].manifest.branches
        cells = [Cell(branch, "cpu", 1) for branch in (branches[:count] if count else branches)]
        return contexts.part(
            self._bundles[name], cells, settings, out, beside=beside, journal=Path(f"{out}.{name}.journal"),
            memory=memory, anchors=self._anchors,
        )  # fmt: skip

    def _next(self) -> Path:
        self._count += 1
        return self._root / f"phase{self._count}.jsonl"

    def _machine(self) -> AbstractContextManager[object]:
        return drift.machine(self._options, PHASE_S, self._count)


def joined(first: Measurement, second: Measurement) -> Measurement:
    """Two measurements of a branch as one: a neighbour's burst of seconds should not be all of its runs."""
    count = len(first.latency_ms)
    later = tuple(replace(pace, run=pace.run + count) for pace in second.paces)
    return replace(
        first, latency_ms=first.latency_ms + second.latency_ms, rounds=first.rounds + second.rounds,
        paces=first.paces + later if first.paces and later else (),
    )  # fmt: skip


def on_a_phone(bundles: dict[str, Bundle], size: Size, folder: Path) -> list[Measurement]:
    """Branches measured with their energy on an emulated phone."""
    from android_harness import keys
    from android_harness.harness import Harness
    from android_harness.runner import Options

    options = Options(runs=20, energy=True, idle_s=size.idle_s, batch_s=size.batch_s)
    measurements: list[Measurement] = []
    signer = keys.load(folder / "adbkey")[0]
    with phone(folder / "phone") as (_, address):
        for name, opened in bundles.items():
            branches = [b.id for b in opened.manifest.branches][: -(-size.phone // len(bundles))]
            harness = Harness(opened, address, options, folder / f"{name}.jsonl", signer=signer)
            outcome = harness.profile(["cpu"], [1], branches)
            if outcome.failed:
                reason = next(iter(outcome.failed.values()))
                raise AdaScaleError(f"On the phone {len(outcome.failed)} cells failed: {reason}")
            measurements += outcome.measurements
    return measurements
