"""What control groups leave a process: version 1 and 2, ancestors, containers, files that are damaged."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.device import memory, sensors
from adascale_runtime.device.sensors import FileSampler

MEMINFO = {"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable:    2000000 kB"}
V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
UNLIMITED = 0x7FFFFFFFFFFFF000


def lay(root: Path, files: dict[str, Any]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
    return str(root)


def v2(place: str, most: Any, used: int, **stat: int) -> dict[str, Any]:
    told = "\n".join(f"{name} {value}" for name, value in {"anon": used, **stat}.items())
    return {f"{place}/memory.max": most, f"{place}/memory.current": used, f"{place}/memory.stat": told}


def v1(place: str, most: Any, used: int, **stat: int) -> dict[str, Any]:
    told = "\n".join(f"{name} {value}" for name, value in {"cache": 7, **stat}.items())
    return {
        f"{place}/memory.limit_in_bytes": most, f"{place}/memory.usage_in_bytes": used, f"{place}/memory.stat": told,
    }  # fmt: skip


def test_version_2_counts_every_group_above(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/app/service",
        **v2(f"{V2}/app", 500_000_000, 450_000_000, active_file=10_000_000, inactive_file=20_000_000),
        **v2(f"{V2}/app/service", "max", 300_000_000),
    }
    root = lay(tmp_path, files)
    assert memory.room_mb(root) == 80.0  # 500 - (450 - 30)
    lay(tmp_path, v2(f"{V2}/app/service", 310_000_000, 300_000_000))
    assert memory.room_mb(root) == 10.0
    lay(tmp_path, {f"{V2}/app/service/memory.high": 304_000_000})  # the kernel holds a process up from there on
    assert memory.room_mb(root) == 4.0
    lay(tmp_path, {f"{V2}/app/service/memory.high": "max"})
    assert memory.free_mb(root, 3.0) == 3.0 and memory.free_mb(root, 30.0) == 10.0


def test_version_1_beside_version_2(tmp_path: Path) -> None:
    groups = "9:name=systemd:/\n4:cpu,memory:/box/inner\n1:cpu:/elsewhere\n0::/"
    files = {
        "proc/self/cgroup": groups,
        **v1(V1, UNLIMITED, 999),
        **v1(f"{V1}/box", 200_000_000, 150_000_000, total_inactive_file=5_000_000, total_active_file=1_000_000),
        **v1(f"{V1}/box/inner", UNLIMITED, 100_000_000),
    }
    root = lay(tmp_path, files)
    assert memory.room_mb(root) == 56.0
    lay(tmp_path, v1(f"{V1}/box", 200_000_000, 300_000_000))
    assert memory.room_mb(root) == 0.0  # a limit that was lowered below what is used


def test_a_container_that_knows_its_path_on_the_host_only(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "3:memory:/docker/0123", **v1(V1, 64_000_000, 60_000_000)}
    assert memory.room_mb(lay(tmp_path, files)) == 4.0
    nested = {"proc/self/cgroup": "0::/../../other", **v2(f"{V2}/other", 1000, 400)}
    assert memory.room_mb(lay(tmp_path / "b", nested)) == 0.0006


def test_both_samplers_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adascale_runtime.device.monitor import SystemSampler

    root = lay(tmp_path, {**MEMINFO, "proc/self/cgroup": "0::/a", **v2(f"{V2}/a", 70_000_000, 20_000_000)})
    assert FileSampler(root).sample(0.0).memory_free_mb == FileSampler(root).memory_free_mb() == 50.0
    told = memory.free_mb
    monkeypatch.setattr(memory, "free_mb", lambda _, device_mb: told(root, device_mb))
    assert SystemSampler().sample(0.0).memory_free_mb == SystemSampler().memory_free_mb() == 50.0
    monkeypatch.undo()
    here, there = FileSampler("/").memory_free_mb(), SystemSampler().memory_free_mb()
    assert here is not None and there == pytest.approx(here, rel=0.2)


def test_without_groups_it_is_what_the_device_tells(tmp_path: Path) -> None:
    root = lay(tmp_path, MEMINFO)
    assert memory.room_mb(root) is None and sensors.memory_free_mb(root) == 2048.0
    lay(tmp_path, {"proc/self/cgroup": "0::/a\n4:memory:/b", **v2(f"{V2}/a", "max", 5), **v1(f"{V1}/b", UNLIMITED, 5)})
    assert memory.room_mb(root) is None and sensors.memory_free_mb(root) == 2048.0


AMOUNTS = st.one_of(
    st.integers(-5, 1 << 63).map(lambda n: str(n).encode()),
    st.sampled_from([b"max", b"", b"nan", b"inf", b"-1", b"1e9"]),
    st.binary(max_size=30),
)  # fmt: skip


@given(
    st.one_of(st.sampled_from([b"0::/a", b"4:memory:/a", b"0::/a\n4:memory:/a"]), st.binary(max_size=60)),
    st.lists(AMOUNTS, min_size=5, max_size=5),
    st.one_of(st.binary(max_size=80), st.just(b"active_file 5\ninactive_file -3\ntotal_active_file 9\nx")),
)
def test_damaged_files_never_raise_and_never_tell_nonsense(own: bytes, amounts: list[bytes], stat: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = ("memory.max", "memory.high", "memory.current")
        files = {f"{V2}/a/{name}": text for name, text in zip(names, amounts, strict=False)}
        files |= {f"{V1}/a/memory.limit_in_bytes": amounts[3], f"{V1}/a/memory.usage_in_bytes": amounts[4]}
        root = lay(
            Path(folder), {"proc/self/cgroup": own, f"{V1}/a/memory.stat": stat, f"{V2}/a/memory.stat": stat, **files}
        )
        room = memory.room_mb(root)
        assert room is None or (math.isfinite(room) and 0.0 <= room <= (1 << 60) / 1e6)


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    root = lay(tmp_path, {"proc/self/cgroup": "0::/a", **v2(f"{V2}/a", 100, 50)})
    (tmp_path / V2 / "a" / "memory.current").unlink()
    (tmp_path / V2 / "a" / "memory.current").mkdir()
    assert memory.room_mb(root) is None
