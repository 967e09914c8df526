"""Tables that several commands show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adascale_tf.cli import tables
from adascale_tf.verbs.phones import Device, Devices
from adascale_tf.verbs.replay import Compared
from tests.adascale_runtime.seams.test_losses import branch, manifest


def test_a_branch_that_lost_too_much_shows_it() -> None:
    good, bad = branch("int8", 0.95, 0.90), branch("width(0.5)+int8", 0.95, 0.866)
    of_both = manifest(good, bad)
    assert tables.accuracy_cell(of_both, good) == "90.00%"
    assert tables.accuracy_cell(of_both, bad) == "86.60% (-8.4)"


def test_what_training_would_add_is_shown_as_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    trained, derived = branch("int8", 0.95, 0.90), branch("width(0.5)+int8", 0.90, 0.89)
    tables.branches(manifest(trained, derived), "here")
    assert "estimate" not in capsys.readouterr().out
    for odd in ("much", {"loss_points": "much"}, {"error_points": 1.0}):
        tables.branches(manifest(replace(derived, training={"estimate": odd})), "here")
        assert "estimate" not in capsys.readouterr().out
    estimate = {"loss_points": 1.26, "error_points": 0.81, "branches": 3}
    tables.branches(manifest(trained, replace(derived, training={"estimate": estimate})), "here")
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "~1.3" in out and "~: an estimate, from the branches that were trained" in out and "are 0.8 points off" in out
    )


def test_the_three_branches_that_served_most_are_shown() -> None:
    assert tables.most_used({"a": 0.1, "b": 0.5, "c": 0.15, "d": 0.25}) == "b 50%, d 25%, c 15%"


FACTS = {
    "name": "Google Pixel 8 A1", "soc": "Tensor G3", "board": "shiba", "android": "14", "abi": "arm64-v8a",
    "battery": 0.8, "charging": True, "temperature_c": 31.0, "thermal": None,
}  # fmt: skip


def test_phones_of_a_fleet_are_shown_with_their_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    there, gone = Device("usb", "ready", "", FACTS, "lab-a"), Device("10.0.0.2:5555", "absent", "No.", {}, "lab-b")
    tables.devices([there, gone], "Devices of f.yaml")
    out = capsys.readouterr().out
    assert "lab-a" in out and "80% charging" in out and "31.0 C" in out and "lab-b: No." in out
    assert tables.unusable(Devices((there, gone))) == "1 of 2 phones cannot be used: 10.0.0.2:5555 at lab-b is absent."
    assert list(tables.device_facts(gone)) == ["host", "address", "state", "detail", "facts"]


def test_phones_without_a_fleet_have_no_host(capsys: pytest.CaptureFixture[str]) -> None:
    phone = Device("usb", "ready", "", FACTS)
    tables.devices([phone], "Devices")
    assert "host" not in capsys.readouterr().out and "host" not in tables.device_facts(phone)
    many = Devices(tuple(Device(f"usb:{n}", "waiting") for n in range(7)))
    assert tables.unusable(many).endswith("usb:4 is waiting and 2 more.")


def test_policies_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"kept": 0.99, "expected_accuracy": 0.9, "mean_ms": 1.25, "switches": 3, "branches": {"full": 1.0}}
    facts["broken"] = {"power_mw": {"share": 0.01, "mean": 3.5, "worst": 12.0}}
    tables.policies(Compared({"adaptive": facts}, 1200), str(Path("t.jsonl")))
    out = capsys.readouterr().out
    assert "1,200 recorded inferences of t.jsonl" in out and "adaptive" in out and "99.00%" in out
    assert "power_mw" in out and "1.00%" in out and "3.5" in out and "12" in out
