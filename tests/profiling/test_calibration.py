from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from converters import flatbuffer
from profiling import calibration, fit, micro_kernels, together
from profiling.cells import Cell
from profiling.jobs import Schedule
from profiling.journal import Journal
from profiling.micro_kernels import Kernel

CACHES = {"L1d": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}
CHOSEN = [
    Kernel("conv", "float", 8, 8, 16, 3), Kernel("conv", "integer", 8, 8, 16, 3), Kernel("dense", "float", 1, 64, 10),
    Kernel("add", "float", 8, 16, repeat=2), Kernel("mean", "integer", 8, 16),
]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 20))
def test_each_choice_tells_more_than_the_next_and_none_comes_twice(seed: int, features: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    pool, targets = rng.uniform(0, 1, (15, features)), rng.uniform(0, 1, (4, features))
    order = calibration.choose(pool, targets, count)
    assert len(order) == len(set(order)) <= min(count, 15) and all(0 <= i < 15 for i in order)
    assert order == calibration.choose(pool, targets, 15)[: len(order)]


def test_what_does_not_matter_is_not_measured_first() -> None:
    """Only the second feature is in the target, so the row that shows it comes first."""
    pool = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert calibration.choose(pool, np.array([[0.0, 1.0, 0.0]]), 3) == [1]


def test_candidates_are_the_same_every_time_and_of_the_classes_asked_for() -> None:
    classes = ["conv-integer", "gemm-float", "builtin-float", "dense-float", "reuse", "border"]
    found = calibration.candidates(classes, count=5)
    assert found == calibration.candidates(classes, count=5) and len(set(found)) == len(found)
    assert {k.op for k in found} == {"conv", "dense", "split", "gru"}
    assert {k.arithmetic for k in found if k.op == "conv" and k.window > 1} == {"integer"}


def test_the_plan_covers_the_kernels_of_the_bundle(built: Bundle) -> None:
    chosen, branches = calibration.plan(built, CACHES, kernel_count=40, branch_count=4)
    assert len(chosen) == 40 and len(branches) == len(set(branches)) == 4
    known = {b.id for b in built.manifest.branches}
    assert set(branches) <= known
    assert {"conv"} <= {k.op for k in chosen} and {"float", "integer"} <= {k.arithmetic for k in chosen}


def test_a_bundle_of_before_is_refused(built: Bundle) -> None:
    branches = tuple(replace(b, cost=replace(b.cost, kernels={})) for b in built.manifest.branches)
    with pytest.raises(BadInput, match="build it again to calibrate"):
        calibration.plan(Bundle(built.root, replace(built.manifest, branches=branches)), CACHES)


def test_memory_is_measured_where_files_differ_most() -> None:
    costs = [flatbuffer.cost(micro_kernels.write(k), micro_kernels.SIGNATURE) for k in CHOSEN]
    found = calibration.heaviest(costs, 3)
    assert len(found) == len(set(found)) == 3


def test_micro_kernels_are_measured_once_and_fitted(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    found = calibration.take(CHOSEN, ["cpu"], [1], out)
    assert [m.branch for m in found] == [k.id for k in CHOSEN] and records.read([out]) == found
    assert all(m.settings["kernel"] and m.latency_ms and m.outputs is None for m in found)
    assert all(m.memory_mb is not None for m in found)  # of so few, all
    assert calibration.take(CHOSEN, ["cpu"], [1], out) == found and not Path(f"{out}.journal").exists()
    fitted = fit.fit(found)
    latency = fitted.find("latency_ms", "cpu", 1)
    assert latency is not None and latency.samples == 5 and latency.caches == found[0].device["caches"]


class Killed(Exception):
    """What stands for a kill."""


def small(built: Bundle, out: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[Measurement]:
    """A calibration by few branches and micro-kernels."""
    monkeypatch.setattr(calibration, "plan", lambda *_: (CHOSEN, ["full", "int8"]))
    return calibration.calibrate(built, ["cpu"], [1], runs=20, out=out, **more)


def test_micro_kernels_and_branches_share_rounds_and_continue_after_a_kill(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, order = tmp_path / "m.jsonl", []
    add = Journal.add

    def counted(self: Journal, kind: str, key: str, value: Any) -> None:
        if len(order) == 40:
            raise Killed
        order.append((kind, key))
        add(self, kind, key, value)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Journal, "add", counted)
        small(built, out, patch)
    journals = [Path(f"{out}.journal"), Path(f"{out}.kernels.journal")]
    assert all(journal.exists() for journal in journals) and not out.exists()
    kept = dict(order)
    assert {"process", "start", "block"} == set(kept)
    rounds = [key for kind, key in order if kind == "block"]
    for number in ("0", "1", "2"):  # both lie in the same rounds, and each round ends before the next begins
        own = [i for i, key in enumerate(rounds) if key.endswith(f"#{number}")]
        assert own == list(range(own[0], own[0] + 7))
        assert {rounds[i].split("/")[0] for i in own} == {"full", "int8", *(k.id for k in CHOSEN)}
    monkeypatch.setattr(Journal, "add", lambda self, kind, key, value: order.append((kind, key)) or add(
        self, kind, key, value))  # fmt: skip
    found = small(built, out, monkeypatch)
    assert len(order) == len(set(order))  # nothing twice
    assert [m.branch for m in found] == ["full", "int8", *(k.id for k in CHOSEN)] and records.read([out]) == found
    assert [m.rounds for m in found] == [10, 10, 8, 8, 8, 8, 8] and all(m.paces for m in found)
    assert [m.memory_mb is not None for m in found] == [True] * 7
    assert not any(journal.exists() for journal in journals)
    assert small(built, out, monkeypatch) == found and len(records.runs([out])) == 7
    assert len(small(built, out, monkeypatch, again=True)) == 7 and len(records.runs([out])) == 14


def test_a_calibration_without_anchors_is_another(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.jsonl"
    paced, plain = (small(built, out, monkeypatch, anchors=wanted) for wanted in (True, False))
    assert len(records.runs([out])) == 14 and all(m.paces for m in paced)
    assert all(m.paces == () and m.settings["anchors"] is False for m in plain)
    latency = fit.fit(plain).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.anchors == {}


def test_fewer_rounds_are_spread_over_more(built: Bundle) -> None:
    cells = [Cell(branch, "cpu", 1) for branch in built.manifest.branches[:2]]
    work = {0: (cells, Schedule(20, 10)), 3: (cells[:1], Schedule(5, 4, first=("process",), last=(), whole=True))}
    jobs = together.jobs_of(work)
    assert len({(job.kind, job.key) for job in jobs}) == len(jobs) == 2 * (1 + 1 + 10 + 1) + 1 + 4
    kinds = [job.kind for job in jobs]
    assert kinds == ["process"] * 3 + ["start"] * 2 + ["block"] * 24 + ["end"] * 2
    places = [i for i, job in enumerate(jobs[5:29]) if job.key.startswith("3:")]
    assert places[0] < 3 and places[-1] > 14 and all(jobs[5 + i].runs == 5 for i in places)
    assert together.jobs_of({}) == []


@pytest.mark.slow
def test_a_calibration_knows_branches_it_did_not_measure(built: Bundle, tmp_path: Path) -> None:
    found = calibration.calibrate(built, ["cpu"], [1], runs=20, out=tmp_path / "m.jsonl")
    assert len({m.branch for m in found if m.bundle == built.digest}) == calibration.BRANCHES
    fitted = fit.fit(found)
    assert all(fitted.predict("latency_ms", branch, "cpu", 1) for branch in built.manifest.branches)
