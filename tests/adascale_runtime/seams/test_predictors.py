from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import predictors, speed
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Cost
from adascale_runtime.seams.pace import KINDS, Pace
from adascale_runtime.seams.predictors import Predictor, Predictors
from adascale_runtime.seams.records import Context

KERNELS = {
    "conv-float": {"count": 3.0, "macs_7x16": 2e6, "tiles_7x16": 4e3, "input_bytes": 5e5},
    "reuse": {"1024": 4e4, str(1 << 21): 2e5},
}
COST = Cost(10**6, 10**4, 4 * 10**4, 2 * 10**5, 10**4, 9, KERNELS)
LATENCY = Predictor(
    "latency_ms", "bench", "cpu", 1, "fitted", {"one": 0.01, "conv-float.macs_7x16": 0.05, "miss_L2_mb": 0.5},
    {"macs_float_m": (0.5, 2.0), "conv-float.count": (1.0, 4.0)}, 8, 0.04, (0.9, 1.2), {"L1i": 1 << 15, "L2": 1 << 20},
    slowdown={"load": 0.1, "waiting": 1.0, "clock": 0.8}, reference={"cpu_freq_mhz": 2000.0}, strained=(0.8, 1.5),
)  # fmt: skip


def test_sums_become_features_in_their_units() -> None:
    found = predictors.features(COST, "float32", LATENCY.caches)
    assert found["conv-float.count"] == 3 and found["conv-float.macs_7x16"] == 2 and found["conv-float.tiles_7x16"] == 4
    assert found["conv-float.input_bytes"] == 0.5 and found["macs_float_m"] == 1 and found["macs_integer_m"] == 0
    # Distances up to 2 MB are evenly spread between 1 and 2 MB: a cache of 1 MB holds none of them.
    assert found["miss_L2_mb"] == 0.2 and found["hit_mb"] == pytest.approx(0.04)
    assert "miss_L1i_mb" not in found and not any(name.startswith("reuse") for name in found)


def test_a_prediction_is_a_sum_times_the_slowdown_of_the_context() -> None:
    idle = LATENCY.predict(COST, "float32")
    assert idle == pytest.approx(0.01 + 0.05 * 2 + 0.5 * 0.2)
    # Others use three quarters of two cores, so half a core is left: an inference waits as long as it runs.
    busy = Context(0.0, cpu_load=0.75, runnable=9, cores=2, cpu_freq_mhz=1000.0)
    assert LATENCY.predict(COST, "float32", busy) == pytest.approx(idle * (1 + 0.1 * 0.75 + 1.0 + 0.8))
    assert LATENCY.predict(COST, "float32", Context(0.0)) == idle


def test_intervals_widen_under_load() -> None:
    low, high = LATENCY.interval(COST, "float32") or (0, 0)
    assert (low, high) == pytest.approx((0.9 * 0.21, 1.2 * 0.21))
    wide = LATENCY.interval(COST, "float32", Context(0.0)) or (0, 0)
    assert wide == pytest.approx((0.8 * low, 1.5 * high))
    assert replace(LATENCY, spread=()).interval(COST, "float32") is None


def test_what_was_never_measured_is_outside() -> None:
    assert LATENCY.outside(COST, "float32") == ()
    assert LATENCY.outside(replace(COST, macs=10**7), "float32") == ("macs_float_m",)
    assert LATENCY.outside(COST, "int8") == ("macs_float_m", "macs_integer_m")
    strange = replace(COST, kernels={**KERNELS, "resize-float": {"count": 1.0}})
    assert LATENCY.outside(strange, "float32") == ("resize-float.count",)


def test_energy_takes_a_measured_latency_where_there_is_one() -> None:
    energy = Predictor(
        "energy_mj", "bench", "cpu", 1, "fitted", {"macs_float_m": 2.0, "latency_ms": 3.0}, {}, 8, latency={"one": 0.5}
    )
    assert energy.predict(COST, "float32") == 2.0 + 3.0 * 0.5
    assert energy.predict(COST, "float32", latency_ms=0.1) == pytest.approx(2.3)


def test_speed_divides_time_and_the_part_of_energy_that_time_makes(built: Bundle) -> None:
    idle = LATENCY.predict(COST, "float32")
    assert LATENCY.predict(COST, "float32", speed=0.8) == pytest.approx(idle / 0.8)
    busy = Context(0.0, cpu_load=0.75, cores=2)
    assert LATENCY.predict(COST, "float32", busy, speed=0.5) == pytest.approx(
        2 * LATENCY.predict(COST, "float32", busy)
    )
    assert LATENCY.interval(COST, "float32", speed=0.8) == pytest.approx((0.9 * idle / 0.8, 1.2 * idle / 0.8))
    memory = replace(LATENCY, quantity="memory_mb", slowdown={})
    assert memory.predict(COST, "float32", speed=0.8) == idle
    energy = replace(LATENCY, quantity="energy_mj", coefficients={"one": 1.0, "latency_ms": 3.0}, latency={"one": 0.5})
    assert energy.predict(COST, "float32", speed=0.5) == pytest.approx(1.0 + 3.0)
    assert energy.predict(COST, "float32", latency_ms=0.1, speed=0.5) == pytest.approx(1.3)
    both, branch = Predictors(predictors.FORMAT, (LATENCY,), "now", {}), built.manifest.branches[0]
    whole, half = (both.predict("latency_ms", branch, "cpu", 1, speed=at) for at in (1.0, 0.5))
    assert whole and half == pytest.approx(2 * whole)
    low, high = (both.interval("latency_ms", branch, "cpu", 1, speed=at) or (0,) for at in (1.0, 0.5))
    assert high[0] == pytest.approx(2 * low[0])
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="times its usual speed; give a positive number"):
            LATENCY.predict(COST, "float32", speed=wrong)


@given(st.floats(0.05, 5), st.sampled_from(KINDS))
def test_anchors_tell_the_speed(at: float, lacking: str) -> None:
    usual = dict.fromkeys(KINDS, 0.03)
    now = Pace(0, **{f"{kind}_ms": 0.03 / at for kind in KINDS if kind != lacking})
    assert speed.speed_of(usual, now) == pytest.approx({kind: at for kind in KINDS if kind != lacking})
    assert speed.speed_of({}, now) == {}


@pytest.mark.parametrize("bounds", [(), (1.0,), (1.0, 2.0, 3.0)])
def test_a_range_has_two_ends(bounds: tuple[float, ...], tmp_path: Path) -> None:
    file = Predictors(predictors.FORMAT, (replace(LATENCY, ranges={"ops": bounds}),), "now", {})  # type: ignore[dict-item]
    path = tmp_path / "p.json"
    path.write_text(codec.dump(file))
    with pytest.raises(BadInput, match=r"predictors\[0\].ranges\['ops'\] has . numbers, but a range has 2"):
        predictors.load(path)


@pytest.mark.parametrize("ms", [0.0, -1.0, 1e12])
def test_an_anchor_that_cannot_be_is_refused(ms: float, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    good = Predictors(predictors.FORMAT, (replace(LATENCY, anchors={"float": 0.03}),), "now", {})
    path.write_text(codec.dump(good))
    assert predictors.load(path) == good
    path.write_text(codec.dump(replace(good, predictors=(replace(LATENCY, anchors={"float": ms}),))))
    with pytest.raises(BadInput, match=r"predictors\[0\].anchors\['float'\] is"):
        predictors.load(path)


@given(st.floats(0, 1), st.integers(1, 16), st.integers(1, 8))
def test_no_strain_is_negative_and_none_where_there_is_room(load: float, cores: int, threads: int) -> None:
    found = predictors.strain(Context(0.0, cpu_load=load, cores=cores), threads, {"memory_free_mb": 100.0})
    assert all(value >= 0 for value in found.values()) and found["clock"] == found["memory"] == 0
    assert (found["waiting"] > 0) == (threads > cores * max(1.0 - load, 0.02))


def test_threads_that_want_a_core_stand_in_for_a_load_that_is_not_told() -> None:
    assert predictors.strain(Context(0.0, runnable=3, cores=2), 1, {})["waiting"] == 1.0
    assert predictors.strain(Context(0.0, runnable=1, cores=2), 1, {})["waiting"] == 0.0
    taken = predictors.strain(Context(0.0, memory_free_mb=25.0), 1, {"memory_free_mb": 100.0})
    assert taken["memory"] == 0.75 and taken["waiting"] == taken["load"] == 0.0


def test_a_file_of_predictors_survives_and_older_ones_load(built: Bundle) -> None:
    both = Predictors(predictors.FORMAT, (LATENCY,), "now", {})
    assert codec.from_json(Predictors, codec.to_json(both), "p") == both
    new = ("spread", "caches", "latency", "slowdown", "reference", "strained", "anchors")
    old = {k: v for k, v in codec.to_json(LATENCY).items() if k not in new}
    loaded = codec.from_json(Predictor, old, "p")
    assert loaded.coefficients == LATENCY.coefficients and loaded.spread == () and loaded.slowdown == {}
    branch = built.manifest.branches[0]
    assert both.interval("latency_ms", branch, "cpu", 1) is not None
    assert both.interval("latency_ms", branch, "gpu", 1) is None and both.predict("memory_mb", branch, "cpu", 1) is None
    assert codec.from_json(Cost, {k: v for k, v in codec.to_json(COST).items() if k != "kernels"}, "c").kernels == {}
