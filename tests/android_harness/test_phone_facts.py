"""What phones say of themselves, and what they might: no text takes long, raises, or gets out of its place."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_harness import benchmark_runner, phone_facts
from android_harness.harness import file_name
from android_harness.phone_facts import Battery, parse_battery, parse_thermal

SIZE = 2_000_000
DUMP = """Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 2
  level: 80
  scale: 100
  voltage: 3850
  temperature: 291
  technology: Li-ion
  Charge counter: 3200000
"""


class Shell:
    """An adb whose shell answers what a test says, after the words that the command prints itself."""

    address = "phone:1"

    def __init__(self, answers: dict[str, str], raw: str | None = None) -> None:
        self.answers, self.raw = answers, raw

    def shell(self, command: str, timeout_s: float = 0) -> tuple[int, str]:
        if self.raw is not None:
            return 0, self.raw
        keys = ("serial", "manufacturer", "model", "soc", "board", "android", "sdk", "abi", "cores", "memory")
        lines = [f"@adascale-fact {key} {self.answers.get(key, '')}" for key in keys]
        parts = [f"@adascale-fact {name}\n{self.answers.get(name, '')}" for name in ("battery", "thermal")]
        return 0, "\n".join([*lines, *parts])


def test_the_battery_is_read() -> None:
    assert parse_battery(DUMP) == Battery(0.8, 3.85, 29.1, "charging", True)
    assert parse_battery(DUMP.replace("\n", "\r\n")) == parse_battery(DUMP)
    assert parse_battery("Can't find service: battery") == Battery()
    assert parse_battery("level: 80\nscale: 0\nvoltage: x\nstatus: 77") == Battery(0.8, status="unknown")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "٣٣", "", "1 2", "0x10", "9" * 5000])
def test_figures_of_the_battery_that_are_none(value: str) -> None:
    for name in ("level", "scale", "voltage", "temperature", "status"):
        parse_battery(f"{name}: {value}\n")


@pytest.mark.parametrize(
    ("text", "word"),
    [("Thermal Status: 3\n", "severe"), ("Thermal Status: 9", None), ("Thermal Status:", None), ("", None)],
)
def test_the_thermal_status(text: str, word: str | None) -> None:
    assert parse_thermal(text) == word


@pytest.mark.parametrize("text", ["", "x", "²", "9" * 5000, "12345678901234567890", "-", "³8"])
def test_counts_that_are_none(text: str) -> None:
    assert phone_facts.count(text) in (None, 8)


PIECES = [
    " ", "\t", "a", "a ", "9", "level", "level:", "level: ", ": ", "\n", " \n", "a: 9 ", "Thermal Status:", " kB",
    "9 k", "Thermal Status: ", "@adascale-fact ", "@adascale-fact a", "@adascale-fact battery\n",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_two_megabytes_of_anything_take_no_long_time(piece: str) -> None:
    text = piece * (SIZE // len(piece))
    begun = time.process_time()
    parse_battery(text)
    parse_thermal(text)
    phone_facts.count(text)
    phone_facts.read(Shell({}, text))  # type: ignore[arg-type]
    phone_facts.read(Shell({name: text.replace("\n", "") for name in ("cores", "memory", "serial")}))  # type: ignore[arg-type]
    assert time.process_time() - begun < 10


@given(st.dictionaries(st.sampled_from(["serial", "model", "cores", "memory", "battery", "thermal", "abi"]), st.text()))
def test_no_phone_makes_it_raise(answers: dict[str, str]) -> None:
    found = phone_facts.read(Shell(answers))  # type: ignore[arg-type]
    assert all(found[key] is None or found[key].isprintable() for key in ("serial", "model", "abi"))


@given(st.text())
def test_no_output_makes_it_raise(text: str) -> None:
    phone_facts.read(Shell({}, text))  # type: ignore[arg-type]


def test_a_long_serial_number_is_cut_and_makes_a_file_s_name() -> None:
    found = phone_facts.read(Shell({"serial": "\x1b[31m" + "S" * 300, "model": "Pixel"}))  # type: ignore[arg-type]
    assert found["serial"].startswith("\\x1b[31mSS") and len(found["serial"]) <= 220
    assert found["name"] == f"Pixel {found['serial']}"
    names = {file_name("S" * 300 + end) for end in "ab"} | {file_name("字" * 60)}
    assert len(names) == 3 and all(len(name.encode()) <= 80 for name in names)
    assert file_name("192.168.1.20:5555") == "192.168.1.20_5555"


@pytest.mark.parametrize("name", [
    "/proc/../../../tmp/x", "/proc/a/../../b", "/sys/class/../../x", "/proc/", "/proc", "/etc/passwd", "/proc/.hidden",
    "/proc/a\0b", "/sys/class/" + "a" * 300, "/sys/class/" + "a/" * 300,
])  # fmt: skip
def test_what_a_phone_s_files_are_called_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "a/b/c/root"
    root.mkdir(parents=True)
    lines = (
        f"{name}:text\n/proc/stat:cpu 1 2\n/sys/class/power_supply/usb/type:USB\n/proc/stat/x:y\nlog/proc/loadavg:1\n"
    )
    asked: Any = Shell({}, lines)
    assert benchmark_runner._lay(asked, "grep", root) == ["cpu 1 2\n"]
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    inside = "a/b/c/root/"
    assert files <= {f"{inside}proc/stat", f"{inside}sys/class/power_supply/usb/type", f"{inside}proc/loadavg"}


def test_a_long_line_of_a_phone_s_files_takes_no_long_time(tmp_path: Path) -> None:
    begun = time.process_time()
    for piece in ("/proc/", "/proc/a", "a", "/", "/proc/a:"):
        benchmark_runner._lay(Shell({}, piece * (SIZE // len(piece))), "grep", tmp_path)  # type: ignore[arg-type]
    assert time.process_time() - begun < 10
