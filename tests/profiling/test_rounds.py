"""Further rounds for what is not known well enough, by what the journal holds; and profiles with anchors."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import records, speed
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Block, End, Fact, Process, Start
from adascale_runtime.seams.jobs import Begin, Done, Failed, Finished, Job, Message
from adascale_runtime.seams.pace import Pace
from adascale_runtime.seams.records import Context
from profiling import cells as table
from profiling import jobs, measure, rounds
from profiling.cells import Cell, joined
from profiling.jobs import Schedule, jobs_of
from profiling.journal import Journal
from profiling.rounds import Aim, drive_rounds

PLACE = ("here", "")
AIM = Aim(3.0, PLACE)
SCHEDULE = Schedule(20, 10)


class Noisy:
    """A runner whose cells differ in how much their latencies scatter; it can die after some jobs."""

    def __init__(self, scatter: dict[str, float], dies_after: int = 10**9, fails: str = "") -> None:
        self.versions: dict[str, str] = {}
        self.scatter, self.left, self.fails = scatter, dies_after, fails
        self.done: list[tuple[str, str]] = []
        self.run_ms = 100.0

    def run(self, jobs: Sequence[Job]) -> Iterator[Message]:
        broken = self.fails.partition("#")[0]
        for job in jobs:
            if job.cell == broken and ("block", self.fails) in self.done:
                continue
            yield Begin(job.kind, job.key)
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.done.append((job.kind, job.key))
            if self.fails == job.key:
                yield Failed(job.kind, job.key, job.cell, "it breaks")
            else:
                yield Finished(job.kind, job.key, self.fact(job))
        yield Done()

    def fact(self, job: Job) -> Fact:
        if job.kind == "process":
            return Process(1.0, 1.0)
        if job.kind == "start":
            return Start(Context(0.0))
        if job.kind == "end":
            return End(Context(1.0))
        number = int(job.key.partition("#")[2])
        ms = self.run_ms * (1.0 + self.scatter[job.branch] * ((number * 7) % 5 - 2) / 2)
        paces = (Pace(0, 0.03, 0.03, 0.05), Pace(job.runs, 0.03, 0.03, 0.05))
        return Block((ms,) * job.runs, paces=paces)


@pytest.fixture()
def cells(built: Bundle) -> list[Cell]:
    return table.choose(built, ["cpu"], [1], 20, ["full", "width0.5", "int8"])


SCATTER = {"full": 0.001, "width0.5": 0.2, "int8": 0.001}


def drive(runner: Noisy, cells: list[Cell], folder: Path, aim: Aim = AIM, tick: Any = lambda *_: None) -> Journal:
    with Journal(folder / "j", {}) as journal:
        drive_rounds(runner, cells, SCHEDULE, journal, aim, tick=tick)
        return journal


def blocks(runner: Noisy) -> Counter[str]:
    return Counter(key.partition("/")[0] for kind, key in runner.done if kind == "block")


def test_wide_cells_get_as_many_rounds_again_and_no_others(cells: list[Cell], tmp_path: Path) -> None:
    runner = Noisy(SCATTER)
    said: list[tuple[int, int]] = []
    journal = drive(runner, cells, tmp_path, tick=lambda what, done, total, note="": said.append((done, total)))
    assert blocks(runner) == {"full": 10, "width0.5": 20, "int8": 10}
    assert [kind for kind, _ in runner.done[-3:]] == ["end"] * 3  # the context after all runs
    assert len(set(runner.done)) == len(runner.done)
    assert said[-1] == (49, 49) and all(done <= total for done, total in said)
    assert said[0][1] == 3 * 13  # those at the end are counted from the beginning
    timed = journal.all("block", "width0.5/cpux1#")
    assert sum(len(block.latency_ms) for block in timed) == 40 and joined(timed)[-1].run == 40


def test_short_runs_get_more_rounds(cells: list[Cell], tmp_path: Path) -> None:
    runner = Noisy(SCATTER)
    runner.run_ms = rounds.SHORT_MS / 60  # two runs a round: thirty rounds
    drive(runner, cells, tmp_path)
    counts = blocks(runner)
    assert counts["full"] == counts["int8"] == 10 and counts["width0.5"] == pytest.approx(30, abs=2)
    runner = Noisy(SCATTER)
    runner.run_ms = 0.01
    (tmp_path / "shorter").mkdir()
    drive(runner, cells, tmp_path / "shorter")
    assert 30 < blocks(runner)["width0.5"] <= rounds.MOST * SCHEDULE.planned  # until the interval is narrow


@pytest.mark.parametrize("percent", [0.0, 50.0])
def test_planned_rounds_are_enough_where_nobody_asks_for_more(
    cells: list[Cell], tmp_path: Path, percent: float
) -> None:
    runner = Noisy(SCATTER)
    drive(runner, cells, tmp_path, Aim(percent, PLACE))
    assert set(runner.done) == {(job.kind, job.key) for job in jobs_of(cells, SCHEDULE)}


def test_rounds_stop_when_the_interval_is_narrow_enough(cells: list[Cell], tmp_path: Path) -> None:
    class Settling(Noisy):
        def fact(self, job: Job) -> Fact:
            early = job.kind == "block" and int(job.key.partition("#")[2]) < 4
            return Noisy({"full": 0.3 if early else 0.0, "width0.5": 0.0, "int8": 0.0}).fact(job)

    runner = Settling(SCATTER)
    drive(runner, cells, tmp_path, Aim(3.0, PLACE))
    assert 10 < blocks(runner)["full"] < 20 and blocks(runner)["int8"] == 10


@settings(max_examples=25)
@given(moment=st.integers(0, 48))
def test_a_killed_experiment_takes_the_same_rounds(
    built: Bundle, tmp_path_factory: pytest.TempPathFactory, moment: int
) -> None:
    cells = table.choose(built, ["cpu"], [1], 20, ["full", "width0.5", "int8"])
    folder = tmp_path_factory.mktemp("killed")
    first, second = Noisy(SCATTER, dies_after=moment), Noisy(SCATTER)
    with pytest.raises(KeyboardInterrupt):
        drive(first, cells, folder)
    drive(second, cells, folder)
    whole = Noisy(SCATTER)
    drive(whole, cells, tmp_path_factory.mktemp("whole"))
    assert Counter(first.done + second.done) == Counter(whole.done)


def test_a_cell_that_fails_gets_no_further_rounds(cells: list[Cell], tmp_path: Path) -> None:
    runner = Noisy(SCATTER, fails="width0.5/cpux1#3")
    drive(runner, cells, tmp_path)
    assert blocks(runner) == {"full": 10, "width0.5": 4, "int8": 10}


def test_blocks_without_paces_make_a_measurement_without() -> None:
    whole, none = Block((1.0, 1.0), paces=(Pace(0), Pace(2))), Block((1.0,))
    assert [p.run for p in joined([whole, whole])] == [0, 2, 2, 4]
    assert joined([whole, none]) == joined([none, whole]) == joined([]) == ()


# --- this machine


def test_a_profile_holds_paces_and_tells_latencies_at_usual_speed(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    found = measure.profile(built, ["cpu", "reference"], [1], runs=10, out=out, branches=["full", "int8"])
    assert records.read([out]) == found
    usual = speed.usual(found)
    (place,) = usual
    assert set(usual[place]) == {"float", "integer", "memory"}
    for m in found:
        assert m.paces[0].run == 0 and m.paces[-1].run == len(m.latency_ms) and len(m.paces) >= 2 * m.rounds
        figure = speed.at_usual(m, usual)
        assert figure.corrected and figure.low_ms <= figure.value_ms <= figure.high_ms
        assert figure.value_ms == pytest.approx(m.latency_quantile_ms(0.5), rel=0.5)


def test_a_profile_without_anchors_is_another_and_has_no_paces(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    wanted: dict[str, Any] = {"runs": 4, "out": out, "branches": ["full"]}
    (plain,) = measure.profile(built, ["cpu"], [1], anchors=False, **wanted)
    (anchored,) = measure.profile(built, ["cpu"], [1], **wanted)
    assert plain.paces == () and anchored.paces and len(records.runs([out])) == 2
    assert measure.profile(built, ["cpu"], [1], anchors=False, **wanted) == [plain]


def test_a_real_profile_takes_further_rounds_and_continues_after_a_kill(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: dict[str, Any] = {"runs": 6, "out": tmp_path / "m.jsonl", "branches": ["full"], "precise": 1e-9}
    add = Journal.add

    def dies(self: Journal, kind: str, key: str, value: Fact) -> None:
        if key.endswith("#8"):
            raise AdaScaleError("killed")
        add(self, kind, key, value)

    monkeypatch.setattr(Journal, "add", dies)
    with pytest.raises(AdaScaleError, match="killed"):
        measure.profile(built, ["cpu"], [1], **wanted)
    begun: list[str] = []

    def told(self: Journal, kind: str, key: str, value: Fact) -> None:
        begun.append(key)
        add(self, kind, key, value)

    monkeypatch.setattr(Journal, "add", told)
    (m,) = measure.profile(built, ["cpu"], [1], **wanted)
    assert m.rounds == 6 * rounds.MOST or (m.rounds >= 12 and sum(m.latency_ms) >= rounds.SHORT_MS)
    assert m.paces[-1].run == len(m.latency_ms) > m.rounds and sum(m.latency_ms) >= jobs.LASTING_MS * m.rounds
    assert [key for key in begun if "#" in key] == [f"full/cpux1#{n}" for n in range(8, m.rounds)]
    assert not Path(f"{wanted['out']}.journal").exists()


def test_the_aim_is_judged_by_earlier_rounds_only(cells: list[Cell], tmp_path: Path) -> None:
    journal = drive(Noisy(SCATTER), cells, tmp_path)
    full, wide, _ = cells
    assert rounds.wide_cells(cells, 10, journal, AIM) == [wide]
    assert rounds.wide_cells([full], 10, journal, dataclasses.replace(AIM, percent=1e-9)) == [full]
    assert rounds.wide_cells(cells, 0, journal, AIM) == []
