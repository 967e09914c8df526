from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from adascale_runtime import loop
from adascale_runtime.errors import BadInput
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.events import Event
from adascale_runtime.session import Session

BUDGET = Budget(latency_ms=1000.0)


def endless(image, label=0):
    return zip(itertools.repeat(image), itertools.repeat(label))


def test_the_trace_on_disk_is_what_run_returns(healthy, image, tmp_path):
    path = tmp_path / "deep" / "events.jsonl"
    with Session(healthy, BUDGET) as session, loop.writer(path) as write:
        returned = loop.run(session, endless(image), 0.5, write, phase=lambda t: "early" if t < 0.2 else "late")
    header, read = traces.read(path)
    assert read == returned
    assert header.bundle == healthy.digest
    assert header.budget == {"latency_ms": 1000.0}
    assert set(header.table) == {"full", "half", "tiny"}
    assert {event.phase for event in read} == {"early", "late"}
    assert read[0].context is not None
    assert [event.time_s for event in read] == sorted(event.time_s for event in read)


def test_labels_judge_and_their_absence_does_not(healthy, image):
    with Session(healthy, BUDGET) as session:
        answer = int(session.predict(image).argmax())
        for label, judged in ((answer, True), (1 - answer, False), (None, None)):
            (event,) = loop.run(session, [(image, label)], 5.0)
            assert event.correct is judged


def test_the_pace_is_kept(healthy, image):
    with Session(healthy, BUDGET) as session:
        events = loop.run(session, endless(image), 0.6, pace_s=0.1)
    assert 3 <= len(events) <= 6


def test_finite_inputs_end_the_loop_and_time_ends_endless_ones(healthy, image):
    ticks: list[tuple[int, int]] = []
    with Session(healthy, BUDGET) as session:
        assert len(loop.run(session, [(image, 0)] * 3, 60.0)) == 3
        loop.run(session, endless(image), 0.3, tick=lambda what, done, total, note: ticks.append((done, total)))
    assert ticks[-1][0] == ticks[-1][1]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"), loop.writer(tmp_path / "file" / "events.jsonl"):
        pass
    with loop.writer(None) as write:
        assert write is None


def test_cycle_repeats_the_test_split():
    class Data:
        x_test = np.arange(6, dtype=np.float32).reshape(3, 2)
        y_test = np.array([0, 1, 2])

        @staticmethod
        def inputs(x):
            return x * 2

    seen = list(itertools.islice(loop.cycle(Data), 4))
    assert [label for _, label in seen] == [0, 1, 2, 0]
    np.testing.assert_array_equal(seen[3][0], [0, 2])


def event(branch, latency_ms, correct, phase, switched=False, kept=True):
    known = {
        "time_s": 0.0, "branch": branch, "reason": "", "switched": switched, "decide_ms": 0.01, "switch_ms": 0.02,
        "latency_ms": latency_ms, "base_ms": 1.0, "slowdown": 1.0, "kept": kept, "correct": correct, "phase": phase,
    }  # fmt: skip
    fields = {field.name for field in dataclasses.fields(Event)}
    return Event(**known, **({"ended_s": 0.0} if "ended_s" in fields else {}))


def test_summary_adds_up():
    facts = loop.summary(
        [
            event("full", 1.0, True, "idle"),
            event("full", 2.0, None, "idle"),
            event("tiny", 3.0, False, "loaded", switched=True, kept=False),
            event("tiny", 4.0, True, "loaded"),
        ]
    )
    assert (facts["count"], facts["kept"], facts["mean_ms"], facts["switches"]) == (4, 0.75, 2.5, 1)
    assert facts["accuracy"] == pytest.approx(2 / 3)
    assert facts["branches"] == {"full": 0.5, "tiny": 0.5}
    assert facts["decide_p50_ms"] == 0.01
    assert facts["switch_p50_ms"] == 0.02
    assert facts["phases"]["idle"]["accuracy"] == 1.0
    assert facts["phases"]["loaded"]["kept"] == 0.5


def test_switches_into_a_phase_count_in_that_phase():
    facts = loop.summary([event("full", 1, None, "idle"), event("tiny", 1, None, "loaded", switched=True)])
    assert facts["switches"] == 1
    assert facts["phases"]["loaded"]["switches"] == 1


def test_summary_of_nothing():
    facts = loop.summary([])
    assert facts["count"] == 0
    assert facts["accuracy"] is None
    assert math.isnan(facts["decide_p50_ms"])
