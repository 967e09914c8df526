"""What a person measures and predicts from Python: profile, fit, run, replay, report, without a terminal."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import records, speed
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_tf.data import Dataset
from adascale_tf.verbs import places
from adascale_tf.verbs.doctor import doctor
from adascale_tf.verbs.fit import fit
from adascale_tf.verbs.profile import Measured, profile
from adascale_tf.verbs.replay import compare_policies, replay
from adascale_tf.verbs.report import report
from adascale_tf.verbs.run import Ran, run

BRANCHES = ("full", "float16", "width0.5", "int8", "width0.25-int8")


@pytest.fixture(scope="module")
def measured(built: Bundle) -> Measured:
    """Five branches of the bundle, measured into the result alone."""
    return profile(built, branches=BRANCHES, runs=3, precise=0)


@pytest.fixture(scope="module")
def ran(built: Bundle, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    """A short loop, and its trace."""
    trace = tmp_path_factory.mktemp("run") / "t.jsonl"
    return run(built, digits, Budget(latency_ms=50), seconds=0.5, out=trace), trace


def test_a_profile_needs_no_file(measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sorted(m.branch for m in measured.measurements) == sorted(BRANCHES)
    assert (measured.out, measured.problems, measured.notes, measured.fresh) == (None, (), (), True)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FrozenInstanceError):
        measured.fresh = False  # type: ignore[misc]


def test_a_profile_into_a_file_is_taken_up_again(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    steps: list[str] = []
    first = profile(str(built.root), branches=["int8"], runs=2, out=str(out), on=[places.host()],
                    tick=lambda what, done, total, note="": steps.append(what))  # fmt: skip
    assert first.fresh and first.out == out and "profile" in steps
    second = profile(built, branches=["int8"], runs=2, out=out)
    assert not second.fresh and second.measurements == first.measurements
    assert profile(built, branches=["int8"], runs=2, out=out, again=True).fresh and len(records.runs([out])) == 2


def test_places_refuse_what_they_cannot_do(built: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="leave 'again' out"):
        profile(built, on=places.fleet(tmp_path / "f.yaml"), again=True)
    with pytest.raises(BadInput, match="leave 'branches' out"):
        profile(built, on=places.host(calibrate=True), branches=["full"])
    with pytest.raises(BadInput, match="No device to measure"):
        profile(built, on=[])
    with pytest.raises(BadInput, match="no context 'busy'"):
        profile(built, on=places.host(contexts=["busy"]))


def test_what_is_not_known_well_after_all_rounds_is_named(built: Bundle) -> None:
    found = profile(built, branches=["full", "int8"], runs=4, precise=1e-9)
    assert all(m.rounds > 4 for m in found.measurements)
    (note,) = found.notes
    assert re.fullmatch(
        r"Not known to ±1e-09 % after all rounds: full/cpux1 \(±[\d.]+ %\), int8/cpux1 \(±[\d.]+ %\); give more runs.",
        note,
    )
    assert profile(built, branches=["full"], runs=8, precise=100).notes == ()


def test_the_usual_speed_is_that_of_all_measurements_in_the_file(built: Bundle, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"branches": ["int8"], "runs": 4, "precise": 0, "out": tmp_path / "m.jsonl", "again": True}
    assert profile(built, **wanted).usual != profile(built, **wanted).usual
    assert profile(built, **wanted).usual == speed.usual(records.runs([wanted["out"]]))
    assert profile(built, **wanted, anchors=False).measurements[0].paces == ()


def test_predictors_come_from_whatever_holds_measurements(measured: Measured, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    out.write_text("".join(map(codec.dump_line, measured.measurements)))
    ways = [measured, list(measured.measurements), out, str(out), [out, measured]]
    fitted = [replace(fit(way), created="") for way in ways]
    assert all(one == fitted[0] for one in fitted[1:])
    kept = tmp_path / "p.json"
    fit(measured, out=kept)
    assert kept.stat().st_size > 100


def test_a_run_and_its_replay_agree(built: Bundle, ran: tuple[Ran, Path]) -> None:
    done, trace = ran
    assert done.summary["count"] == len(done.events) > 10 and done.cascade is None and done.notes == ()
    again = replay(built, trace, "latency_ms=50")
    assert again.summary == done.summary and again.notes == ()
    assert replace(again.header, started="") == replace(done.header, started="")
    compared = compare_policies(built.root, trace, Budget(latency_ms=50), policies=["adaptive", "oracle"])
    assert list(compared.policies) == ["adaptive", "oracle"] and compared.recorded == len(done.events)


def test_a_run_watches_and_uses_predictors(built: Bundle, digits: Dataset, measured: Measured) -> None:
    seen: list[str] = []
    done = run(
        built, digits, "latency_ms=50,memory_mb=100000", seconds=0.3, predictors=fit(measured), cascade=True,
        watch=lambda event: seen.append(event.branch),
    )  # fmt: skip
    assert seen == [event.branch for event in done.events]
    assert done.cascade is not None and 0 <= done.cascade.asked <= 1


def test_limits_that_a_trace_tells_nothing_about_are_notes(built: Bundle, ran: tuple[Ran, Path]) -> None:
    trace = ran[1]
    lines = trace.read_text().splitlines()
    quiet = trace.with_name("quiet.jsonl")
    events = [codec.parse(line, "a line") for line in lines[1:]]
    for event in events:
        if event["context"]:
            event["context"]["temperature_c"] = event["context"]["battery"] = None
    quiet.write_text("\n".join([lines[0], *(codec.dump_line(event).rstrip("\n") for event in events), ""]))
    budget = "latency_ms=50,temperature_c=60,lifetime_h=5,energy_mj=500"
    for notes in (replay(built, quiet, budget).notes, compare_policies(built, quiet, budget).notes):
        assert "The trace records no temperature, so the limit temperature_c was ignored." in notes
        assert "The trace records no battery charge, so the limit lifetime_h was ignored." in notes
        assert "The trace records no energy for any branch, so the limit energy_mj was ignored for them." in notes
    assert not [note for note in replay(built, quiet, "latency_ms=50").notes if "ignored" in note]


def words(page: str) -> str:
    """A page without its pictures, whose ids are drawn at random."""
    return re.sub("<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_a_report_is_of_objects_and_of_paths(
    built: Bundle, measured: Measured, ran: tuple[Ran, Path], tmp_path: Path
) -> None:
    fitted = fit(measured)
    one = report([built, measured, ran[0], fitted], tmp_path / "one.html", title="Mine").out.read_text()
    out = tmp_path / "m.jsonl"
    out.write_text("".join(map(codec.dump_line, measured.measurements)))
    other = report([built.root, out, ran[1], fitted], tmp_path / "two.html", title="Mine").out.read_text()
    assert words(one) == words(other) and one.count("<svg") == other.count("<svg") >= 4 and "Mine" in one
    assert report(built, tmp_path / "b.html").out.exists()
    with pytest.raises(BadInput, match="about one bundle"):
        report([built, built.root], tmp_path / "x.html")
    with pytest.raises(BadInput, match=r"must end in \.html"):
        report(built, tmp_path / "x.csv")
    with pytest.raises(BadInput, match="cannot be made of"):
        report([7], tmp_path / "x.html")  # type: ignore[list-item]


def test_the_doctor_says_what_is_lacking() -> None:
    diagnosis = doctor()
    assert {check.name for check in diagnosis.checks} > {"python", "delegates", "energy meter"}
    assert all(check.status != "ok" and (check.remedy or check.detail) for check in diagnosis.lacking)
