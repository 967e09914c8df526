"""The energy audit against simulated devices whose true power is known, and against real files of meters."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adascale_runtime.device import attribution, audit, meters
from adascale_runtime.device.attribution import Attribution
from adascale_runtime.device.audit import Auditor, counted, gauged
from adascale_runtime.policies.limits import Engine
from adascale_runtime.seams.events import Audit

CPU, GPU = ("cpu", 1), ("gpu", 1)


class Device(meters.Gauge):
    """A device whose gauge tells every ``update_s`` seconds what it drew since the update before, with some noise."""

    def __init__(self, rest_w: float, update_s: float = 0.25, noise: float = 0.01) -> None:
        self.now, self.rest_w, self.update_s, self.noise = 0.0, rest_w, update_s, noise
        self.told, self._joules, self._since, self._random = rest_w, 0.0, 0.0, random.Random(3)
        self._kept: list[tuple[float, float]] = []

    def clock(self) -> float:
        return self.now

    def pass_(self, seconds: float, joules: float = 0.0) -> None:
        """Time passes, and inferences take so much meanwhile."""
        self.now += seconds
        self._joules += joules + self.rest_w * seconds
        if self.now - self._since >= self.update_s:
            self.told = self._joules / (self.now - self._since) * self._random.gauss(1.0, self.noise)
            self._joules, self._since = 0.0, self.now

    def obstacle(self) -> str | None:
        return None

    def sample(self) -> None:
        self._kept.append((self.now, self.told))

    def readings(self) -> Sequence[tuple[float, float]]:
        return list(self._kept)

    def forget(self, before_s: float) -> None:
        self._kept = [reading for reading in self._kept if reading[0] >= before_s]


def let(device: Device, auditor: Auditor, seconds: float, load: dict[Engine, tuple[float, float]]) -> None:
    """Inferences ten times a second; ``load``: what one is predicted to take, and what it takes, in mJ."""
    for _ in range(round(10 * seconds)):
        device.pass_(0.1, sum(true for _, true in load.values()) / 1e3)
        for engine, (predicted, _) in load.items():
            auditor.spent(engine, predicted)
        auditor.step()


def told(auditor: Auditor) -> Audit:
    found = auditor.latest()
    assert found is not None
    return found


@pytest.mark.parametrize("k", [0.5, 1 / 1.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("energy_mj", [20.0, 100.0])
def test_wrong_predictions_are_corrected_within_seconds(k: float, energy_mj: float) -> None:
    device = Device(0.6)
    auditor = Auditor(device, device.clock)
    let(device, auditor, 4.0, {})
    let(device, auditor, 12.0, {CPU: (energy_mj, k * energy_mj)})
    assert told(auditor).energies["cpu x 1"] == pytest.approx(k, rel=0.1)
    assert told(auditor).rest_mw == pytest.approx(600.0, rel=0.1)


def test_without_rest_a_changing_load_tells_them_apart() -> None:
    device = Device(0.9)
    auditor = Auditor(device, device.clock)
    for _ in range(10):
        let(device, auditor, 6.0, {CPU: (100.0, 150.0)})
        let(device, auditor, 6.0, {CPU: (20.0, 30.0)})
    assert told(auditor).energies["cpu x 1"] == pytest.approx(1.5, rel=0.1)
    assert told(auditor).rest_mw == pytest.approx(900.0, rel=0.1)


def test_each_engine_has_its_own() -> None:
    device = Device(0.6)
    auditor = Auditor(device, device.clock)
    let(device, auditor, 4.0, {})
    for _ in range(8):
        let(device, auditor, 6.0, {CPU: (100.0, 150.0)})
        let(device, auditor, 6.0, {GPU: (80.0, 60.0)})
    assert told(auditor).energies["cpu x 1"] == pytest.approx(1.5, rel=0.1)
    assert told(auditor).energies["gpu x 1"] == pytest.approx(0.75, rel=0.1)


def test_what_others_draw_is_laid_to_the_rest() -> None:
    device = Device(0.6)
    auditor = Auditor(device, device.clock)
    let(device, auditor, 4.0, {})
    let(device, auditor, 60.0, {CPU: (100.0, 100.0)})
    device.rest_w = 1.4
    let(device, auditor, 60.0, {CPU: (100.0, 100.0)})
    assert told(auditor).rest_mw == pytest.approx(1400.0, rel=0.1)
    assert told(auditor).energies["cpu x 1"] == pytest.approx(1.0, abs=0.15)


def test_steady_inferences_change_little_and_are_told_seldom() -> None:
    device = Device(0.6, noise=0.003)
    auditor = Auditor(device, device.clock)
    let(device, auditor, 30.0, {CPU: (100.0, 100.0)})
    audits = set()
    for _ in range(100):
        let(device, auditor, 3.0, {CPU: (100.0, 100.0)})
        audits.add(id(auditor.latest()))
    assert len(audits) < 20


def test_a_gauge_that_never_moves_teaches_nothing_and_fills_no_memory() -> None:
    device = Device(0.6, update_s=1e9)
    auditor = Auditor(device, device.clock)
    let(device, auditor, 3 * audit.LONGEST_S, {CPU: (100.0, 100.0)})
    assert auditor.latest() is None
    assert len(auditor._ledger) <= 10 * audit.LONGEST_S + 2 and len(device.readings()) <= 10 * audit.LONGEST_S + 2


def test_readings_are_means_since_the_change_before() -> None:
    held = [(0.0, 9.0), (0.1, 9.0), (0.2, 1.0), (0.3, 1.0), (0.4, 2.0), (0.6, 3.0), (0.8, 2.0), (1.0, 4.0), (1.1, 4.0)]
    found = gauged(held)
    assert found is not None and (found.begin_s, found.end_s) == (0.2, 1.0)
    assert found.power_mw == pytest.approx(1e3 * (2.0 + 3.0 + 2.0 + 4.0) / 4)
    assert gauged(held, settle=1) is None and gauged([]) is None
    assert counted([(0.0, 5.0), (1.0, 6.0), (2.0, 9.0)]) == (0.0, 2.0, 2000.0, 0.0)
    assert counted([(0.0, 5.0)]) is None and counted([(0.0, 5.0), (1.0, 5.0)]) is None


spans = st.lists(
    st.tuples(st.floats(0, 1e5), st.floats(0, 1e4), st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e4)),
    max_size=30,
)


@given(spans)
@example([(0.0, 0.0, 0.0, 1.0, 2.0), (0.0, 0.0, 0.0, 0.0, 0.0)])
@example([(0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 6700.3125, 1.2e-7)])
def test_whatever_is_measured_estimates_stay_possible(rows: list[tuple[float, ...]]) -> None:
    known = Attribution()
    for power, error, cpu, gpu, seconds in rows:
        known = attribution.seen(known, power, error, {CPU: cpu, GPU: gpu}, seconds)
        low, high = attribution.FACTORS
        assert all(low <= k <= high for k in known.energies.values()) and known.mean[0] >= 0.0
        assert all(row[i] >= 0.0 for i, row in enumerate(known.covariance))


# --- real files


def battery(root: Path, current_ua: int, status: str = "Discharging") -> None:
    folder = root / "sys/class/power_supply/battery"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {
        "type": "Battery", "status": status, "current_now": -current_ua, "voltage_now": 4_000_000
    }.items():  # fmt: skip
        (folder / name).write_text(f"{value}\n")


def test_a_session_begins_with_rest_and_a_phone_that_charges_does_not_wait(tmp_path: Path) -> None:
    battery(tmp_path, 150_000)
    auditor, ended = audit.here(str(tmp_path)), threading.Event()
    assert auditor is not None

    def move() -> None:
        number = 0
        while not ended.wait(0.12):
            number += 1
            battery(tmp_path, 150_000 + 1000 * (number % 3))

    mover = threading.Thread(target=move)
    mover.start()
    try:
        with auditor:
            assert told(auditor).rest_mw == pytest.approx(604.0, rel=0.02)
    finally:
        ended.set()
        mover.join()
    battery(tmp_path, 150_000, "Charging")
    begun = time.monotonic()
    with audit.here(str(tmp_path)) as charging:  # type: ignore[union-attr]
        assert time.monotonic() - begun < 0.5 and charging.latest() is None


def test_a_counter_goes_first_and_tells_too(tmp_path: Path) -> None:
    battery(tmp_path, 150_000)
    folder = tmp_path / "sys/class/powercap/intel-rapl:0"
    folder.mkdir(parents=True)
    for name, value in {"name": "package-0", "energy_uj": 0, "max_energy_range_uj": 10**12}.items():
        (folder / name).write_text(f"{value}\n")
    meter = meters.find(str(tmp_path))
    assert meter is not None
    now = 0.0
    auditor = Auditor(meter[1], lambda: now)
    joules = 0.0
    for step in range(400):
        now += 0.1
        busy = step >= 40
        joules += 0.5 + (0.15 if busy else 0.0)  # 5 W at rest, 1.5 W of inferences that were predicted to draw 1 W
        (folder / "energy_uj").write_text(str(round(1e6 * joules)))
        if busy:
            auditor.spent(CPU, 100.0)
        auditor.step()
    assert told(auditor).energies["cpu x 1"] == pytest.approx(1.5, rel=0.15)
    assert told(auditor).rest_mw == pytest.approx(5000.0, rel=0.05)
    (folder / "energy_uj").write_text("gone")
    auditor.step()


def test_where_there_is_no_meter_there_is_no_audit(tmp_path: Path) -> None:
    assert audit.here(str(tmp_path)) is None


def test_reading_a_battery_costs_little(tmp_path: Path) -> None:
    battery(tmp_path, 150_000)
    with audit.here(str(tmp_path)) as auditor:  # type: ignore[union-attr]
        assert auditor is not None
        used = time.process_time()
        time.sleep(2.0)
        assert time.process_time() - used < 0.1
