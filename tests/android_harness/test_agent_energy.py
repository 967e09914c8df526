"""When the agent measures energy once more, for longer: by a field of the answer, whatever its reason says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.device import power
from adascale_runtime.seams.facts import Busy, EnergyFact
from adascale_runtime.seams.jobs import Job
from android_harness.agent import bench
from android_harness.agent.work import Workplace

ENERGY = Job("energy", "full/cpux1", "full/cpux1", "full", "cpu", 1)


@pytest.mark.parametrize(
    ("answers", "spans"),
    [
        ([EnergyFact(1.0, "measured:battery")], [1]),
        ([EnergyFact(reason="measure longer")], [1]),
        ([EnergyFact(reason="too short", retry_longer=True), EnergyFact(1.0)], [1, 2]),
        ([EnergyFact(reason="too short", retry_longer=True)] * 9, [1, 2, 4, 8]),
    ],
)
def test_longer_where_that_can_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: list[EnergyFact], spans: list[int]
) -> None:
    left, asked = list(answers), []

    def in_child(place: Workplace, job: Job, *_: Any) -> Busy:
        asked.append(job.runs)
        return Busy(0.0, 1.0, 3)

    monkeypatch.setattr(bench.work, "in_child", in_child)
    battery = tmp_path / "sys/class/power_supply/battery"
    battery.mkdir(parents=True)
    (battery / "type").write_text("Battery\n")
    monkeypatch.setattr(power, "energy_per_run", lambda *_: left.pop(0))
    agenda = bench.Agenda("bundle", (ENERGY,), idle_s=0.001, batch_s=0.01)
    told = bench._do(agenda, Workplace("bundle", root=str(tmp_path)), ENERGY, lambda message: None)
    assert asked == [10 * span for span in spans] and told == answers[len(spans) - 1]
