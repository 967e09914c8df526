from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from android_harness.strikes import LOSSES, STRIKES, Strikes

ENDS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.booleans(), st.booleans()), max_size=40)


def counted(ends: Sequence[tuple[str | None, bool, bool]]) -> list[int]:
    strikes = Strikes()
    return [strikes.ended(*end) for end in ends]


def test_a_task_that_always_kills_its_runner_is_given_up_after_two_deaths() -> None:
    assert counted([("a", True, False), ("a", False, False)]) == [0, STRIKES]


def test_a_lost_connection_is_forgiven_more_often() -> None:
    assert counted([("a", False, True)] * LOSSES) == [0] * (LOSSES - 1) + [LOSSES]
    assert LOSSES > STRIKES


@given(ENDS)
def test_nothing_is_given_up_while_something_gets_done(ends: list[tuple[str | None, bool, bool]]) -> None:
    assert not any(counted([(task, True, lost) for task, _, lost in ends]))


@given(ENDS)
def test_what_is_given_up_ended_so_often_since_anything_was_done(ends: list[tuple[str | None, bool, bool]]) -> None:
    for number, times in enumerate(counted(ends)):
        task, progress, lost = ends[number]
        since = max((i for i in range(number + 1) if ends[i][1]), default=0)
        same = sum(ends[i][0] == task and ends[i][2] == lost for i in range(since, number + 1))
        limit = LOSSES if lost else STRIKES
        assert times == (same if same >= limit else 0)
        assert not progress or same == 1


@given(ENDS)
def test_runners_that_do_nothing_do_not_go_on_for_ever(ends: list[tuple[str | None, bool, bool]]) -> None:
    """However ends follow each other, some task is given up before long if nothing is done."""
    found = counted([(task, False, lost) for task, _, lost in ends])
    most = len({task for task, _, _ in ends}) * (STRIKES - 1 + LOSSES - 1)
    assert any(found) or len(ends) <= most
