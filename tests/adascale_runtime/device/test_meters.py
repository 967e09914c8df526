"""Energy meters: one registry for hosts and phones, and what a job makes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adascale_runtime.device import meters
from adascale_runtime.measuring.energy import energy
from adascale_runtime.seams.facts import Busy, EnergyFact


def zone(root: Path, name: str, energy_uj: int, wrap: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{wrap}\n")
    return folder


def test_rapl_sums_packages_and_survives_the_wrap_around(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "intel-rapl:0", 900_000), zone(tmp_path, "intel-rapl:1", 5)
    zone(tmp_path, "intel-rapl:0:0", 77)  # a part of package 0, which counts it already
    read = meters.rapl(str(tmp_path))
    assert read is not None and read() == 0.0
    (first / "energy_uj").write_text("100000")
    (second / "energy_uj").write_text("300005")
    assert read() == pytest.approx(0.2 + 0.3)
    (first / "energy_uj").write_text("150000")
    assert read() == pytest.approx(0.55)


def test_the_platform_counter_is_not_added_to_its_packages(tmp_path: Path) -> None:
    package, platform = zone(tmp_path, "intel-rapl:0", 0), zone(tmp_path, "intel-rapl:1", 0)
    (package / "name").write_text("package-0\n")
    (platform / "name").write_text("psys\n")
    read = meters.rapl(str(tmp_path))
    assert read is not None
    (package / "energy_uj").write_text("100000")
    (platform / "energy_uj").write_text("150000")
    assert read() == pytest.approx(0.1)


def test_energy_of_runs_shorter_than_the_counters_step() -> None:
    """A counter that moves every 10 ms at 10 W, and runs of about 1 ms, which cost 10 mJ each."""
    runs = 0

    def run() -> None:
        nonlocal runs
        runs += 1
        time.sleep(0.001)

    begun = time.perf_counter()
    found = meters.per_run_mj(run, lambda: int((time.perf_counter() - begun) / 0.01) * 0.01 * 10)
    spent_s = time.perf_counter() - begun
    assert found is not None and found == pytest.approx(1e3 * 10 * spent_s / runs, rel=0.25)


def test_a_counter_that_stands_still_measures_nothing() -> None:
    assert meters.per_run_mj(lambda: None, lambda: 5.0) is None


def test_no_counter_is_no_meter(tmp_path: Path) -> None:
    assert meters.rapl(str(tmp_path)) is None
    (zone(tmp_path, "intel-rapl:0", 1) / "energy_uj").write_text("garbage")
    assert meters.rapl(str(tmp_path)) is None


def battery(root: Path) -> None:
    folder = root / "sys/class/power_supply/battery"
    folder.mkdir(parents=True)
    (folder / "type").write_text("Battery\n")


def test_a_device_has_the_meters_that_its_files_tell_of(tmp_path: Path) -> None:
    assert meters.opened(str(tmp_path)) == [] and meters.find(str(tmp_path)) is None
    zone(tmp_path / "sys/class/powercap", "intel-rapl:0", 5)
    assert [name for name, _ in meters.opened(str(tmp_path))] == ["rapl"]
    battery(tmp_path)
    assert [name for name, _ in meters.opened(str(tmp_path))] == ["battery", "rapl"]
    found = meters.find(str(tmp_path))
    assert found is not None and found[0] == "rapl"  # a gauge needs a rest, which a block of runs does not have


def spend(seconds: float, meanwhile: Callable[[], None]) -> Busy:
    meanwhile()
    return Busy(0.0, seconds, 10)


def told(meter: meters.Meter | None, wait: bool = True) -> EnergyFact:
    return energy(None if meter is None else ("mine", meter), spend, lambda why: wait or not why(), 0.001, 2.0)


def test_a_counter_measures_a_span_of_runs() -> None:
    readings = iter((5.0, 5.5))
    assert told(lambda: next(readings)) == EnergyFact(50.0, "measured:mine")
    assert "mine did not move" in str(told(lambda: 5.0).reason)
    assert "no battery" in str(told(None).reason)


class Slow(meters.Gauge):
    """A gauge that needs spans of at least eight seconds."""

    in_vain = "it was in the way"

    def __init__(self, obstacle: str | None = None) -> None:
        self._obstacle, self.samples = obstacle, 0

    def obstacle(self) -> str | None:
        return self._obstacle

    def sample(self) -> None:
        self.samples += 1

    def energy(self, idle: tuple[float, float], busy: Busy) -> EnergyFact:
        if busy.ended_s < 8:
            return EnergyFact(reason="too short", retry_longer=True)
        return EnergyFact(1.0, "measured:mine", details={"busy_s": busy.ended_s, "rest_s": idle[1] - idle[0]})


def test_a_gauge_that_is_slow_gets_longer_spans() -> None:
    gauge = Slow()
    assert told(gauge).details["busy_s"] == 8.0 and gauge.samples >= 9
    assert told(Slow("wait for me"), wait=False) == EnergyFact(reason="it was in the way")
