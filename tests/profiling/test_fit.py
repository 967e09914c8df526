from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import predictors, speed
from adascale_runtime.seams.manifest import Cost
from adascale_runtime.seams.pace import Pace
from adascale_runtime.seams.records import FORMAT, Context, Energy, Measurement
from profiling import fit, meters, regression


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


def with_kernels(m: Measurement, count: int, macs: float, kernel: bool = False, **changes: Any) -> Measurement:
    """A measurement whose time is 3 us for each of ``count`` convolutions and 20 us for a million of its ``macs``."""
    kernels = {"conv-float": {"count": float(count), "macs": macs, "macs_7x16": macs}}
    cost = dataclasses.replace(m.cost, kernels=kernels)
    latency = 0.01 + 0.003 * count + 0.02 * macs / 1e6
    settings = {"kernel": True} if kernel else {}
    return dataclasses.replace(
        m, cost=cost, latency_ms=(latency,) * 3, settings=settings, **{"precision": "float32", **changes}
    )


def kernel_set(branches: int = 6, kernels: int = 30) -> list[Measurement]:
    rng = np.random.default_rng(2)
    counts, macs = rng.integers(1, 40, branches + kernels), rng.uniform(1e5, 1e7, branches + kernels)
    made = [measurement(n, cost, "float32", 1.0) for n, cost in enumerate(costs(branches + kernels))]
    return [with_kernels(m, int(counts[n]), macs[n], n >= branches) for n, m in enumerate(made)]


def test_micro_kernels_are_learned_from_and_branches_judged() -> None:
    latency = fit.fit(kernel_set()).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.samples == 36 and latency.error is not None and latency.error < 1e-4
    assert latency.coefficients["conv-float.count"] == pytest.approx(0.003, rel=1e-2)
    assert latency.spread == pytest.approx((1.0, 1.0), abs=1e-3)
    stranger = dataclasses.replace(costs(1)[0], kernels={"deconv-float": {"count": 2.0}})
    assert "deconv-float.count" in latency.outside(stranger, "float32")


def test_the_memory_of_code_is_learned_from_branches_beside_micro_kernels() -> None:
    """A micro-kernel maps the code of one class of kernels, a branch that of several."""
    names = ("conv-integer", "dense-integer", "mean-integer", "view-integer", "elementwise-integer")

    def mapping(number: int, cost: Cost, count: int, kernel: bool) -> Measurement:
        own = {"file": {"bytes": 1e4, "packed_bytes": 1e4, "operators": float(1 + number % 7)}}
        own.update({name: {"count": 1.0} for name in names[:count]})
        m = measurement(
            number, dataclasses.replace(cost, kernels=own, peak_bytes=1000), "int8", 1.0, 3.0 + 0.25 * count
        )
        return dataclasses.replace(m, settings={**m.settings, "kernel": True} if kernel else m.settings)

    few, whole = costs(14), costs(6, seed=1)
    rows = [mapping(n, cost, 1, True) for n, cost in enumerate(few)]
    rows += [mapping(50 + n, cost, 3 + n % 2, False) for n, cost in enumerate(whole[:4])]
    unseen = mapping(99, whole[5], 5, False)
    memory = fit.fit(rows).find("memory_mb", "cpu", 1)
    assert memory is not None
    assert memory.predict(unseen.cost, "int8") == pytest.approx(4.25, rel=0.01)


def test_a_sweep_of_contexts_gives_the_slowdown() -> None:
    idle = kernel_set()
    busy = [
        dataclasses.replace(
            m, latency_ms=tuple(ms * (1 + 0.1 * load + 1.0 * waiting) for ms in m.latency_ms),
            context_before=Context(0.0, load, runnable, 2), context_after=Context(1.0, load, runnable, 2),
            settings={"context": name},
        )
        for name, load, runnable, waiting in (("load50", 0.5, 1, 0), ("load99", 2 / 3, 2, 0.5), ("load80", 0.8, 4, 1.5))
        for m in idle[:6]
    ]  # fmt: skip
    latency = fit.fit(idle + busy).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.samples == 36
    assert latency.slowdown == pytest.approx({"load": 0.1, "waiting": 1.0}, rel=1e-6)
    assert latency.strained == pytest.approx((1.0, 1.0))


def test_what_is_taken_of_an_idle_device_all_the_time_slows_nothing_down_further() -> None:
    always = (
        0.2  # of every core, as on a device that wanders: an idle one has 1.6 of two left, which is its usual speed
    )

    def context(load: float) -> Context:
        return Context(0.0, cpu_load=always + (1.0 - always) * load, cores=2)

    idle = [dataclasses.replace(m, context_before=context(0.0), context_after=context(0.0)) for m in kernel_set()]
    busy = [
        dataclasses.replace(
            m, latency_ms=tuple(ms * (1 + waiting) for ms in m.latency_ms), settings={"context": name},
            context_before=context(load), context_after=context(load),
        )
        for name, load, waiting in (("load50", 0.5, 0.0), ("load75", 0.75, 1.0)) for m in idle[:6]
    ]  # fmt: skip
    latency = fit.fit(idle + busy).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.reference["cpu_load"] == pytest.approx(always)
    assert [latency.factor(context(load)) for load in (0.0, 0.5)] == pytest.approx([1.0, 1.0])
    assert latency.factor(context(0.75)) == pytest.approx(2.0, rel=1e-6)


def test_energy_is_a_sum_of_macs_bytes_and_time() -> None:
    found = []
    for m in synthetic(24):
        seconds = m.latency_quantile_ms(0.5)
        spent = Energy(0.5 * m.cost.macs / 1e6 + 3.0 * seconds, "measured:bench")
        found.append(dataclasses.replace(m, energy=spent))
    fitted = fit.fit(found)
    energy, latency = fitted.find("energy_mj", "cpu", 1), fitted.find("latency_ms", "cpu", 1)
    assert energy is not None and latency is not None and energy.error is not None and energy.error < 0.01
    assert energy.coefficients["latency_ms"] == pytest.approx(3.0, rel=0.05) and energy.latency == latency.coefficients
    cost = found[3].cost
    expected = 0.5 * cost.macs / 1e6 + 3.0 * found[3].latency_quantile_ms(0.5)
    assert energy.predict(cost, found[3].precision) == pytest.approx(expected, rel=0.02)


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


def test_phones_of_a_model_can_count_as_one_device() -> None:
    def phone(serial: str, model: str = "Pixel 8") -> dict[str, Any]:
        facts = {"manufacturer": "Google", "model": model, "android": "14", "abi": "arm64-v8a"}
        return {"name": f"Google {model} {serial}", "kind": "phone", "serial": serial, **facts}

    some = [dataclasses.replace(m, device=phone("AB"[number % 2])) for number, m in enumerate(synthetic(7))]
    with pytest.raises(BadInput, match="Only 3 branches"):
        fit.fit(some)
    shared = fit.fit(some, "model")
    latency = shared.find("latency_ms", "cpu", 1)
    assert latency is not None and latency.samples == 7
    assert latency.device == "Google Pixel 8, Android 14, arm64-v8a"
    others = [dataclasses.replace(m, device=phone("C", "Pixel 9")) for m in synthetic(7)]
    assert len({p.device for p in fit.fit(some + others, "model").predictors}) == 2
    assert {p.device for p in fit.fit(synthetic(), "model").predictors} == {"phone, Android ?, ?"}


def hit(found: list[Measurement], share: float, seed: int) -> list[Measurement]:
    """The same with a share of the rows 1.5 to 3 times too long, as a neighbour makes them."""
    rng = np.random.default_rng(seed)
    unlucky = set(rng.permutation(len(found))[: round(share * len(found))])
    return [
        dataclasses.replace(m, latency_ms=tuple(ms * rng.uniform(1.5, 3.0) for ms in m.latency_ms[:1]) * 3)
        if number in unlucky else m
        for number, m in enumerate(found)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_a_few_rows_that_a_neighbour_hit_bend_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    good = [
        dataclasses.replace(m, latency_ms=(m.latency_ms[0] * (1 + 0.01 * rng.normal()),) * 3)
        for m in kernel_set(20, 60)
    ]  # fmt: skip

    def found() -> dict[str, float]:
        latency = fit.fit(hit(good, 0.1, seed)).find("latency_ms", "cpu", 1)
        assert latency is not None
        return latency.coefficients

    def error(coefficients: dict[str, float]) -> float:
        """The largest error of predictions from hardly any work to much of it."""
        errors = []
        for count, macs in ((1, 0.1), (5, 5.0), (40, 0.1), (40, 10.0), (10, 1.0)):
            values = {"one": 1.0, "conv-float.count": count, "conv-float.macs": macs, "conv-float.macs_7x16": macs}
            truth = 0.01 + 0.003 * count + 0.02 * macs
            errors.append(abs(sum(coefficients.get(n, 0.0) * v for n, v in values.items()) / truth - 1))
        return max(errors)

    robust = error(found())
    assert robust < 0.05
    monkeypatch.setattr(regression, "_ITERATIONS", 1)  # plain least squares
    assert error(found()) > max(0.04, 2 * robust)


def paced(m: Measurement, speeds: Sequence[float]) -> Measurement:
    """A measurement in as many blocks as speeds, beside an anchor that takes 0.03 ms at full speed."""
    anchors = {"float_ms": 0.03, "integer_ms": 0.02}
    paces, latencies = [], []
    for at in speeds:
        now = {kind: ms / at for kind, ms in anchors.items()}
        paces.append(Pace(len(latencies), **now))
        latencies += [m.latency_ms[0] / at] * 2
        paces.append(Pace(len(latencies), **now))
    return dataclasses.replace(m, latency_ms=tuple(latencies), paces=tuple(paces), rounds=len(speeds))


def test_latencies_are_learned_at_the_usual_speed() -> None:
    """Each branch is measured at other speeds; the median over all of them is the usual one."""
    rng = np.random.default_rng(0)
    wandering = [paced(m, rng.uniform(0.6, 1.0, 4)) for m in kernel_set()]
    every = np.median([0.03 / pace.float_ms for m in wandering for pace in m.paces if pace.float_ms])
    latency = fit.fit(wandering).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.error is not None and latency.error < 1e-3
    assert latency.coefficients["conv-float.count"] == pytest.approx(0.003 / every, rel=0.02)
    assert latency.anchors["float"] == pytest.approx(0.03 / every, rel=0.02) and "memory" not in latency.anchors
    plain = fit.fit([dataclasses.replace(m, paces=()) for m in wandering]).find("latency_ms", "cpu", 1)
    assert plain is not None and plain.error is not None and plain.error > 0.03 and plain.anchors == {}


def test_the_speed_of_the_moment_predicts_what_is_seen() -> None:
    rng = np.random.default_rng(1)
    wandering = [paced(m, rng.uniform(0.6, 1.0, 4)) for m in kernel_set()]
    latency = fit.fit(wandering).find("latency_ms", "cpu", 1)
    now = paced(kernel_set()[2], (0.5, 0.5))
    assert latency is not None
    at = speed.speed_of(latency.anchors, now.paces[0])[speed.anchor_of("cpu", "float32") or ""]
    predicted = latency.predict(now.cost, now.precision, speed=at)
    assert predicted == pytest.approx(now.latency_ms[0], rel=0.01)


def test_under_load_the_base_is_at_the_usual_speed() -> None:
    rng = np.random.default_rng(3)
    still = kernel_set()
    idle = [paced(m, rng.uniform(0.6, 1.0, 4)) for m in still]
    usual = speed.usual(idle)["bench", ""]["float"].value_ms / 0.03
    busy = [
        dataclasses.replace(
            m, latency_ms=tuple(usual * ms * (1 + waiting) for ms in m.latency_ms), settings={"context": name},
            context_before=Context(0.0, load, 1, 2), context_after=Context(1.0, load, 1, 2),
        )
        for name, load, waiting in (("load70", 2 / 3, 0.5), ("load80", 0.8, 1.5)) for m in still[:6]
    ]  # fmt: skip
    latency = fit.fit(idle + busy).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.slowdown["waiting"] == pytest.approx(1.0, rel=1e-3)
    assert latency.slowdown.get("load", 0.0) < 1e-6
