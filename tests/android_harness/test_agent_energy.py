"""When the agent measures energy once more, for longer: by a field of the answer, whatever its reason says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from android_harness.agent import bench
from android_harness.agent.work import Job, Place

TASK = Job("energy", "full/cpux1", "full/cpux1", "full", "cpu", 1)


@pytest.mark.parametrize(
    ("answers", "spans"),
    [
        ([{"value_mj": 1.0, "how": "measured:battery"}], [1]),
        ([{"value_mj": None, "reason": "measure longer"}], [1]),
        ([{"value_mj": None, "reason": "too short", "retry_longer": True}, {"value_mj": 1.0}], [1, 2]),
        ([{"value_mj": None, "reason": "too short", "retry_longer": True}] * 9, [1, 2, 4, 8]),
    ],
)
def test_longer_where_that_can_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: list[dict[str, Any]], spans: list[int]
) -> None:
    left, asked = list(answers), []

    def in_child(place: Place, task: Job, *_: Any) -> dict[str, Any]:
        asked.append(task.runs)
        return {"busy": [0.0, 1.0], "runs": 3}

    monkeypatch.setattr(bench.work, "in_child", in_child)
    battery = tmp_path / "sys/class/power_supply/battery"
    battery.mkdir(parents=True)
    (battery / "type").write_text("Battery\n")
    monkeypatch.setattr(bench.power, "energy_per_run", lambda *_: left.pop(0))
    plan = bench.Plan("bundle", (TASK,), idle_s=0.001, batch_s=0.01)
    found = bench._energy(plan, Place("bundle", root=str(tmp_path)), TASK, lambda message: None)
    assert asked == [10 * span for span in spans] and found == answers[len(spans) - 1]
