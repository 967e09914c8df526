"""The ablation decides on recorded rows: the same every time, and each feature shows where it should."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.device.sensors import FileSampler
from adascale_runtime.files import codec
from adascale_runtime.policies.limits import Option, Settings

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import ablation

OPTIONS = (
    Option("full", 0.9, 4.0, None, 120.0),
    Option("half", 0.8, 2.0, None, 60.0),
    Option("tiny", 0.6, 1.0, None, 20.0),
)
USUAL = Settings()


def recorded(seconds: float = 40.0, limit_ms: float = 5.0) -> dict[str, Any]:
    """Rows of a device that does exactly what its clock says."""
    along, rows = ablation.course(seconds), []
    sizes = {option.id: option.memory_mb or 0.0 for option in OPTIONS}
    for number in range(int(seconds * ablation.FPS)):
        now = number / ablation.FPS
        name, share = ablation.phase_at(now / seconds)
        left_mb = ablation.left_mb(share if name == "memory" else 0.0, sizes, USUAL.reserve_mb)
        context = {"runnable": 0, "cores": 2, "memory_free_mb": left_mb,
                   "clock_cap_mhz": ablation.FULL_MHZ * along.at(now)}  # fmt: skip
        ms = [option.latency_ms / along.at(now) for option in OPTIONS]
        rows.append({"phase": name, "time_s": now, "left_mb": left_mb, "context": context, "ms": ms})
    return {
        "bundle": "x",
        "model": "x",
        "budget_ms": limit_ms,
        "table": [codec.to_json(o) for o in OPTIONS],
        "rows": rows,
    }


def test_the_same_rows_give_the_same_outcomes() -> None:
    rows = recorded(8.0)
    assert ablation.outcomes(rows) == ablation.outcomes(rows)


def test_the_clock_saves_the_deadlines_after_a_lower_cap() -> None:
    rows = recorded()
    on, off = (ablation.decide_again(rows, settings)["clock"] for settings in (USUAL, replace(USUAL, clock=1.0)))
    assert on["missed"] < off["missed"] and on["accuracy"] > off["accuracy"] - 0.05
    assert ablation.decide_again(rows, USUAL)["idle"]["missed"] == 0.0


def test_memory_that_nobody_tells_loses_inputs() -> None:
    rows = recorded()
    told, untold = (
        ablation.decide_again(rows, USUAL)["memory"],
        ablation.decide_again(rows, USUAL, memory=False)["memory"],
    )
    assert told["lost"] == 0.0 < untold["lost"]
    assert told["accuracy"] < 0.9  # what fits serves


def test_the_heat_model_warms_up_with_what_it_runs() -> None:
    rows = recorded(8.0)
    known = {ahead_s: ablation.warm_up(rows, replace(USUAL, forecast_s=ahead_s)) for ahead_s in (0.0, 5.0)}
    assert known[5.0]["overshoot_c"] <= known[0.0]["overshoot_c"]
    assert all(0.0 <= one["above"] <= 1.0 and 0.6 <= one["accuracy"] <= 0.9 for one in known.values())


@pytest.mark.parametrize("seconds", [6.0, 60.0])
def test_the_course_is_slow_in_its_phase_only(seconds: float) -> None:
    along = ablation.course(seconds)
    assert list(along.seconds) == sorted(along.seconds) and set(along.speeds) <= set(ablation.CAPS)
    for number in range(100):
        name, _ = ablation.phase_at(number / 100)
        assert name == "clock" or along.at(seconds * number / 100) == 1.0


def test_the_folder_of_sensors_tells_what_it_should(tmp_path: Path) -> None:
    device, sampler = ablation.Device(tmp_path), FileSampler(str(tmp_path))
    device.tell(0.6, 300.0)
    context = sampler.sample(0.0)
    assert context.clock_cap_mhz == pytest.approx(0.6 * ablation.FULL_MHZ)
    assert context.memory_free_mb == pytest.approx(300.0, abs=0.01) and context.runnable is not None
