from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.device import power
from adascale_runtime.device.power import Gauge, Sample
from adascale_runtime.device.sensors import Supply

STEP_S = 0.05


def battery(current: float | None, voltage: float | None = 3_850_000.0, name: str = "battery", **more: Any) -> Supply:
    return Supply(name, more.pop("kind", "Battery"), more.pop("status", "Discharging"), current, voltage, **more)


def series(*currents: float | None, **more: Any) -> list[Sample]:
    return [Sample(float(n), (battery(current, **more),)) for n, current in enumerate(currents)]


@dataclasses.dataclass(frozen=True)
class Device:
    """A phone whose power is known: ``busy_w`` before and after a pause at ``idle_w``, seen through a gauge that tells
    the mean since its last update, with noise."""

    idle_w: float = 0.6
    busy_w: float = 3.0
    update_s: float = 0.25
    noise: float = 0.01
    volts: float = 3.85
    ampere: float = -1e6
    volt: float = 1e6
    seed: int = 0
    phase_s: float = 0.0

    def spans(self, idle_s: float, busy_s: float) -> tuple[tuple[float, float], tuple[float, float]]:
        return (5.0, 5.0 + idle_s), (5.1 + idle_s, 5.1 + idle_s + busy_s)

    def samples(self, idle_s: float, busy_s: float) -> list[Sample]:
        (begin, end), (_, last) = self.spans(idle_s, busy_s)
        rng = random.Random(self.seed)

        def idle_before(time_s: float) -> float:
            return min(max(0.0, time_s - begin), end - begin)

        found, updated, watts, time_s = [], self.phase_s, self.busy_w, begin
        while time_s <= last + STEP_S:
            while updated + self.update_s <= time_s:
                idle = (idle_before(updated + self.update_s) - idle_before(updated)) / self.update_s
                watts = (idle * self.idle_w + (1 - idle) * self.busy_w) * rng.gauss(1.0, self.noise)
                updated += self.update_s
            current = round(watts / self.volts * self.ampere)
            found.append(Sample(time_s, (battery(float(current), round(self.volts * self.volt)),)))
            time_s += STEP_S
        return found

    def measure(self, idle_s: float, busy_s: float, runs: int) -> dict[str, Any]:
        return power.energy_per_run(self.samples(idle_s, busy_s), *self.spans(idle_s, busy_s), runs)

    def truth_mj(self, busy_s: float, runs: int) -> float:
        return 1e3 * (self.busy_w - self.idle_w) * busy_s / runs


# --- which gauge


def test_frozen_copies_are_skipped() -> None:
    samples = [Sample(n, (battery(-118_000, name="battery"), battery(-200_000 - n, name="max77705"))) for n in range(5)]
    assert power.choose(samples) == (Gauge("max77705", 1e-6, 1e-6), None)


def test_the_gauge_that_moves_most_often_counts_and_among_equals_the_battery() -> None:
    slow = [-300.0, -300.0, -310.0, -310.0, -320.0]
    fast = [-300.0, -301.0, -302.0, -303.0, -304.0]
    for names in (("battery", "bms"), ("bms", "battery")):
        samples = [Sample(n, (battery(slow[n], name=names[0]), battery(fast[n], name=names[1]))) for n in range(5)]
        assert power.choose(samples)[0] == Gauge(names[1], 1e-3, 1e-6)
    same = [Sample(n, tuple(battery(fast[n], name=name) for name in ("aaa", "battery", "zzz"))) for n in range(5)]
    assert power.choose(same)[0] == Gauge("battery", 1e-3, 1e-6)


@pytest.mark.parametrize(
    ("currents", "voltage", "wanted"),
    [
        ((-412_000, -420_000), 3_850_000, (1e-6, 1e-6)),
        ((412, 420), 3850, (1e-3, 1e-3)),
        ((-412, 420), 3_850_000, (1e-3, 1e-6)),
        ((412_000, 420_000), 3850, (1e-6, 1e-3)),
        ((9_999, 0), 8_700, (1e-3, 1e-3)),
        ((10_000, 0), 20_000, (1e-6, 1e-6)),
        ((0, -3_000_000), 0, (1e-6, 1e-3)),
    ],
)
def test_units_follow_from_ranges(currents: tuple[int, int], voltage: int, wanted: tuple[float, float]) -> None:
    found, reason = power.choose(series(*map(float, currents), voltage=float(voltage)))
    assert found == Gauge("battery", *wanted) and reason is None


def test_a_gauge_reads_watts_whatever_the_sign() -> None:
    gauge = Gauge("battery", 1e-6, 1e-3)
    assert gauge.watts(Sample(0, (battery(-500_000, 4000),))) == pytest.approx(2.0)
    assert gauge.watts(Sample(0, (battery(500_000, 4000), battery(1, 1)))) == pytest.approx(2.0)
    assert gauge.watts(Sample(0, (battery(None, 4000),))) is None
    assert gauge.watts(Sample(0, (battery(1, None),))) is None
    assert gauge.watts(Sample(0, (battery(1, 1, name="bms"),))) is None


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], "nothing was sampled"),
        (series(-1e5, -2e5, status="Charging"), "the device was charging"),
        (series(-1e5, -2e5, status="Full"), "the device was charging"),
        ([*series(-1e5, -2e5), Sample(2, (battery(-1e5), Supply("usb", "USB", online=True)))], "was charging"),
        (series(None, None), "no battery of this device reports current and voltage"),
        (series(-1e5, -2e5, voltage=None), "no battery of this device reports"),
        (series(-1e5, -2e5, kind="BMS"), "no battery of this device reports"),
        ([Sample(0, ())], "no battery of this device reports"),
        (series(-1e5, -1e5, -1e5), "never changed, so it is frozen"),
        (series(-1e5), "never changed, so it is frozen"),
    ],
)
def test_where_nothing_can_be_trusted_the_reason_is_told(samples: list[Sample], reason: str) -> None:
    gauge, why = power.choose(samples)
    assert gauge is None and reason in str(why)
    told = power.energy_per_run(samples, (0, 1), (1, 5), 10)
    assert told.value_mj is None and told.reason == why


# --- power over a time


def test_held_readings_weigh_by_their_time() -> None:
    gauge = Gauge("battery", 1.0, 1.0)
    samples = [Sample(t, (battery(watts, 1.0),)) for t, watts in ((0, 1), (1, 1), (2, 4), (5, 4), (6, 100))]
    mean, error = power.mean_watts(samples, gauge, 0, 6)
    assert mean == pytest.approx((2 * 1 + 4 * 4) / 6)
    assert error == pytest.approx(math.sqrt((2 * (1 - mean) ** 2 + 4 * (4 - mean) ** 2) / 6 / 3))
    assert power.mean_watts(samples, gauge, 0, 2) == (pytest.approx(1.0), 0.0)


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 1.0]])
def test_no_time_is_no_power(times: list[float]) -> None:
    samples = [Sample(t, (battery(1, 1),)) for t in times]
    assert all(map(math.isnan, power.mean_watts(samples, Gauge("battery", 1, 1), 0, 9)))


@pytest.mark.parametrize("update_s", [0.1, 0.25, 1.0, 2.0])
def test_the_update_interval_is_found(update_s: float) -> None:
    samples = Device(update_s=update_s).samples(4, 30)
    assert power.update_interval_s(samples, Gauge("battery", 1e-6, 1e-6)) == pytest.approx(update_s, rel=0.05)


def test_gauges_that_hardly_change_take_all_the_time() -> None:
    gauge = Gauge("battery", 1e-6, 1e-6)
    assert power.update_interval_s(series(1e5, 1e5, 2e5, 2e5), gauge) == 3.0
    assert power.update_interval_s([], gauge) == math.inf


# --- energy of a run


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.1, 2.0), st.floats(0.0, 0.02), st.floats(0.2, 1.5), st.floats(1.0, 6.0), st.integers(0, 1000),
    st.floats(0, 1), st.booleans(),
)  # fmt: skip
def test_energy_is_within_ten_percent(
    update_s: float, noise: float, idle_w: float, above_w: float, seed: int, phase: float, fine: bool
) -> None:
    """However often the gauge changes, at whatever phase: measured as long as a doubling of the time makes possible."""
    device = Device(
        idle_w, idle_w + above_w, update_s, noise + 1e-3, seed=seed, phase_s=phase * update_s,
        **({} if fine else {"ampere": 1e3, "volt": 1e3}),
    )  # fmt: skip
    idle_s, busy_s, runs = 2.0, 4.0, 250
    for _ in range(6):
        found = device.measure(idle_s, busy_s, runs)
        if found.value_mj is not None:
            break
        assert "measure longer" in str(found.reason)
        idle_s, busy_s = 2 * idle_s, 2 * busy_s
    assert found.value_mj == pytest.approx(device.truth_mj(busy_s, runs), rel=0.1)
    assert found.how == "measured:battery" and 0 <= found.uncertainty_mj < found.value_mj


def test_the_details_tell_what_the_gauge_saw() -> None:
    device = Device()
    found = device.measure(4, 8, 1000)
    details = found.details
    assert details["gauge"] == "battery" and details["runs"] == 1000
    assert details["idle_mw"] == pytest.approx(600, rel=0.03) and details["busy_mw"] == pytest.approx(3000, rel=0.03)
    assert details["update_s"] == pytest.approx(0.25, rel=0.05)
    assert details["busy_s"] == list(device.spans(4, 8)[1])
    assert found.value_mj == pytest.approx((details["busy_mw"] - details["idle_mw"]) * 8 / 1000)


def test_the_uncertainty_is_a_standard_error() -> None:
    """Over many noisy gauges about two thirds of the errors are below it, and hardly one above three times."""
    device, ratios = Device(noise=0.05), []
    for seed in range(80):
        found = dataclasses.replace(device, seed=seed).measure(4, 8, 100)
        ratios.append(abs(found.value_mj - device.truth_mj(8, 100)) / found.uncertainty_mj)
    assert 0.5 < sum(r < 1 for r in ratios) / 80 < 0.85 and sum(r > 3 for r in ratios) <= 4


@pytest.mark.parametrize(("idle_s", "busy_s"), [(4, 5), (1, 60), (0.5, 0.5)])
def test_too_short_is_told_and_longer_helps(idle_s: float, busy_s: float) -> None:
    device = Device(update_s=1.0)
    found = device.measure(idle_s, busy_s, 100)
    assert found.value_mj is None and "measure longer" in str(found.reason)
    assert device.measure(16, 32, 100).value_mj == pytest.approx(device.truth_mj(32, 100), rel=0.1)


def test_no_sample_during_the_work_is_too_short() -> None:
    found = power.energy_per_run(series(-1e5, -2e5, -1e5, -2e5), (0, 4), (4.5, 9), 10)
    assert found.value_mj is None and "measure longer" in str(found.reason)


def test_work_that_costs_nothing_above_idle_has_no_energy() -> None:
    found = Device(idle_w=3.0, busy_w=1.0).measure(8, 16, 10)
    assert found.value_mj is None and "not above the idle power" in str(found.reason)


def test_a_charger_in_the_middle_spoils_the_measurement() -> None:
    device = Device()
    samples = device.samples(4, 8)
    middle = samples[len(samples) // 2]
    samples[len(samples) // 2] = Sample(middle.time_s, (*middle.supplies, Supply("usb", "USB", online=True)))
    found = power.energy_per_run(samples, *device.spans(4, 8), 100)
    assert found.value_mj is None and "charging" in str(found.reason)


VENDORS = st.tuples(st.sampled_from([1.0, -1.0]), st.sampled_from([1.0, 1e3]), st.sampled_from([1.0, 1e3]))


@settings(max_examples=60, deadline=None)
@given(VENDORS, st.integers(0, 100), st.booleans())
def test_the_vendors_sign_and_units_change_nothing(vendor: tuple[float, ...], seed: int, flips: bool) -> None:
    """Milliamperes or microamperes, millivolts or microvolts, negative, positive or now this, now that."""
    sign, ampere, volt = vendor
    device = Device(ampere=1e3, volt=1e3, seed=seed, noise=0.02)
    plain, told = device.samples(4, 8), []
    for number, sample in enumerate(plain):
        (one,) = sample.supplies
        assert one.current is not None and one.voltage is not None
        factor = ampere * sign * (-1 if flips and number // 40 % 2 else 1)
        changed = dataclasses.replace(one, current=one.current * factor, voltage=one.voltage * volt)
        told.append(Sample(sample.time_s, (changed,)))
    wanted = power.energy_per_run(plain, *device.spans(4, 8), 100)
    found = power.energy_per_run(told, *device.spans(4, 8), 100)
    for key in ("value_mj", "uncertainty_mj"):
        assert getattr(found, key) == pytest.approx(getattr(wanted, key), rel=1e-9) and getattr(wanted, key) is not None


def test_whether_longer_spans_could_tell_it_is_a_field() -> None:
    """Nobody has to read the reason for that; what will not get better with time does not say so."""
    slow = Device(update_s=1.0).measure(4, 5, 100)
    assert slow.retry_longer is True
    frozen = power.energy_per_run(series(-1e5, -1e5, -1e5), (0, 1), (1, 2), 10)
    assert not frozen.retry_longer and not Device().measure(4, 8, 100).retry_longer
