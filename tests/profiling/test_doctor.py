from __future__ import annotations

from pathlib import Path

from profiling import doctor


def test_vulkan_drivers_are_found_by_their_files(tmp_path: Path) -> None:
    assert doctor.graphics((tmp_path / "absent",)).status == "missing"
    (tmp_path / "lvp_icd.x86_64.json").write_text("{}")
    found = doctor.graphics((tmp_path,))
    assert (found.status, found.detail, found.remedy) == ("ok", "lvp_icd.x86_64", "")


def test_npus_are_there_or_it_says_what_to_install() -> None:
    found = doctor.npus()
    if found.status == "missing":
        assert "npu needs" in found.detail and "install" in found.remedy
    else:
        assert "OpenVINO" in found.detail and (found.status == "ok") == ("CPU" not in found.detail)
