"""Profiles of emulated phones from end to end: the real agent, the real LiteRT, a battery that follows the work."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import records, speed
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from android_harness import keys, store
from android_harness.adb import Address, PhoneGone
from android_harness.harness import NOT_ASKED, Harness, Outcome, show
from android_harness.runner import Options
from profiling import cells
from profiling.jobs import LASTING_MS
from tests.fixtures.adbd import Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import SHAPES, Phone

FULL, SMALL = "full", "width0.25-exit1-int8"
QUICK = Options(runs=4, rounds=2, patience_s=30, idle_s=0.8, batch_s=1.6)
#: Gauges that change faster than real ones need less time to tell the power.
UPDATE_S = 0.15


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return keys.load(tmp_path_factory.mktemp("key") / "adbkey")[0]


@pytest.fixture()
def pixel(tmp_path: Path) -> Iterator[tuple[Phone, Adbd]]:
    with emulated(tmp_path / "phone", update_s=UPDATE_S) as found:
        yield found


@pytest.fixture()
def profile(built: Bundle, signer: Any, tmp_path: Path) -> Callable[..., Outcome]:
    """Profile a phone: its adbd, then what differs from a quick profile of one branch on one thread."""

    def profiled(adbd: Adbd, **changes: Any) -> Outcome:
        arguments = {"delegates": ["cpu"], "threads": [1], "branches": [FULL]}
        arguments |= {name: changes.pop(name) for name in (*arguments, "keep", "clean") if name in changes}
        tick = changes.pop("tick", lambda *_: None)
        out = changes.pop("out", tmp_path / "m.jsonl")
        options = dataclasses.replace(QUICK, **changes)
        return Harness(built, Address(*adbd.address), options, out, signer=signer, tick=tick).profile(**arguments)

    return profiled


def test_what_is_not_known_well_gets_further_rounds_also_after_a_cut(
    pixel: tuple[Phone, Adbd], profile: Callable[..., Outcome], tmp_path: Path
) -> None:
    _, adbd = pixel
    begun: list[str] = []

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        if note.startswith(("block", "end")):
            begun.append(note)
        if note.startswith("block") and done == 5:  # in the first round that was not planned
            raise AdaScaleError("killed")

    with pytest.raises(AdaScaleError, match="killed"):
        profile(adbd, precise=1e-9, keep=True, tick=tick)
    (m,) = profile(adbd, precise=1e-9).measurements
    assert m.rounds > QUICK.rounds and sum(m.latency_ms) >= m.rounds * LASTING_MS
    usual = speed.usual([m])
    assert m.paces[-1].run == len(m.latency_ms) and speed.at_usual(m, usual).corrected
    assert m.context_after.time_s > max(p.time_s or 0.0 for p in m.paces)  # looked at after all rounds
    assert set(usual) == {(str(m.device["name"]), "")} and not Path(f"{tmp_path / 'm.jsonl'}.journal").exists()
    (plain,) = profile(adbd, anchors=False).measurements
    assert plain.paces == () and plain.settings["anchors"] is False


def folder(phone: Phone) -> Path:
    return phone.local(store.FOLDER)


def energy_is_right(phone: Phone, measured: Measurement) -> bool:
    """Whether the energy of a run is what it really was: to 10 %, or to three of the standard errors that are stated
    where others on this machine make the power uneven."""
    energy = measured.energy
    assert energy.value_mj is not None and energy.how == "measured:battery", energy
    used = phone.used_mj(*energy.details["busy_s"]) / energy.details["runs"]
    assert energy.value_mj == pytest.approx(used, rel=0.1, abs=3 * energy.uncertainty_mj)
    return 0 < energy.uncertainty_mj < energy.value_mj / 3


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_kind_of_phone_is_measured_with_its_energy(
    built: Bundle, profile: Callable[..., Outcome], tmp_path: Path, shape: str
) -> None:
    with emulated(tmp_path / "phone", shape, update_s=UPDATE_S) as (phone, adbd):
        branches = [FULL, SMALL] if shape == "pixel" else [FULL]
        outcome = profile(adbd, branches=branches, energy=True)
        assert not outcome.failed and not folder(phone).exists()
        assert [m.branch for m in outcome.measurements] == branches
        for measured in outcome.measurements:
            assert energy_is_right(phone, measured)
            assert measured.energy.details["gauge"] == phone.shape.gauge
    full = outcome.measurements[0]
    assert all(full.energy.value_mj > m.energy.value_mj for m in outcome.measurements[1:])
    assert records.read([tmp_path / "m.jsonl"]) == outcome.measurements
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("m.")] == ["m.jsonl"]
    facts = codec.to_json(full.device)
    assert facts["kind"] == "phone" and facts["serial"] == SHAPES[shape].props["ro.serialno"]
    assert show(outcome)["measurements"][0]["branch"] == FULL and outcome.seconds > outcome.measuring_s > 0


def test_every_branch_is_measured_and_says_how(
    built: Bundle, profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd]
) -> None:
    outcome = profile(pixel[1], branches=None, delegates=["cpu", "builtin"], runs=6, rounds=3)
    branches = built.manifest.branches
    assert [(m.branch, m.delegate) for m in outcome.measurements] == [
        (b.id, name) for name in ("cpu", "builtin") for b in branches
    ]
    for m in outcome.measurements:
        assert m.rounds == 3 and len(m.latency_ms) == 6 and min(m.latency_ms) > 0 and len(m.warmup_ms) == 3
        # In integers two classes may tie, and other kernels round the other way.
        assert m.outputs is not None and (m.outputs.agreement == 1.0 or m.precision == "int8")
        assert m.outputs.samples == built.manifest.samples.count and m.outputs.max_abs_difference < 0.3
        assert m.delegation is not None and m.delegation_reason is None
        if m.delegate == "builtin":
            assert m.delegation.verdict == "not"
        else:  # XNNPACK leaves one operator of the small exits in integers to plain kernels
            early = "exit" in m.branch
            assert m.delegation.verdict in (("partly", "fully") if early else ("fully",))
            assert m.delegation.nodes - m.delegation.delegated <= early
        assert m.delegation.nodes >= built.manifest.branch(m.branch).cost.ops  # float16 weights are converted first
        assert m.memory_mb is not None and 0 < m.memory_mb < 100 and m.load_ms is not None and m.load_ms > 0
        assert m.energy.how == "estimated:model" and NOT_ASKED in str(m.energy.reason)
        for context in (m.context_before, m.context_after):
            assert context.cores == os.cpu_count() and context.charging is False and 28 < context.temperature_c < 60
        assert m.settings == {"runs": 6, "runner": "agent"} and m.versions["engine"] == "libLiteRt.so"


def test_threads_are_cells_of_their_own(profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd]) -> None:
    outcome = profile(pixel[1], threads=[1, 2, 1])
    assert [(m.branch, m.threads) for m in outcome.measurements] == [(FULL, 1), (FULL, 2)]


def test_finished_work_is_not_repeated(
    profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd], tmp_path: Path
) -> None:
    first = profile(pixel[1])
    text = (tmp_path / "m.jsonl").read_text()
    again = profile(pixel[1])
    assert again.measurements == first.measurements and again.measuring_s == 0
    more = profile(pixel[1], branches=[FULL, SMALL])
    assert more.measurements[0] == first.measurements[0] and more.measurements[1].branch == SMALL
    assert (tmp_path / "m.jsonl").read_text().startswith(text)
    other = profile(pixel[1], runs=3)
    assert len(other.measurements[0].latency_ms) == 3


# --- what stays on the phone


def test_kept_files_are_sent_once(
    built: Bundle, profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    phone, adbd = pixel
    sent: list[int] = []
    bring = store.bring
    monkeypatch.setattr(store, "bring", lambda *arguments: sent.append(bring(*arguments)))
    profile(adbd, keep=True)
    kept = {path: path.stat().st_mtime_ns for path in folder(phone).rglob("*") if path.is_file()}
    assert sum(sent) > sum(entry.size_bytes for entry in built.manifest.files)
    assert {path.name for path in kept} >= {"agent.pyz", "libLiteRt.so", "manifest.json"}

    sent.clear()
    profile(adbd, keep=True, out=tmp_path / "second.jsonl")
    assert sent == [0, 0]

    damaged = folder(phone) / store.bundle_folder(built) / built.manifest.branch(FULL).file
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    sent.clear()
    outcome = profile(adbd, keep=False, out=tmp_path / "third.jsonl")
    assert sent == [0, damaged_size(built)] and not outcome.failed
    assert not folder(phone).exists()


def damaged_size(built: Bundle) -> int:
    return built.path(built.manifest.branch(FULL).file).stat().st_size


def test_clean_removes_what_others_left(profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd]) -> None:
    phone, adbd = pixel
    (folder(phone) / "bundle").mkdir(parents=True)
    (folder(phone) / "bundle/left").touch()
    profile(adbd, keep=True, clean=True)
    assert folder(phone).is_dir() and not (folder(phone) / "bundle/left").exists()


def test_other_files_on_the_phone_stay(profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd]) -> None:
    mine = pixel[0].local("/data/local/tmp/mine")
    mine.write_text("mine")
    profile(pixel[1])
    assert [path.name for path in mine.parent.iterdir()] == ["mine"] and mine.read_text() == "mine"


# --- what cannot be asked


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"delegates": ["npx"]}, "has no delegate npx; it has builtin, cpu"),
        ({"delegates": ["reference"]}, "has no delegate reference; .* without XNNPACK are the delegate builtin there"),
        ({"delegates": ["nnapi"]}, r"nnapi: use '--runner benchmark_model'"),
        ({"delegates": []}, "No delegate is named"),
        ({"branches": ["none"]}, "has no branch 'none'"),
        ({"runs": 0}, "0 runs"),
        ({"threads": [0]}, r"threads"),
        ({"python": "no-python"}, "has no no-python of version 3.8 or later"),
        ({"litert": Path("/no/libLiteRt.so")}, "does not exist; give --litert"),
        ({"runner": "other"}, "no runner 'other'"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_leaves_nothing(
    profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd], tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        profile(pixel[1], **changes)
    assert not folder(pixel[0]).exists() and not (tmp_path / "m.jsonl").exists()


def test_a_phone_that_is_not_there_is_told_at_once(profile: Callable[..., Outcome], tmp_path: Path) -> None:
    with emulated(tmp_path / "phone") as (_, adbd):
        pass
    with pytest.raises(PhoneGone, match="No phone answers"):
        profile(adbd, patience_s=300)


@pytest.mark.parametrize("mask", ["f" + "0" * 60, "0", "middle"])
def test_cores_that_are_not_there_are_refused(
    profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd], mask: str
) -> None:
    with pytest.raises(AdaScaleError, match=r"names cores that this device lacks|is not a set of cores"):
        profile(pixel[1], affinity=mask)
    assert not folder(pixel[0]).exists()


def workers(phone: Phone) -> list[psutil.Process]:
    """The processes in which the agent lets work be done."""
    found = []
    for shell in list(phone._shells):
        try:
            below = psutil.Process(shell).children(recursive=True)
            found += [p for p in below if "bench" in p.cmdline() and p.parent().cmdline() == p.cmdline()]
        except (psutil.Error, AttributeError):
            continue
    return found


@pytest.mark.parametrize(("affinity", "big"), [("big", True), ("little", False), ("1", None)])
def test_work_runs_on_the_cores_that_are_named(
    profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd], affinity: str, big: bool | None
) -> None:
    """Cores of the emulated phone are the host's; the upper half of them is big."""
    phone, adbd = pixel
    count = os.cpu_count() or 1
    split = count // 2
    wanted = {0} if big is None else set(range(split, count) if big else range(split or 1))
    seen: list[set[int]] = []

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        if note.startswith("start ") and not seen:
            deadline = time.monotonic() + 20
            while not seen and time.monotonic() < deadline:
                for worker in workers(phone):
                    try:
                        cores = set(worker.cpu_affinity())
                    except psutil.Error:
                        continue
                    if cores == wanted:
                        seen.append(cores)

    outcome = profile(adbd, affinity=affinity, delegates=["builtin"], tick=tick)
    assert seen == [wanted]
    assert not outcome.failed and outcome.measurements[0].settings["affinity"] == affinity


# --- energy that cannot be measured


def test_a_charging_phone_gives_no_energy_but_the_reason(
    profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd]
) -> None:
    pixel[0].plug(True)
    notes: list[str] = []
    outcome = profile(pixel[1], energy=True, patience_s=3, tick=lambda what, done, total, note="": notes.append(note))
    energy = outcome.measurements[0].energy
    assert energy.how == "estimated:model" and "the phone was charging" in str(energy.reason)
    assert "waits: the phone charges; unplug it" in notes
    assert outcome.measurements[0].context_before.charging is True


def test_a_phone_that_is_unplugged_in_time_is_measured(
    profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd]
) -> None:
    phone, adbd = pixel
    phone.plug(True)

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        if note.startswith("waits"):
            phone.plug(False)

    assert energy_is_right(phone, profile(adbd, energy=True, tick=tick).measurements[0])


def test_a_battery_that_never_changes_is_frozen(profile: Callable[..., Outcome], tmp_path: Path) -> None:
    with emulated(tmp_path / "phone", update_s=1e9) as (_, adbd):
        energy = profile(adbd, energy=True).measurements[0].energy
    assert energy.how == "estimated:model" and "never changed, so it is frozen" in str(energy.reason)


def test_a_device_without_a_battery_says_so(profile: Callable[..., Outcome], tmp_path: Path) -> None:
    with emulated(tmp_path / "phone", update_s=1e9) as (phone, adbd):
        shutil.rmtree(phone.local("/sys/class/power_supply"))
        outcome = profile(adbd, energy=True)
    assert not outcome.failed and "sees no battery" in str(outcome.measurements[0].energy.reason)
    assert outcome.measurements[0].context_before.battery is None


def test_a_hot_phone_is_waited_for(profile: Callable[..., Outcome], pixel: tuple[Phone, Adbd]) -> None:
    phone, adbd = pixel
    phone.heat(70.0)
    waits: list[str] = []
    deadline = time.monotonic() + 20
    while "70000" not in phone.local("/sys/class/thermal/thermal_zone0/temp").read_text():
        assert time.monotonic() < deadline

    def tick(what: str, done: int, total: int, note: str = "") -> None:
        if note.startswith("waits"):
            waits.append(note)
            phone.heat(30.0)

    outcome = profile(adbd, cooldown_c=40, tick=tick)
    assert waits[0] == "waits: 70.0 C, cooling to 40 C" and not outcome.failed
    assert outcome.measurements[0].context_before.temperature_c < 40


# --- several phones


def test_several_phones_at_once_share_a_file(
    profile: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each appends to what the file holds; here all would do so at the same moment if they could."""
    whole, serials = cells._whole, ["A1", "B2", "C3"]
    meeting = threading.Barrier(len(serials))

    def slow(file: Any) -> int:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(timeout=1)
        return whole(file)

    def one(serial: str) -> Outcome:
        with emulated(tmp_path / serial, serial=serial) as (_, adbd):
            return profile(adbd, branches=[FULL, SMALL])

    monkeypatch.setattr(cells, "_whole", slow)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(one, serials))
    assert not any(outcome.failed for outcome in outcomes) and meeting.broken
    found = {(m.device["serial"], m.branch) for m in records.read([tmp_path / "m.jsonl"])}
    assert found == {(serial, branch) for serial in serials for branch in (FULL, SMALL)}
