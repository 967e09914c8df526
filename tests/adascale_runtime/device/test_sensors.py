from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adascale_runtime.device import sensors
from adascale_runtime.device.sensors import FileSampler, Supply

STAT = "cpu  {user} 0 {system} {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
POWER, THERMAL = "sys/class/power_supply", "sys/class/thermal"
#: A file that the kernel lets nobody read, not even root.
WRITE_ONLY = Path("/proc/sys/vm/compact_memory")


def lay(root: Path, files: dict[str, Any]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
    return str(root)


def supply(name: str, kind: str = "Battery", **values: Any) -> dict[str, Any]:
    return {f"{POWER}/{name}/{key}": value for key, value in {"type": kind, **values}.items()}


def zones(**celsius: Any) -> dict[str, Any]:
    found = {}
    for number, (kind, value) in enumerate(celsius.items()):
        found.update({f"{THERMAL}/thermal_zone{number}/type": kind, f"{THERMAL}/thermal_zone{number}/temp": value})
    return found


def cpus(*khz: Any, name: str = "scaling_cur_freq") -> dict[str, Any]:
    return {f"sys/devices/system/cpu/cpu{n}/cpufreq/{name}": value for n, value in enumerate(khz)}


PROC = {
    "proc/stat": STAT.format(user=100, system=50, idle=850),
    "proc/loadavg": "1.20 0.80 0.50 4/1200 4321",
    "proc/meminfo": "MemTotal:        8000000 kB\nMemFree:          200000 kB\nMemAvailable:    2000000 kB",
}
PIXEL = {
    **PROC,
    **cpus(300_000, 300_000, 2_900_000, 2_900_000),
    **zones(BIG=41000, LITTLE=39000, G3D=35000, battery=31000, modem=99000),
    **supply("battery", status="Discharging", current_now=-412000, voltage_now=3_850_000, capacity=77, temp=294),
    **supply("usb", "USB", online=0),
}
SAMSUNG = {
    **PROC,
    **cpus(1_000_000, 2_000_000),
    **zones(**{"cpu-big": 52000, "charger": 70000}),
    **supply("battery", status="Discharging", current_now=-118, voltage_now=3850, capacity=60),
    **supply("max77705-fuelgauge", current_now=-240, voltage_now=3847, capacity=61),
    **supply("ac", "Mains", online=0),
    **supply("wireless", "Wireless", online=0),
}
ANDROID8 = {
    "proc/meminfo": PROC["proc/meminfo"],
    "proc/loadavg": PROC["proc/loadavg"],
    **zones(tsens_tz_sensor0=44, tsens_tz_sensor1=47, tsens_tz_sensor2=-273),
    **supply("bms", "BMS", current_now=250000),
    **supply("battery", status="Not charging", capacity=100),
    **supply("usb", "USB", online=1),
}


def test_a_pixel(tmp_path: Path) -> None:
    root = lay(tmp_path, PIXEL)
    sampler = FileSampler(root)
    context = sampler.sample(1.5)
    assert context.time_s == 1.5 and context.cpu_load is None and context.cores == os.cpu_count()
    assert sampler.reasons == {"cpu_load": "needs two samples"}
    assert (context.runnable, context.cpu_freq_mhz, context.memory_free_mb) == (3, 1600.0, 2048.0)
    assert (context.battery, context.charging, context.temperature_c) == (0.77, False, 41.0)
    battery = sensors.batteries(sensors.supplies(root))
    assert battery == [Supply("battery", "Battery", "Discharging", -412000.0, 3_850_000.0, 77.0, 294.0, None)]


def test_a_samsung_with_several_supplies(tmp_path: Path) -> None:
    root = lay(tmp_path, SAMSUNG)
    found = sensors.supplies(root)
    assert [s.name for s in found] == ["ac", "battery", "max77705-fuelgauge", "wireless"]
    assert [s.name for s in sensors.batteries(found)] == ["battery", "max77705-fuelgauge"]
    context = FileSampler(root).sample(0.0)
    assert (context.battery, context.charging, context.temperature_c) == (0.6, False, 52.0)


def test_an_old_phone_without_stat_and_frequencies(tmp_path: Path) -> None:
    root = lay(tmp_path, ANDROID8)
    sampler = FileSampler(root)
    sampler.sample(0.0)
    context = sampler.sample(1.0)
    assert (context.cpu_load, context.cpu_freq_mhz) == (None, None)
    assert set(sampler.reasons) == {"cpu_load", "cpu_freq_mhz"}
    assert all(why == "not reported by this device (FileNotFoundError)" for why in sampler.reasons.values())
    assert (context.battery, context.charging, context.temperature_c) == (1.0, True, 47.0)


@pytest.mark.parametrize("name", ["proc/stat", "proc/meminfo", "proc/loadavg"])
def test_what_is_denied_says_so(tmp_path: Path, name: str) -> None:
    if not WRITE_ONLY.exists():
        pytest.skip("this kernel has no file that root may not read")
    root = lay(tmp_path, PIXEL)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(WRITE_ONLY)
    signal = {"proc/stat": "cpu_load", "proc/meminfo": "memory_free_mb", "proc/loadavg": "runnable"}[name]
    sampler = FileSampler(root)
    for time_s in (0.0, 1.0):
        assert getattr(sampler.sample(time_s), signal) is None
        assert sampler.reasons[signal] == "denied by the system"


def test_a_directory_in_the_place_of_a_file_is_no_crash(tmp_path: Path) -> None:
    root = lay(tmp_path, {key: text for key, text in PIXEL.items() if key != "proc/stat"})
    (tmp_path / "proc/stat").mkdir()
    sampler = FileSampler(root)
    assert sampler.sample(0.0).cpu_load is None
    assert sampler.reasons == {"cpu_load": "not reported by this device (IsADirectoryError)"}


def test_denied_zones_are_denied_and_not_absent(tmp_path: Path) -> None:
    if not WRITE_ONLY.exists():
        pytest.skip("this kernel has no file that root may not read")
    root = lay(tmp_path, {f"{THERMAL}/thermal_zone0/type": "cpu"})
    (tmp_path / THERMAL / "thermal_zone0/temp").symlink_to(WRITE_ONLY)
    with pytest.raises(PermissionError):
        sensors.temperatures_c(root)
    lay(tmp_path, {f"{THERMAL}/thermal_zone1/type": "gpu", f"{THERMAL}/thermal_zone1/temp": 40000})
    assert sensors.temperatures_c(root) == {"gpu": 40.0}


@pytest.mark.parametrize(
    ("celsius", "wanted"),
    [
        ({"cpu": 45, "soc": 47500}, {"cpu": 45.0, "soc": 47.5}),
        ({"cpu": -5, "pa": -12000}, {"cpu": -5.0, "pa": -12.0}),
        ({"cpu": 41000, "a": -273000, "b": -40, "c": 150000, "d": 999, "e": "", "f": "nan", "g": "hot"}, {"cpu": 41.0}),
    ],
)
def test_temperatures(tmp_path: Path, celsius: dict[str, Any], wanted: dict[str, float]) -> None:
    assert sensors.temperatures_c(lay(tmp_path, zones(**celsius))) == wanted


def test_of_zones_with_one_name_the_hottest_counts(tmp_path: Path) -> None:
    files = {f"{THERMAL}/thermal_zone{n}/type": "cpu" for n in range(3)}
    files |= {f"{THERMAL}/thermal_zone{n}/temp": value for n, value in enumerate((40000, 61000, 50000))}
    assert sensors.temperatures_c(lay(tmp_path, files)) == {"cpu": 61.0}


@given(st.integers(-29_000, 149_000).filter(lambda millis: abs(millis) >= 1000))
def test_degrees_and_millidegrees_mean_the_same(millis: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = lay(Path(folder), zones(fine=millis, coarse=round(millis / 1000)))
        found = sensors.temperatures_c(root)
        assert found["fine"] == millis / 1000 and abs(found["coarse"] - found["fine"]) <= 0.5


def test_a_phone_of_zones_that_compute_nothing_tells_the_hottest(tmp_path: Path) -> None:
    root = lay(tmp_path, zones(battery=31000, charger=44000))
    assert FileSampler(root).sample(0.0).temperature_c == 44.0
    lay(tmp_path, {f"{THERMAL}/thermal_zone9/type": "CPU-0-1", f"{THERMAL}/thermal_zone9/temp": 38000})
    assert FileSampler(root).sample(0.0).temperature_c == 38.0


def test_no_plausible_zone_is_no_temperature(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no thermal zone"):
        sensors.temperatures_c(lay(tmp_path, zones(cpu=-273000)))


def test_frequencies_of_cores_that_are_awake(tmp_path: Path) -> None:
    root = lay(tmp_path, {**cpus(*[300_000] * 12), **cpus(2_000_000, 1_000_000, name="cpuinfo_max_freq")})
    assert sensors.frequencies_mhz(root) == dict.fromkeys(range(12), 300.0)
    assert sensors.frequencies_mhz(root, "cpuinfo_max_freq") == {0: 2000.0, 1: 1000.0}
    lay(tmp_path, cpus("", "<unknown>"))
    assert set(sensors.frequencies_mhz(root)) == set(range(2, 12))


def test_no_readable_frequency_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no cpufreq"):
        sensors.frequencies_mhz(str(tmp_path))
    with pytest.raises(ValueError, match="not a finite number"):
        sensors.frequencies_mhz(lay(tmp_path, cpus("inf")))
    (tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").unlink()
    with pytest.raises(FileNotFoundError):
        sensors.frequencies_mhz(str(tmp_path))


CHARGERS = [
    ({"status": "Charging"}, {}, True),
    ({"status": "Full"}, {}, True),
    ({"status": "Discharging"}, {}, False),
    ({"status": "Not charging"}, {}, False),
    ({"status": "Discharging"}, {"online": 0}, False),
    ({"status": "Discharging"}, {"online": 1}, True),
    ({"status": "charging"}, {"online": 0}, True),
    ({}, {"online": 1}, True),
    ({}, {"online": 0}, False),
    ({}, {}, None),
    ({}, {"online": "?"}, None),
]


@pytest.mark.parametrize(("battery", "charger", "wanted"), CHARGERS)
def test_charging_by_status_and_by_charger(
    tmp_path: Path, battery: dict[str, Any], charger: dict[str, Any], wanted: bool | None
) -> None:
    root = lay(tmp_path, {**supply("battery", capacity=50, **battery), **supply("usb", "USB", **charger)})
    assert sensors.charging(sensors.supplies(root)) is wanted
    assert FileSampler(root).sample(0.0).charging is wanted


def test_a_supply_without_a_kind_is_left_out(tmp_path: Path) -> None:
    root = lay(tmp_path, {f"{POWER}/odd/capacity": 5, **supply("battery", capacity=50)})
    assert [s.name for s in sensors.supplies(root)] == ["battery"]


def test_bytes_that_are_no_text_leave_the_rest(tmp_path: Path) -> None:
    root = lay(tmp_path, supply("battery", status=b"\xff\xfe\x80", capacity=50, current_now=b"\x80"))
    (found,) = sensors.supplies(root)
    assert found.capacity == 50.0 and found.current is None
    assert FileSampler(root).sample(0.0).battery == 0.5


def test_the_load_is_that_of_others_between_two_samples(tmp_path: Path) -> None:
    root = lay(tmp_path, PIXEL)
    sampler = FileSampler(root)
    sampler.sample(0.0)
    lay(tmp_path, {"proc/stat": STAT.format(user=60100, system=50, idle=40850)})  # 600 s of 1000 s
    context = sampler.sample(1.0)
    assert context.cpu_load == pytest.approx(0.6, abs=0.02) and "cpu_load" not in sampler.reasons
    assert sampler.sample(2.0).cpu_load is None  # the counters stand still
    assert sampler.reasons["cpu_load"] == "needs two samples"


@given(st.lists(st.integers(0, 10**6), min_size=8, max_size=8))
def test_cpu_seconds_add_up(ticks: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Guest time, the last two columns, is in user time already.
        root = lay(Path(folder), {"proc/stat": "cpu  " + " ".join(map(str, [*ticks, 777, 888]))})
        busy, total = sensors.cpu_seconds(root)
        assert total == sum(ticks) / 100 and busy == pytest.approx(total - (ticks[3] + ticks[4]) / 100)


def test_slow_signals_are_read_seldom_and_fast_ones_always(tmp_path: Path) -> None:
    root = lay(tmp_path, PIXEL)
    sampler = FileSampler(root)
    first = sampler.sample(0.0)
    lay(tmp_path, {**zones(BIG=50000), "proc/loadavg": "1 1 1 9/1200 1", "proc/meminfo": "MemAvailable: 1000 kB"})
    later = [sampler.sample(float(n)) for n in range(1, FileSampler.SLOW + 1)]
    assert first.runnable == 3 and {c.runnable for c in later} == {8}
    assert first.memory_free_mb == 2048.0 and {c.memory_free_mb for c in later} == {1.024}  # it may run out any time
    assert {c.temperature_c for c in later[:-1]} == {first.temperature_c} == {41.0} and later[-1].temperature_c == 50.0


def test_a_reason_goes_when_the_signal_comes(tmp_path: Path) -> None:
    sampler = FileSampler(str(tmp_path))
    assert sampler.sample(0.0).runnable is None and "runnable" in sampler.reasons
    lay(tmp_path, PROC)
    assert sampler.sample(1.0).runnable == 3 and "runnable" not in sampler.reasons


def test_an_empty_device_gives_reasons_for_everything(tmp_path: Path) -> None:
    sampler = FileSampler(str(tmp_path))
    context = sampler.sample(0.0)
    names = {"cpu_load", "runnable", "cpu_freq_mhz", "memory_free_mb", "battery", "temperature_c"}
    assert set(sampler.reasons) == names and all(getattr(context, name) is None for name in names)


def test_this_machine(tmp_path: Path) -> None:
    sampler = FileSampler("/")
    context = sampler.sample(0.0)
    assert context.memory_free_mb is not None and 0 < context.memory_free_mb < 1e8
    assert context.runnable is not None and context.runnable >= 0
    for name in ("cpu_freq_mhz", "battery", "temperature_c"):
        assert (getattr(context, name) is None) == (name in sampler.reasons)


GARBAGE = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text("0123456789 .-+einfa\n:kBcpuMemAvlb/", max_size=40).map(str.encode),
    st.sampled_from(
        [b"", b"nan", b"inf", b"-1", b"1e999", b"cpu ", b"MemAvailable:", b"9" * 30, b"cpu inf inf inf 1 1"]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(sorted(PIXEL), GARBAGE)), st.fixed_dictionaries({"proc/stat": GARBAGE}))
@example(dict.fromkeys(PIXEL, b"1e999"), {"proc/stat": b"cpu nan nan nan nan nan"})
def test_garbage_never_raises(files: dict[str, bytes], later: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sampler = FileSampler(lay(Path(folder), files))
        contexts = [sampler.sample(0.0)]
        lay(Path(folder), later)
        contexts.append(sampler.sample(1.0))
        for context in contexts:
            assert context.cpu_load is None or 0 <= context.cpu_load <= 1
            assert context.runnable is None or context.runnable >= 0
            assert context.temperature_c is None or -30 < context.temperature_c < 150
            assert context.charging in (True, False, None)
        for found in sensors.supplies(folder):
            assert isinstance(found.kind, str)


TERMUX = """{"health": "GOOD", "percentage": 63, "plugged": "UNPLUGGED", "status": "DISCHARGING", "temperature": 31.2,
 "current": -284000, "voltage": 3912}"""


def test_termux_tells_of_the_battery_where_files_do_not(tmp_path, monkeypatch):
    program = tmp_path / "bin/termux-battery-status"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{TERMUX}\nE\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    battery, charger = sensors.supplies(str(tmp_path))
    assert (battery.current, battery.voltage, battery.capacity, battery.temperature) == (-284000, 3912, 63, 312)
    assert charger.online is False and sensors.charging([battery, charger]) is False
    context = sensors.FileSampler(str(tmp_path)).sample(0.0)
    assert (context.battery, context.charging) == (0.63, False)


@given(
    st.text() | st.sampled_from(["null", "[]", "{}", '{"plugged": 1}', '{"plugged": "x", "status": 3, "current": "x"}'])
)
def test_whatever_termux_answers_is_a_battery_or_nothing(text):
    for supply in sensors.parse_termux(text):
        assert supply.current is None or isinstance(supply.current, float)
