"""How fast a device was: in the table, in a sentence, as JSON, and in the report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from adascale_runtime.files import codec
from adascale_runtime.seams import speed
from adascale_runtime.seams.pace import Pace
from adascale_runtime.seams.records import Measurement
from adascale_tf.cli import speeds, tables
from profiling import plots, report_words
from tests.adascale_runtime.seams.test_speed import measurement

#: A device that slows down to a half and back: runs follow it.
PACES = [Pace(n, 0.03 * slow, None, 0.05, time_s=10.0 * n) for n, slow in enumerate((1.0, 1.0, 2.0, 2.0, 1.0, 1.0))]
RUNS = (1.0, 1.5, 2.0, 1.5, 1.0)


def wandering() -> Measurement:
    return measurement(RUNS, PACES)


def words(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_table_has_both_latencies(capsys: pytest.CaptureFixture[str]) -> None:
    m = wandering()
    usual = speed.usual([m])
    tables.measurements([m, replace(m, delegate="gpu"), replace(m, paces=())], usual)
    shown = words(capsys)
    figure = speed.at_usual(m, usual)
    assert "at usual speed" in shown and f"│ 1.500 │ {figure.value_ms:.3f} +-{figure.percent:.1f}% │" in shown
    assert shown.count("│ 1.500 │ - │") == 2


def test_a_sentence_tells_how_far_it_wandered(capsys: pytest.CaptureFixture[str]) -> None:
    m = wandering()
    speeds.wandering([m], speed.usual([m]))
    assert words(capsys) == (
        "a phone ran at float 50 to 100 %, memory 100 to 100 % of its usual speed (p10 to p90 of the anchors)."
    )
    speeds.wandering([m], {("a phone", ""): {"float": speed.Figure(0.06, 0.06, 0.06)}})
    assert "float 100 to 200 %" in words(capsys)
    speeds.wandering([measurement()], speed.usual([measurement()]))
    assert words(capsys) == ""


def test_json_has_all_of_it_and_can_be_read_as_a_measurement() -> None:
    m = wandering()
    told = json.loads(codec.dump(speeds.plain([m, measurement(())], speed.usual([m]))))
    assert codec.from_json(Measurement, told[0], "it") == m
    assert (
        set(told[0]["at_usual"]) == {"value_ms", "low_ms", "high_ms", "corrected"} and told[0]["at_usual"]["corrected"]
    )
    assert told[0]["seen"]["value_ms"] == 1.5 and told[0]["wandered"]["float"] == [0.5, 1.0]
    assert "seen" not in told[1]


def test_the_report_says_why_there_is_none() -> None:
    m = wandering()
    usual = speed.usual([m])
    cell = report_words.at_usual(m, usual)
    assert cell.text is not None and cell.note.startswith("± ")
    assert "no anchors ran" in report_words.at_usual(replace(m, paces=()), usual).reason
    assert "this delegate" in report_words.at_usual(replace(m, delegate="gpu"), usual).reason
    assert report_words.at_usual(measurement(()), usual).reason == "no timed run"


def test_the_anchors_are_drawn_over_time() -> None:
    drawn = plots.speeds({"float": [(0.0, 1.0), (30.0, 0.5)], "memory": [(0.0, 1.0)]})
    assert "time, seconds" in drawn and "memory" in drawn
    assert "time, minutes" in plots.speeds({"float": [(0.0, 1.0), (300.0, 0.5)]})
