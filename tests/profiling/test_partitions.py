"""Branches that a delegate takes in several pieces: each piece costs copies, and predictors know it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import predictors, records
from adascale_runtime.seams.facts import Block, End, EnergyFact, Process, Start
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Context, Delegation, Measurement
from adascale_runtime.seams.support import Support
from profiling import cells, fit
from profiling.cells import Cell
from profiling.journal import Journal
from tests.fixtures.plain_bundle import write_bundle
from tests.profiling.test_fit import synthetic

#: What a partition costs, in ms.
PLANTED_MS = 0.3
MOST = 6


def measured(delegate: str, count: int = 24, noise: float = 0.0) -> list[Measurement]:
    """Branches on a delegate that takes each in 1 to :data:`MOST` pieces, of :data:`PLANTED_MS` each."""
    rng = np.random.default_rng(3)
    found = []
    for m in synthetic(count):
        pieces = int(rng.integers(1, MOST + 1))
        ms = (m.latency_ms[0] + PLANTED_MS * pieces) * (1 + noise * rng.normal())
        taken = Delegation(20, 20 - pieces + 1, pieces)
        device = {"name": "bench", "kind": "host"}
        found.append(replace(m, delegate=delegate, device=device, latency_ms=(ms,) * 3, delegation=taken))
    return found


def error(fitted: Predictors, judged: list[Measurement], branch: Branch, entry: str) -> float:
    """The worst error, as a share, of predictions for branches whose manifest has the partitions."""
    errors = []
    for m in judged:
        pieces = m.partitions or 0
        told = replace(branch, cost=m.cost, precision=m.precision, support=(Support(entry, 20, 20, pieces),))
        predicted = fitted.predict("latency_ms", told, m.delegate, 1)
        assert predicted is not None
        errors.append(abs(predicted / m.latency_ms[0] - 1))
    return max(errors)


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Branch:
    return write_bundle(tmp_path_factory.mktemp("partitions") / "bundle").manifest.branches[0]


def test_a_planted_cost_of_partitions_is_found_and_predicted(branch: Branch) -> None:
    known, others = measured("npu", 40, 0.01)[:24], measured("npu", 40)[24:]
    fitted = fit.fit(known)
    latency = fitted.find("latency_ms", "npu", 1)
    assert latency is not None and latency.support == ("npu:openvino", "npu")
    assert latency.coefficients["partitions"] == pytest.approx(PLANTED_MS, rel=0.1)
    assert error(fitted, others, branch, "npu:openvino") < 0.1
    # Without the partitions the same measurements predict far worse.
    blind = fit.fit([replace(m, delegation=None) for m in known])
    assert error(blind, others, branch, "npu:openvino") > 0.2
    assert fitted.interval("latency_ms", branch, "npu", 1) is not None


def test_where_a_delegate_does_not_tell_the_support_table_does(branch: Branch) -> None:
    known = [replace(m, delegation=None, promised_partitions=m.partitions) for m in measured("gpu", 40)]
    fitted = fit.fit(known[:24])
    latency = fitted.find("latency_ms", "gpu", 1)
    assert latency is not None and latency.support == ("gpu",)
    assert error(fitted, known[24:], branch, "gpu") < 0.1
    some = [replace(m, promised_partitions=None) if n == 3 else m for n, m in enumerate(known[:24])]
    latency = fit.fit(some).find("latency_ms", "gpu", 1)
    assert latency is not None and latency.support == () and "partitions" not in latency.coefficients


@pytest.mark.parametrize("delegate", ["cpu", "builtin"])
def test_nothing_changes_on_the_cpu(delegate: str) -> None:
    known = measured(delegate)
    same = [replace(m, delegation=None) for m in known]
    assert fit.fit(known).predictors == fit.fit(same).predictors


def test_partitions_that_tell_nothing_are_left_out() -> None:
    rng = np.random.default_rng(5)
    known = [replace(m, delegate="npu", delegation=Delegation(9, 9, int(rng.integers(1, 4)))) for m in synthetic(20)]
    latency = fit.fit(known).find("latency_ms", "npu", 1)
    assert latency is not None and latency.error is not None and latency.error < 1e-6
    assert latency.coefficients.get("partitions", 0.0) < 1e-6


def test_a_branch_of_unknown_partitions_counts_as_one_piece_and_many_lie_outside() -> None:
    fitted = fit.fit(measured("npu")).find("latency_ms", "npu", 1)
    assert fitted is not None
    m = measured("npu")[0]
    assert fitted.partitions(()) is None
    assert fitted.predict(m.cost, m.precision) == fitted.predict(m.cost, m.precision, partitions=1)
    assert "partitions" not in fitted.outside(m.cost, m.precision)
    assert "partitions" in fitted.outside(m.cost, m.precision, 3 * MOST)


def test_files_are_read_again_and_older_ones_still(tmp_path: Path) -> None:
    fitted = fit.fit(measured("npu"))
    written = codec.to_json(fitted)
    assert codec.from_json(Predictors, written, "predictors") == fitted
    for one in written["predictors"]:
        del one["support"]
    older = codec.from_json(Predictors, written, "predictors")
    m = measured("npu")[0]
    found = older.find("latency_ms", "npu", 1)
    assert found is not None and found.support == () and found.predict(m.cost, m.precision) > 0
    line = codec.to_json(m)
    del line["promised_partitions"]
    (tmp_path / "m.jsonl").write_text(codec.dump_line(line))
    assert records.read([tmp_path / "m.jsonl"]) == [m]
    line["promised_partitions"] = -1
    (tmp_path / "m.jsonl").write_text(codec.dump_line(line))
    with pytest.raises(BadInput, match="promised_partitions"):
        records.read([tmp_path / "m.jsonl"])


@pytest.mark.parametrize("told", [True, False])
def test_a_measurement_keeps_what_the_table_promised_where_the_delegate_is_silent(told: bool, tmp_path: Path) -> None:
    made = write_bundle(tmp_path / "bundle")
    branch = replace(made.manifest.branches[0], support=(Support("gpu", 9, 7, 3),))
    cell = Cell(branch, "gpu", 1)
    taken = Delegation(9, 9, 1) if told else None
    with Journal(tmp_path / "journal", {}) as journal:
        journal.add("process", cell.key, Process(1.0, 1.0))
        journal.add("start", cell.key, Start(Context(0.0), delegation=taken, started="now"))
        journal.add("block", f"{cell.key}#0", Block((1.0, 1.0)))
        journal.add("energy", cell.key, EnergyFact(reason="no meter"))
        journal.add("end", cell.key, End(Context(1.0)))
        m = cells.measurement(made, cell, journal, {"name": "bench", "kind": "host"}, {}, {})
    assert m.partitions == (1 if told else 3) and m.promised_partitions == (None if told else 3)
    assert predictors.features(m.cost, m.precision, None, m.partitions)["partitions"] == m.partitions
