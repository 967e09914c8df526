"""Predictors of several devices: each device finds its own, and nobody gets those of another without a word."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adascale_runtime.device import identity
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle, predictors
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.manifest import Cost
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Agreement, Context, Energy, Measurement
from adascale_runtime.session import Session
from adascale_tf.cli import main
from profiling import fit
from tests.fixtures import small_model

#: Three phones, two of one model, that need 1, 10 and 100 times the energy.
PHONES = [
    {"name": "Maker Alpha 1 A001", "serial": "A001", "manufacturer": "Maker", "model": "Alpha 1", "soc": "SoC-9"},
    {"name": "Maker Alpha 1 A002", "serial": "A002", "manufacturer": "Maker", "model": "Alpha 1", "soc": "SoC-9"},
    {"name": "Other Beta B001", "serial": "B001", "manufacturer": "Other", "model": "Beta", "soc": "SoC-7"},
]
COST = Cost(32, 20, 80, 64, 64, 3)


def measured(phone: int, number: int) -> Measurement:
    """A branch of the size ``number`` on a phone, whose energy is exactly ``number * 10 ** phone`` mJ."""
    cost = Cost(1_000_000 * number, 100, 400, 1000, 500, 3)
    idle = Context(0.0, cpu_load=0.0)
    return Measurement(
        "adascale-measurement/1", "b", f"branch{number}", f"width(0.{number})", "float32", "cpu", 1,
        {**PHONES[phone], "kind": "phone", "abi": "arm64-v8a", "android": "14"}, cost, (1.0,), (float(number),) * 4, 1,
        1.0, 1.0, None, Energy(number * 10.0**phone, "measured:battery"), None, "unknown", Agreement(1, 1.0, 0.0),
        idle, idle, "2026-01-01T00:00:00Z",
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> Predictors:
    return fit.fit([measured(phone, number) for phone in range(3) for number in range(1, 9)])


@pytest.fixture(scope="module")
def file(fitted: Predictors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("p") / "predictors.json"
    codec.write_text(path, codec.dump(fitted))
    return path


def energy(chosen: Predictors) -> float:
    found = chosen.find("energy_mj", "cpu", 1)
    assert found is not None
    return found.predict(Cost(4_000_000, 100, 400, 1000, 500, 3), "float32")


@pytest.mark.parametrize("phone", range(3))
def test_each_phone_finds_its_own(fitted: Predictors, phone: int) -> None:
    wanted = pytest.approx(4.0 * 10.0**phone, rel=0.02)
    facts = PHONES[phone]
    for chosen in (fitted.of(facts["name"]), fitted.of(facts["serial"].lower()), fitted.here(facts)):
        assert chosen.devices == (facts["name"],) and energy(chosen) == wanted
    assert energy(fitted.here({"serial": facts["serial"]})) == wanted


def test_a_model_or_processor_is_enough_where_it_is_one(fitted: Predictors) -> None:
    for chosen in (
        fitted.of("Beta"), fitted.of("Other Beta"), fitted.of("soc-7"), fitted.here({"soc": "SoC-7"}),
        fitted.here({"serial": "B999", "manufacturer": "Other", "model": "Beta"}),
    ):  # fmt: skip
        assert energy(chosen) == pytest.approx(400.0, rel=0.02)


def test_what_is_meant_by_none_or_several_is_refused_with_the_names(fitted: Predictors) -> None:
    for choose in (
        lambda: fitted.of("{Gamma}"), lambda: fitted.of(""), lambda: fitted.of("Alpha 1"), lambda: fitted.of("SoC-9"),
        lambda: fitted.here({"manufacturer": "Maker", "model": "Alpha 1", "serial": "A777"}),
        lambda: fitted.here({}), lambda: fitted.here({"name": "x86, 2 cores", "cpu": "x86"}),
        lambda: fitted.find("energy_mj", "cpu", 1),
    ):  # fmt: skip
        with pytest.raises(BadInput, match="--device-name") as caught:
            choose()
        assert "Maker Alpha 1 A001; Maker Alpha 1 A002" in str(caught.value)
    with pytest.raises(BadInput, match=r"2 devices .* several of them"):
        Predictors("f", tuple(p for p in fitted.predictors if "Alpha" in p.device), "", {}).of("Alpha 1")


def test_files_of_before_are_chosen_by_name_too(fitted: Predictors) -> None:
    old = Predictors(fitted.format, tuple(dataclasses.replace(p, about={}) for p in fitted.predictors), "", {})
    assert energy(old.of("A002")) == pytest.approx(40.0, rel=0.02)
    assert energy(old.here(PHONES[1])) == pytest.approx(40.0, rel=0.02)
    assert energy(old.of("Other Beta")) == pytest.approx(400.0, rel=0.02)


def test_one_device_alone_serves_whoever_asks(fitted: Predictors) -> None:
    one = fitted.of("B001")
    assert one.here({}) == one and one.here({"name": "x86, 2 cores"}) == one


def test_phones_that_share_have_a_model_and_no_serial() -> None:
    shared = fit.fit([measured(phone, number) for phone in (0, 1) for number in range(1, 9)], "model")
    assert shared.devices == ("Maker Alpha 1, Android 14, arm64-v8a",)
    assert shared.predictors[0].about == {"manufacturer": "Maker", "model": "Alpha 1", "soc": "SoC-9"}
    assert shared.here(PHONES[1]) == shared == shared.of("Maker Alpha 1")


def test_a_session_takes_no_predictors_of_several_devices(fitted: Predictors, tmp_path: Path) -> None:
    opened = bundle.load(small_model.write(tmp_path / "b", {"good": small_model.pack(small_model.tree())}))
    with pytest.raises(BadInput, match="none of them is chosen"):
        Session(opened, Budget(latency_ms=1000.0, energy_mj=1e6), predictors=fitted)
    with Session(opened, Budget(latency_ms=1000.0, energy_mj=1e6), predictors=fitted.of("B001")) as session:
        assert session.table[0].energy_mj is not None


def test_search_asks_which_device(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = small_model.write(tmp_path / "b", {"full": small_model.pack(small_model.tree())})
    arguments = ["search", str(root), "--predictors", str(file), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "3 devices (Maker Alpha 1 A001; " in said and "--device-name" in said
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--device-name", "B001"])
    assert ended.value.code == 0


def test_this_machine_is_named_as_in_its_measurements() -> None:
    from profiling import device

    assert identity.facts()["name"] == device.facts()["name"]


# --- limits on what a device does not report


class Silent:
    """A device that tells nothing."""

    def sample(self, time_s: float) -> Context:
        return Context(time_s)


class Warm:
    """A device that tells its heat and battery."""

    def sample(self, time_s: float) -> Context:
        return Context(time_s, temperature_c=30.0, battery=0.5)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (
            Budget(latency_ms=1000.0, temperature_c=40.0),
            "limits temperature_c, but this device does not report temperature",
        ),
        (
            Budget(latency_ms=1000.0, lifetime_h=8.0),
            "limits lifetime_h, but this device does not report battery charge",
        ),
    ],
)
def test_a_limit_without_a_signal_is_refused(budget: Budget, sentence: str, tmp_path: Path) -> None:
    opened = bundle.load(small_model.write(tmp_path / "b", {"good": small_model.pack(small_model.tree())}))
    cheap = predictors.Predictor("energy_mj", "d", "cpu", 1, "fitted", {"one": 0.1}, {}, 4)
    known = Predictors(predictors.FORMAT, (cheap,), "", {})
    with pytest.raises(BadInput, match=sentence):
        Session(opened, budget, predictors=known, monitor=Monitor(sampler=Silent()))
    loose = Session(opened, budget, predictors=known, monitor=Monitor(sampler=Silent()), best_effort=True)
    assert len(loose.ignored) == 1 and "is ignored: this device does not report" in loose.warnings()[0]
    kept = Session(opened, budget, predictors=known, monitor=Monitor(sampler=Warm()))
    assert kept.ignored == () and kept.warnings() == []
