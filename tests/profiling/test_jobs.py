from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from profiling.jobs import Schedule, jobs_of, share
from tests.profiling.test_driver import Cell

CELLS = [Cell(name) for name in "abcde"]


@given(st.integers(1, 200), st.integers(1, 20))
def test_shares_of_rounds_are_all_runs_and_as_even_as_can_be(runs: int, rounds: int) -> None:
    shares = [share(runs, rounds, number) for number in range(rounds)]
    assert sum(shares) == runs and max(shares) - min(shares) <= 1


@given(st.integers(1, 30), st.integers(1, 10), st.booleans())
def test_every_cell_has_all_its_work_once(runs: int, rounds: int, energy: bool) -> None:
    jobs = jobs_of(CELLS, Schedule(runs, rounds, energy))  # type: ignore[arg-type]
    assert len({(job.kind, job.key) for job in jobs}) == len(jobs)
    kinds = ["process", "start", *["block"] * min(rounds, runs), *["energy"] * energy, "end"]
    for cell in CELLS:
        mine = [job for job in jobs if job.cell == cell.key]
        assert [job.kind for job in mine] == kinds and sum(job.runs for job in mine) == runs
        blocks = [job for job in mine if job.kind == "block"]
        assert [job.skip for job in blocks] == [sum(b.runs for b in blocks[:n]) for n in range(len(blocks))]


def test_rounds_are_interleaved_and_shuffled_in_the_same_way_every_time() -> None:
    jobs = jobs_of(CELLS, Schedule(40, 8))  # type: ignore[arg-type]
    assert jobs == jobs_of(CELLS, Schedule(40, 8))  # type: ignore[arg-type]
    orders = [[job.cell for job in jobs if job.key.endswith(f"#{n}")] for n in range(8)]
    assert [c for order in orders for c in order] == [job.cell for job in jobs if job.kind == "block"]
    assert all(len(set(order)) == len(CELLS) for order in orders) and len({tuple(order) for order in orders}) > 4


def test_whole_blocks_have_all_runs_each() -> None:
    jobs = jobs_of(CELLS, Schedule(5, 8, first=("process",), last=(), whole=True))  # type: ignore[arg-type]
    assert {(job.runs, job.skip) for job in jobs if job.kind == "block"} == {(5, 0)}
    assert len(jobs) == len(CELLS) * 9
