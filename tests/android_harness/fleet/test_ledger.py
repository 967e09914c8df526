"""Which cells an output holds for a kind of phone, and that each is written once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Context, Energy, Measurement
from android_harness.fleet.ledger import Ledger
from profiling import cells as table
from profiling.device import kind_of

SETTINGS = {"runs": 4, "runner": "agent"}
PIXEL = {
    "manufacturer": "Google",
    "model": "Pixel 8",
    "android": "14",
    "abi": "arm64-v8a",
    "serial": "A1",
    "name": "A1",
}
KIND = "Google Pixel 8, Android 14, arm64-v8a"


def measured(built: Bundle, cell: table.Cell, device: dict[str, Any], **changes: Any) -> Measurement:
    """A measurement as it is written, of no phone that ran."""
    branch, idle = cell.branch, Context(0.0)
    found = Measurement(
        records.FORMAT, built.digest, branch.id, branch.recipe, branch.precision, cell.delegate, cell.threads, device,
        branch.cost, (), (1.0,), 1, None, None, "not measured", Energy(None, "none"), None, "not told", None, idle,
        idle, "2026-01-01T00:00:00+00:00", settings=SETTINGS,
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


@pytest.fixture()
def cells(built: Bundle) -> list[table.Cell]:
    return table.choose(built, ["cpu", "builtin"], [1], 4, [b.id for b in built.manifest.branches[:2]])


def ledger(built: Bundle, cells: list[table.Cell], out: Path, share: str = "model") -> Ledger:
    return Ledger(built, cells, SETTINGS, share, out)


def test_phones_of_a_model_are_one_kind_and_each_is_its_own_without_sharing() -> None:
    assert kind_of(PIXEL, "model") == KIND == kind_of({**PIXEL, "serial": "B2", "name": "B2"}, "model")
    assert kind_of(PIXEL, "none") == "A1"
    for key in ("manufacturer", "model", "android", "abi"):
        assert kind_of({**PIXEL, key: "other"}, "model") != KIND
    assert kind_of({}, "model") == "phone, Android ?, ?"


def test_what_an_output_holds_is_not_asked_for_again(built: Bundle, cells: list[table.Cell], tmp_path: Path) -> None:
    out = tmp_path / "deep/m.jsonl"
    first, second, third, fourth = cells
    with ledger(built, cells, out).opened() as opened:
        assert opened.groups(KIND) == [[first.key, second.key], [third.key, fourth.key]]
        opened.add([measured(built, first, PIXEL), measured(built, third, {**PIXEL, "serial": "B2", "name": "B2"})])
        opened.add([])
        assert opened.groups(KIND) == [[second.key], [fourth.key]] and opened.done(KIND) == 2
    table.append(
        out,
        [
            measured(built, second, {**PIXEL, "model": "Pixel 9", "name": "C3"}),
            measured(built, second, PIXEL, settings={**SETTINGS, "runs": 5}),
            measured(built, second, PIXEL, settings={**SETTINGS, "context": "load50"}),
            measured(built, second, PIXEL, bundle="other"),
            measured(built, second, PIXEL, threads=2),
        ],
    )
    with ledger(built, cells, out).opened() as opened:
        assert opened.groups(KIND) == [[second.key], [fourth.key]]
        assert [opened.key(m) for m in opened.measurements([KIND, "nothing"])] == [first.key, third.key]
        assert opened.key(measured(built, first, PIXEL, threads=2)) is None
    with ledger(built, cells, out, "none").opened() as opened:
        assert [opened.done(name) for name in ("A1", "B2", "C3")] == [1, 1, 1]


def test_a_profile_keeps_its_name_until_it_is_done(built: Bundle, cells: list[table.Cell], tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"

    def run(settings: dict[str, Any] = SETTINGS, close: bool = False) -> str:
        with Ledger(built, cells, settings, "model", out).opened() as opened:
            if close:
                opened.close()
            return opened.run

    first = run()
    assert run() == first and json.loads(Path(f"{out}.fleet").read_text())["run"] == first
    other = run({**SETTINGS, "runs": 5})
    assert other != first and run() not in (first, other)
    Path(f"{out}.fleet").write_text("cut o")
    last = run(close=True)
    assert not Path(f"{out}.fleet").exists() and run() != last


def test_two_fleets_do_not_write_to_one_output(built: Bundle, cells: list[table.Cell], tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    with ledger(built, cells, out).opened() as first:
        with pytest.raises(BadInput, match=r"Another fleet writes to .*m\.jsonl"), ledger(built, cells, out).opened():
            pass
        run = first.run
    with ledger(built, cells, out).opened() as second:
        assert second.run == run
