from __future__ import annotations

import time
from pathlib import Path

import pytest

from adascale_runtime.device import meters
from adascale_runtime.seams.bundle import Cost
from profiling import device
from profiling import meters as estimates
from profiling.doctor import examine
from profiling.load import Burners


def zone(root: Path, name: str, energy: int, wrap: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{energy}\n")
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


def test_the_estimate_says_so_and_orders_branches() -> None:
    cost = Cost(10**8, 10**6, 4 * 10**6, 10**6, 10**5, 30)
    full, integer = estimates.estimate(cost, "float32"), estimates.estimate(cost, "int8")
    assert full.how == "estimated:model" and "no energy meter" in str(full.reason)
    assert full.value_mj is not None and integer.value_mj is not None and full.value_mj > integer.value_mj > 0


def test_caches_are_read_from_the_kernels_files(tmp_path: Path) -> None:
    for number, (level, kind, size) in enumerate(
        [("1", "Data", "64K"), ("2", "Unified", "1024K"), ("3", "Unified", "8M")]
    ):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(value + "\n")
    (tmp_path / "index9").mkdir()
    assert device.caches(tmp_path) == {"L1d": 65536, "L2": 1 << 20, "L3": 8 << 20}
    assert device.caches(tmp_path / "absent") == {}


def test_burners_load_the_machine_and_vanish() -> None:
    with Burners(2 * (device.facts()["cores"] or 1)) as burners:
        children = list(burners.children)
        context = device.snapshot(1.0)
        assert context.cpu_load is not None and context.cpu_load > 0.6
    assert all(child.poll() is not None for child in children)


def test_the_doctor_names_what_is_missing_and_the_remedy() -> None:
    checks = {check.name: check for check in examine()}
    assert {"python", "tensorflow", "ai-edge-litert", "delegates", "energy meter", "adb", "machine"} <= set(checks)
    assert checks["tensorflow"].status == "ok" and "cpu" in checks["delegates"].detail
    assert all(check.remedy for check in checks.values() if check.status == "missing")
