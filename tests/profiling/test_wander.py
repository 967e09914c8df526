"""Drift on demand: courses stay in their range and are the same for a seed, and this machine follows one."""

from __future__ import annotations

import math
import time
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import AdaScaleError
from profiling import wander

lengths = st.floats(1, 300)
seeds = st.integers(0, 1000)


@given(lengths, seeds, st.floats(0.1, 0.6), st.floats(0.6, 1.0))
def test_a_course_stays_in_its_range_and_is_long_enough(seconds, seed, low, high):
    found = wander.course(seconds, seed, low, high)
    assert found == wander.course(seconds, seed, low, high)
    assert all(low <= speed <= high for speed in found.speeds)
    assert list(found.seconds) == sorted(found.seconds) and found.seconds[0] == 0.0 and found.seconds[-1] >= seconds


@given(seeds, st.floats(0, 100))
def test_the_speed_at_a_second_is_that_of_the_latest_point(seed, second):
    found = wander.course(60, seed)
    passed = [speed for at, speed in zip(found.seconds, found.speeds, strict=True) if at <= second]
    assert found.at(second) == passed[-1]
    assert found.at(-1.0) == found.speeds[0]


@given(seeds, st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_recorded_latencies_are_stretched_by_the_speed_of_their_moment(seed, latencies_ms):
    found = wander.course(60, seed)
    taken = found.stretched(latencies_ms)
    assert taken[0] == pytest.approx(latencies_ms[0] / found.speeds[0])
    assert all(was <= now <= was / wander.LOW * 1.001 for was, now in zip(latencies_ms, taken, strict=True))
    assert wander.steady(1.0).stretched(latencies_ms) == pytest.approx(latencies_ms)


def test_a_course_wanders_over_most_of_its_range():
    speeds = [wander.course(120, 3).at(second / 10) for second in range(1200)]
    assert max(speeds) > 0.9 and min(speeds) < 0.7
    assert all(math.isfinite(speed) for speed in speeds)


def spun(seconds: float) -> list[float]:
    """What runs of a fixed piece of arithmetic take, in ms."""
    taken, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        sum(range(8000))
        taken.append(1e3 * (time.perf_counter() - begun))
    return taken


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(wander.refusal() is not None, reason=str(wander.refusal()))
def test_this_machine_follows_a_course_without_stalls():
    full = median(spun(1.0))
    with wander.Wander(wander.steady(0.6)):
        time.sleep(0.5)
        slowed = sorted(spun(2.0))
    after = median(spun(1.0))
    middle = slowed[len(slowed) // 2]
    # Wide bounds, since this machine may wander by itself meanwhile.
    assert 0.4 <= (full + after) / 2 / middle <= 0.8
    # Slowed down like by a lower clock: hardly a run waits for a time slice of some milliseconds.
    assert slowed[int(0.9 * len(slowed))] < 2.5 * middle
    assert after < 0.9 * middle


@pytest.mark.parametrize("arguments", [["--low", "2"], ["--low", "0.9", "--high", "0.5"], ["--seconds", "0"]])
def test_impossible_courses_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        wander.main(arguments)
    assert ended.value.code == 2 and "should be" in capsys.readouterr().err


def test_without_the_right_it_says_what_is_missing(monkeypatch):
    def denied(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(wander.os, "sched_setscheduler", denied)
    with (
        pytest.raises(AdaScaleError, match="Operation not permitted"),
        wander.Wander(wander.steady(1)),
    ):
        pass
