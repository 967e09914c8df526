"""``--delegates nnapi``: it works with benchmark_model, and everything else says so before a phone is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import adascale_tf as ada
from adascale_runtime.device.nnapi import INSTEAD
from adascale_runtime.errors import BadInput
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from android_harness import keys, store
from profiling import doctor
from tests.adascale_tf.cli.test_commands import run
from tests.fixtures import benchmark_model
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import Phone
from tests.fixtures.plain_bundle import write_bundle


@pytest.fixture()
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    keys.load(tmp_path / "adbkey")
    return tmp_path / "adbkey"


@pytest.fixture()
def plain(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture()
def phone(tmp_path: Path) -> Iterator[tuple[Phone, str]]:
    with emulated(tmp_path / "phone", update_s=0.15) as (made, adbd):
        yield made, f"127.0.0.1:{adbd.address[1]}"


def android(phone: Phone, sdk: int) -> None:
    """Make the phone one of another API level."""
    lines = (phone.root / "system/build.prop").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("ro.build.version.sdk=")]
    (phone.root / "system/build.prop").write_text("\n".join([*kept, f"ro.build.version.sdk={sdk}"]) + "\n")


def untouched(phone: Phone, out: Path) -> bool:
    return not (phone.root / store.FOLDER.lstrip("/")).exists() and not out.exists()


def words(plain: Bundle, out: Path, *more: object) -> tuple[Any, ...]:
    return ("profile", plain.root, "--delegates", "cpu,nnapi", "--runs", 2, "--out", out, *more)


def test_this_machine_says_who_has_nnapi(capsys: pytest.CaptureFixture[str], plain: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    code, told, err = run(capsys, *words(plain, out))
    assert code == 2 and told == "" and not out.exists()
    assert "The delegate 'nnapi' does not open here: only the runner benchmark_model has it" in err


def test_the_agent_says_who_has_nnapi_before_the_phone_is_asked(
    capsys: pytest.CaptureFixture[str], plain: Bundle, phone: tuple[Phone, str], key: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.jsonl"
    code, _, err = run(capsys, *words(plain, out, "--device", phone[1], "--key", key))
    assert code == 2 and untouched(phone[0], out)
    assert "The runner agent has no delegate nnapi; it has builtin, cpu, gpu, npu" in err
    assert "(nnapi: use '--runner benchmark_model')" in err
    (tmp_path / "fleet.yaml").write_text(f"hosts: [{{name: here, phones: ['{phone[1]}']}}]\n")
    code, _, err = run(capsys, *words(plain, out, "--fleet", tmp_path / "fleet.yaml"))
    assert code == 2 and "The runner agent has no delegate nnapi" in err
    with pytest.raises(BadInput, match="The runner agent has no delegate nnapi"):
        ada.termux(plain, phone[1], delegates=["nnapi"], key=key)
    assert untouched(phone[0], out)


def test_benchmark_model_says_who_has_npu(
    capsys: pytest.CaptureFixture[str], plain: Bundle, phone: tuple[Phone, str], key: Path, tmp_path: Path
) -> None:
    out, tool = tmp_path / "m.jsonl", benchmark_model.write(tmp_path)
    asked = ("--delegates", "npu", "--device", phone[1], "--key", key, "--runner", "benchmark_model", "--binary", tool)
    code, _, err = run(capsys, *words(plain, out, *asked))
    assert code == 2 and untouched(phone[0], out) and "(npu: use '--runner agent')" in err


def test_benchmark_model_measures_nnapi_and_says_that_it_is_deprecated(
    capsys: pytest.CaptureFixture[str], plain: Bundle, phone: tuple[Phone, str], key: Path, tmp_path: Path
) -> None:
    android(phone[0], 35)
    out, tool = tmp_path / "m.jsonl", benchmark_model.write(tmp_path)
    asked = ("--device", phone[1], "--key", key, "--runner", "benchmark_model", "--binary", tool, "--allow-fallback")
    code, _, err = run(capsys, *words(plain, out, *asked, "--delegates", "nnapi", "--precise", 0))
    assert code == 0, err
    (measured,) = records.read([out])
    assert measured.delegate == "nnapi" and f"(API level 35): {INSTEAD}." in err
    notes = ada.compare_delegates([measured]).notes
    assert any("outputs of nnapi were not compared" in note for note in notes)
    assert any("NNAPI is deprecated on" in note for note in notes)
    earlier = replace(measured, device={**measured.device, "sdk": "34"})
    assert not any("deprecated" in note for note in ada.compare_delegates([earlier]).notes)


def test_a_phone_without_nnapi_is_refused_before_anything_is_pushed(
    capsys: pytest.CaptureFixture[str], plain: Bundle, phone: tuple[Phone, str], key: Path, tmp_path: Path
) -> None:
    android(phone[0], 26)
    out, tool = tmp_path / "m.jsonl", benchmark_model.write(tmp_path)
    asked = ("--device", phone[1], "--key", key, "--runner", "benchmark_model", "--binary", tool)
    code, _, err = run(capsys, *words(plain, out, *asked))
    assert code == 2 and "has no NNAPI: its API level is 26, and NNAPI begins with 27." in err
    assert untouched(phone[0], out)


def test_the_doctor_looks_at_phones(capsys: pytest.CaptureFixture[str], phone: tuple[Phone, str], key: Path) -> None:
    found = {check.name: check for check in ada.doctor([phone[1]], key=key).checks}
    assert "nnapi" in found["delegates on phones"].detail
    one = found[f"phone {phone[1]}"]
    assert one.status == "ok" and "Android 14 (API level 34), NNAPI 1.3" in one.detail
    android(phone[0], 36)
    code, told, _ = run(capsys, "doctor", "--device", phone[1], "--key", key, "--json")
    assert code == 0 and "NNAPI 1.3 (with --runner benchmark_model), deprecated" in told and INSTEAD in told


def test_the_doctor_says_what_a_phone_lacks() -> None:
    assert doctor.phone("usb", {}, "it is asleep") == doctor.Check(
        "phone usb", "missing", "it is asleep", "see 'adascale devices'"
    )
    assert "no NNAPI" in doctor.phone("usb", {"name": "Old 1", "android": "8", "sdk": "26"}, "").detail
    assert "(API level unknown), no NNAPI" in doctor.phone("usb", {"name": "Odd 1", "sdk": "?"}, "").detail
