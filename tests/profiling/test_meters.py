from __future__ import annotations

from pathlib import Path

from adascale_runtime.seams.manifest import Cost
from profiling import device
from profiling import meters as estimates
from profiling.doctor import examine
from profiling.load import Burners


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
