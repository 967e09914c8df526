"""What a host does for the coordinator, on emulated phones; without Dask, which only calls these functions."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.engines.delegates import wheel_library
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle as bundles
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.jobs import Begin, Message
from adascale_runtime.seams.records import Measurement
from android_harness import keys, store
from android_harness.fleet import parcels
from android_harness.fleet.lease import Order, forget, measure, survey, tidy
from android_harness.harness import file_name
from android_harness.runner import AgentRunner, Options
from tests.fixtures.adbd import Access
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.shelf import Unit, shelf

QUICK = Options(runs=4, rounds=2)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("key") / "adbkey"
    keys.load(path)
    return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return parcels.cache()


@pytest.fixture()
def unit(tmp_path: Path) -> Iterator[Unit]:
    with shelf(tmp_path, {"A1": "pixel"}) as units:
        yield units["A1"]


@pytest.fixture()
def order(built: Bundle, unit: Unit, key: str) -> Order:
    parcel = parcels.of_bundle(built)
    parcels.keep(parcel.digest, parcel.data)
    branches = tuple(branch.id for branch in built.manifest.branches)
    return Order("run", parcel.digest, unit.address, "Google Pixel 8 A1", key, "cpu", 1, branches[:2], QUICK, 1.0)


@pytest.fixture()
def begun(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each job was begun on a phone."""
    counted: Counter[tuple[str, str]] = Counter()
    run = AgentRunner.run

    def told(*arguments: Any) -> Iterator[Message]:
        for message in run(*arguments):
            if isinstance(message, Begin):
                counted[message.kind, message.key] += 1
            yield message

    monkeypatch.setattr(AgentRunner, "run", told)
    return counted


def facts(count: int) -> Callable[[], bool]:
    """Whether somebody waits: until so many facts are in the journal."""

    def wanted() -> bool:
        return sum(p.read_text().count("\n") - 1 for p in parcels.cache().glob("runs/run/*.journal")) < count

    return wanted


def cells(found: dict[str, Any]) -> list[str]:
    return [m["branch"] for m in found["measurements"]]


def test_a_lease_is_measured_and_says_so_in_plain_json(order: Order, unit: Unit) -> None:
    found = json.loads(json.dumps(measure(order)))
    assert cells(found) == list(order.branches)
    assert (found["failed"], found["gone"], found["refused"]) == ({}, None, None)
    for data in found["measurements"]:
        measured = codec.from_json(Measurement, data, "lease")
        assert measured.device["name"] == "Google Pixel 8 A1" and len(measured.latency_ms) == QUICK.runs
    assert unit.phone.local(store.FOLDER).exists()  # for the next lease
    tidy(order.address, order.key)
    assert not unit.phone.local(store.FOLDER).exists()


def test_a_lease_again_is_not_measured_again_until_the_profile_is_done(
    order: Order, cache: Path, begun: Counter[tuple[str, str]]
) -> None:
    first, jobs = measure(order), sum(begun.values())
    assert measure(order) == first and sum(begun.values()) == jobs
    forget(order.run)
    forget(order.run)
    assert not list(cache.glob("runs/*"))
    assert cells(measure(order)) == cells(first) and sum(begun.values()) == 2 * jobs


def test_a_lease_that_nobody_waits_for_stops_and_another_takes_its_facts_over(
    built: Bundle, order: Order, begun: Counter[tuple[str, str]]
) -> None:
    third = built.manifest.branches[2].id
    found = measure(order, facts(5))
    assert found["gone"] == "The coordinator has gone; what was measured is kept for the next."
    known = {name for name, _ in begun.items()}
    assert len(known) > 2
    assert cells(measure(dataclasses.replace(order, branches=(order.branches[1], third)))) == [order.branches[1], third]
    again = {name: times for name, times in begun.items() if times > 1}
    assert len(again) <= 1, "only what was being done when it stopped"
    assert begun["process", f"{order.branches[1]}/cpux1"] == 1


def test_unfinished_work_of_other_settings_is_no_hindrance(order: Order, cache: Path) -> None:
    measure(order, facts(5))
    (journal,) = cache.glob("runs/run/*.journal")
    other = dataclasses.replace(order, options=dataclasses.replace(QUICK, runs=3))
    assert cells(measure(other)) == list(order.branches) and not journal.exists()
    for text in ("", '{"no": "settings"}\n{"key": 3}\n'):
        journal.write_text(text)
        assert cells(measure(dataclasses.replace(order, branches=order.branches[:1]))) == [order.branches[0]]


def test_a_phone_that_is_not_there_is_gone(order: Order, unit: Unit) -> None:
    unit.die()
    assert "No phone answers" in measure(order)["gone"]


def test_a_phone_that_dies_is_gone_when_patience_ends(order: Order, unit: Unit) -> None:
    def wanted() -> bool:
        if any(Path(parcels.cache() / "runs/run").glob("*.journal")):
            unit.die()
        return True

    begun = time.monotonic()
    found = measure(order, wanted)
    assert "No phone answers" in found["gone"] and found["measurements"] == []
    assert time.monotonic() - begun > order.away_s
    unit.revive()
    assert cells(measure(order)) == list(order.branches)


def test_another_phone_at_the_address_is_not_measured_in_its_place(order: Order) -> None:
    found = measure(dataclasses.replace(order, phone="Google Pixel 8 B2"))
    assert found["gone"] == f"{order.address} is another phone now (Google Pixel 8 A1)" and not found["measurements"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"delegate": "npx"}, "has no delegate npx"),
        ({"options": dataclasses.replace(QUICK, python="no-python")}, "has no no-python of version 3.8 or later"),
        ({"branches": ("none",)}, "has no branch 'none'"),
        ({"bundle": "0" * 16}, "is not a bundle"),
    ],
)
def test_what_a_phone_or_a_host_lacks_is_refused(order: Order, changes: dict[str, Any], sentence: str) -> None:
    found = measure(dataclasses.replace(order, **changes))
    assert sentence in found["refused"] and found["gone"] is None


def test_one_lease_at_a_time_uses_a_phone(order: Order, cache: Path) -> None:
    lock = cache / "phones/Google_Pixel_8_A1.lock"
    with parcels.held(lock):
        assert measure(order)["gone"] == "Google Pixel 8 A1 is used by another profile; it is tried again later."
        assert "before the phone was free" in measure(order, lambda: False)["gone"]
        waiting = threading.Timer(0.3, lambda: None)
        found: dict[str, Any] = {}
        patient = dataclasses.replace(order, away_s=30.0)
        waiting.function = lambda: found.update(measure(patient))  # type: ignore[attr-defined]
        waiting.start()
        time.sleep(0.6)
    waiting.join(30)
    assert cells(found) == list(order.branches)


def test_files_that_options_name_travel(order: Order, tmp_path: Path) -> None:
    library = Path(shutil.copy(wheel_library(), tmp_path / "libLiteRt.so"))
    (tmp_path / "libLiteRtGpuAccelerator.so").write_bytes(b"beside it")
    parcel = parcels.of_file(library)
    parcels.keep(parcel.digest, parcel.data)
    assert sorted(p.name for p in parcels.place(parcel.digest).iterdir()) == [
        "libLiteRt.so",
        "libLiteRtGpuAccelerator.so",
    ]
    library.unlink()
    options = dataclasses.replace(QUICK, litert=Path(parcel.digest, "libLiteRt.so"))
    found = measure(dataclasses.replace(order, options=options, branches=order.branches[:1]))
    assert cells(found) == [order.branches[0]]


# --- who is there


def test_a_survey_says_who_answers(unit: Unit, key: str, tmp_path: Path) -> None:
    with emulated(tmp_path / "shut", access=Access(keys={(1 << 2047) + 1}, dialog="wait")) as (_, shut):
        addresses = [unit.address, "127.0.0.1:1", f"127.0.0.1:{shut.address[1]}"]
        ready, absent, waiting = survey(addresses, key)
    assert (ready["state"], ready["facts"]["serial"]) == ("ready", "A1")
    assert absent["state"] == "absent" and "No phone answers" in absent["detail"]
    assert waiting["state"] == "waiting" and "unlock the phone" in waiting["detail"]
    assert [f["address"] for f in (ready, absent, waiting)] == addresses


def test_a_key_that_is_none_is_told_for_each_phone(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "nokey").write_text("no key")
    (found,) = survey([unit.address], str(tmp_path / "nokey"))
    assert found["state"] == "waiting" and "is not an RSA private key" in found["detail"]


def test_tidying_a_phone_that_is_gone_does_no_harm(unit: Unit, key: str) -> None:
    unit.die()
    tidy(unit.address, key)


# --- parcels


def test_a_bundle_arrives_as_it_was(built: Bundle) -> None:
    parcel = parcels.of_bundle(built)
    assert parcels.of_bundle(built) == parcel and parcels.missing([parcel.digest]) == [parcel.digest]
    parcels.keep(parcel.digest, parcel.data)
    parcels.keep(parcel.digest, parcel.data)
    assert parcels.missing([parcel.digest]) == []
    assert bundles.load(parcels.place(parcel.digest)).manifest == built.manifest


def test_a_damaged_parcel_is_refused_and_leaves_nothing(built: Bundle, cache: Path) -> None:
    parcel = parcels.of_bundle(built)
    with pytest.raises(AdaScaleError, match="arrived damaged"):
        parcels.keep(parcel.digest, parcel.data[:-1] + b"?")
    assert not list(cache.rglob("*"))


def test_a_file_that_is_not_there_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no.so cannot be read"):
        parcels.of_file(tmp_path / "no.so")


def test_parcels_that_nobody_used_for_long_make_room(tmp_path: Path, cache: Path) -> None:
    packed = []
    for name in ("old", "used", "new"):
        (tmp_path / name).write_text(name)
        packed.append(parcels.of_file(tmp_path / name))
    old, used, new = packed
    for parcel in (old, used):
        parcels.keep(parcel.digest, parcel.data)
        long_ago = time.time() - parcels.UNUSED_S - 60
        os.utime(cache / "parcels" / parcel.digest, (long_ago, long_ago))
    parcels.place(used.digest)
    parcels.keep(new.digest, new.data)
    assert parcels.missing([old.digest, used.digest, new.digest]) == [old.digest]


@given(st.dictionaries(st.sampled_from(["a", "b/c", "b/d.so"]), st.binary(max_size=20), max_size=3), st.randoms())
def test_the_same_files_are_the_same_parcel(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], chance: Any
) -> None:
    root = tmp_path_factory.mktemp("files")
    paths = {}
    for number, (name, data) in enumerate(files.items()):
        paths[name] = root / str(number)
        paths[name].write_bytes(data)
    shuffled = list(paths.items())
    chance.shuffle(shuffled)
    assert parcels.pack(paths) == parcels.pack(dict(shuffled))
    if files:
        changed = root / "changed"
        changed.write_bytes(b"other" * 5)
        assert parcels.pack({**paths, next(iter(paths)): changed}).digest != parcels.pack(paths).digest


def test_safe_names_stay_apart() -> None:
    assert file_name("Google Pixel 8 A/1") == "Google_Pixel_8_A_1"
