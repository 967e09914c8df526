"""What a session learned of the device is there for the next one, and is never in its way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adascale_runtime import habits
from adascale_runtime.files import cache
from adascale_runtime.policies import habits as policies
from adascale_runtime.policies.pressure import Excesses
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.session import Session

LEARNED = {(("cpu", 1), 2): Excesses((3.0, 1.0, *(0.0,) * 12), 40.0)}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_habits_are_kept_for_this_device_beside_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert habits.recall() == habits.NOTHING
    habits.keep(LEARNED)
    monkeypatch.setattr(habits, "_NAME", ["another device"])
    assert habits.recall() == habits.NOTHING
    habits.keep({(("cpu", 2), 0): Excesses()})
    monkeypatch.setattr(habits, "_NAME", [])
    assert habits.recall().habits == LEARNED


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"format": "other"}', b'{"format": "adascale-habits/1", "devices": 3}']
)
def test_a_damaged_file_is_as_none(damage: bytes) -> None:
    place = cache.place(habits.FILE)
    assert place is not None
    place.parent.mkdir(parents=True)
    place.write_bytes(damage)
    assert habits.recall() == habits.NOTHING
    habits.keep(LEARNED)
    assert habits.recall().habits == LEARNED


def test_a_place_that_cannot_be_written_costs_nothing_but_memory(home: Path) -> None:
    (home / "adascale").write_text("a file where the folder should be")
    habits.keep(LEARNED)
    assert habits.recall() == habits.NOTHING


def test_what_the_anchors_took_is_kept_beside_them_and_bounded() -> None:
    habits.keep(LEARNED, {"float": 0.04, "memory": 0.1})
    for number in range(2 * habits.OPENINGS):
        habits.keep({}, {"float": 0.05 + number})
    known = habits.recall()
    assert known.habits == LEARNED
    assert known.openings["memory"] == (0.1,)
    assert known.openings["float"] == tuple(0.05 + n for n in range(habits.OPENINGS, 2 * habits.OPENINGS))
    habits.keep(LEARNED)
    assert habits.recall() == known


def test_a_file_from_before_the_anchors_is_read() -> None:
    cache.store(habits.FILE, habits.FORMAT, {"devices": {habits._name(): policies.to_json(LEARNED)}})
    assert habits.recall() == habits.Known(LEARNED, {})


@pytest.mark.parametrize(
    "anchors", [3, [1], {"float": 3}, {"float": ["0.1", None, True, -1.0, 0, 1e99, [0.1]]}, {"strange": [0.1]}]
)
def test_impossible_openings_are_left_out(anchors: object) -> None:
    cache.store(habits.FILE, habits.FORMAT, {"devices": {}, "anchors": {habits._name(): anchors}})
    assert habits.recall() == habits.NOTHING
    habits.keep({}, {"float": 0.2})
    assert habits.recall().openings == {"float": (0.2,)}


def test_every_session_that_ends_leaves_an_opening_unless_it_runs_none(built: Bundle) -> None:
    for anchors, remember, count in ((True, True, 1), (False, True, 1), (True, False, 1), (True, True, 2)):
        with Session(built, Budget(latency_ms=1e3), anchors=anchors, remember=remember) as session:
            assert bool(session.ready.took) == anchors
        session.close()
        assert {len(times) for times in habits.recall().openings.values()} == {count}


def test_a_session_begins_with_what_the_one_before_learned(built: Bundle) -> None:
    x = np.zeros(built.manifest.branches[0].input.shape, np.float32)
    with Session(built, Budget(latency_ms=1e3)) as first:
        for _ in range(50):
            first.predict(x)
        learned = first.observer.state.habits
    assert sum(had.exposure_ms for had in learned.values()) > 0
    with Session(built, Budget(latency_ms=1e3)) as second:
        assert second.observer.state.habits == learned
        second.predict(x)
        second.restart()
        assert set(second.observer.state.habits) >= set(learned)
    with Session(built, Budget(latency_ms=1e3), remember=False) as third:
        assert third.observer.state.habits == {}
        third.predict(x)
    assert habits.recall().habits == second.observer.state.habits
