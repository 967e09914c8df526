from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adascale_tf import codec, predictors
from adascale_tf.bundle import Cost
from adascale_tf.errors import BadInput
from adascale_tf.records import FORMAT, Context, Energy, Measurement
from profiling import fit, meters


def measurement(number: int, cost: Cost, precision: str, latency_ms: float, memory_mb: float = 1.0) -> Measurement:
    return Measurement(
        FORMAT, "b", f"branch{number}", "r", precision, "cpu", 1, {"name": "bench"}, cost, (), (latency_ms,) * 3, 1,
        1.0, memory_mb, None, Energy(None, "none", "no meter"), None, "x", None, Context(0.0), Context(1.0), "now",
    )  # fmt: skip


def costs(count: int, seed: int = 0) -> list[Cost]:
    rng = np.random.default_rng(seed)
    return [Cost(*(int(v) for v in rng.integers(1e5, 1e7, 5)), int(rng.integers(5, 60))) for _ in range(count)]


def synthetic(count: int = 14, noise: float = 0.0) -> list[Measurement]:
    rng = np.random.default_rng(1)
    found = []
    for number, cost in enumerate(costs(count)):
        precision = ("float32", "int8")[number % 2]
        rate = 0.05 if precision == "float32" else 0.01
        latency = 0.02 + rate * cost.macs / 1e6 + 0.004 * cost.activation_bytes / 1e6
        found.append(
            measurement(number, cost, precision, latency * (1 + noise * rng.normal()), 2 + cost.weight_bytes / 1e6)
        )
    return found


def test_known_coefficients_are_found_again() -> None:
    latency = fit.fit(synthetic()).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.error is not None and latency.error < 1e-6
    assert latency.coefficients["macs_float_m"] == pytest.approx(0.05, rel=1e-4)
    assert latency.coefficients["macs_integer_m"] == pytest.approx(0.01, rel=1e-4)
    assert latency.coefficients["activations_mb"] == pytest.approx(0.004, rel=1e-4)


def test_the_error_is_held_out() -> None:
    """Noise without structure must show as an error of about its own size, not be learned by heart."""
    noisy = fit.fit(synthetic(noise=0.3)).find("latency_ms", "cpu", 1)
    assert noisy is not None and noisy.error is not None and 0.1 < noisy.error < 0.8


def test_predictions_need_no_scikit_learn_and_survive_the_file(tmp_path: Path) -> None:
    fitted = fit.fit(synthetic())
    path = tmp_path / "p.json"
    codec.write_text(path, codec.dump(fitted))
    loaded = predictors.load(path)
    assert loaded == fitted
    memory = loaded.find("memory_mb", "cpu", 1)
    assert memory is not None
    inside, outside = costs(14)[0], dataclasses.replace(costs(14)[0], macs=10**9)
    assert memory.predict(inside, "float32") == pytest.approx(2 + inside.weight_bytes / 1e6, rel=1e-3)
    assert memory.outside(inside, "float32") == () and memory.outside(outside, "float32") == ("macs_float_m",)


def test_energy_without_a_meter_stays_an_estimate() -> None:
    energy = fit.fit(synthetic()).find("energy_mj", "cpu", 1)
    assert energy is not None and energy.how == "estimated:model" and energy.error is None
    cost = costs(14)[3]
    assert energy.predict(cost, "int8") == pytest.approx(meters.estimate_mj(cost, "int8"), rel=0.5)


def test_too_few_measurements_are_refused() -> None:
    with pytest.raises(BadInput, match="Only 3 branches were measured on cpu"):
        fit.fit(synthetic(3))
    with pytest.raises(BadInput, match="no measurements to fit"):
        fit.fit([])


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"format": "other"}')
    with pytest.raises(BadInput, match="is not a predictors file"):
        predictors.load(tmp_path / "p.json")
