"""Vectors of policies: they reach every kind of decision, and a seed gives the same ones."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.vectors import decisions, rules, traces

CASES = 150


@pytest.fixture(scope="module")
def cases() -> list[dict[str, object]]:
    return list(decisions.cases(CASES, 5))


def test_a_seed_gives_the_same_cases(cases: list[dict[str, object]]) -> None:
    assert json.dumps(list(islice(decisions.cases(CASES, 5), 20))) == json.dumps(cases[:20])
    assert json.dumps(list(decisions.cases(2, 6))) != json.dumps(cases[:2])


def test_every_kind_of_decision_is_reached(cases: list[dict[str, object]]) -> None:
    text = json.dumps(cases)
    for reason in (
        "best that fits", "fits: ", "dwells", "nothing fits: least often late", "nothing fits: the fastest", "explores",
        "load < 40 %", "best mean", "static",
    ):  # fmt: skip
        assert f'"reason": "{reason}' in text, reason
    for what in ("lost", "seen", "begin", "audit", "context"):
        assert f'"{what}": ' in text, what


def test_rules_give_and_refuse() -> None:
    lines = list(rules.lines(Random(1), 400))
    assert {line["rule"] for line in lines} >= {"gate", "temperature", "choose", "feasible", "parsed_habits"}
    assert sum("refuses" in line for line in lines) >= 5
    assert json.dumps(lines, allow_nan=False)


def test_a_trace_is_replayed_by_every_policy() -> None:
    (line,) = traces.lines(Random(2), 1)
    played = [run for run in line["runs"] if "events" in run]
    assert {"adaptive", "oracle", "threshold"} <= {run["policy"] for run in played}
    assert all(len(run["events"]) == traces.EVENTS for run in played)


def test_the_command_writes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "EVENTS", 5)
    monkeypatch.setattr(sys, "argv", ["decisions", "--cases", "3", str(tmp_path)])
    decisions.main()
    lines = {path.name: len(path.read_text().splitlines()) for path in (tmp_path / "decisions").iterdir()}
    assert lines.pop("rules.jsonl") > 300 and lines == {"decisions-0.jsonl": 3, "replays.jsonl": traces.TRACES}
