"""Messages of runners as lines, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adascale_runtime.seams import jobs
from adascale_runtime.seams.facts import Block, End, EnergyFact, Process, Start
from adascale_runtime.seams.jobs import MARK, Begin, Done, Failed, Finished, Message, Wait
from adascale_runtime.seams.records import Context, Delegation

MESSAGES: list[Message] = [
    Begin("start", "full/cpux1"), Failed("start", "k", "c", "why"), Wait("hot", 1.5), Done(),
    Finished("process", "k", Process(1.5, None, "not told")), Finished("block", "k#0", Block((1.0, 2.0))),
    Finished("start", "k", Start(Context(1.0, cores=4), (3.0,), 1.0, 0.5, Delegation(3, 2, 1))),
    Finished("energy", "k", EnergyFact(2.0, "measured:battery", details={"gauge": "battery"})),
    Finished("end", "k", End(Context(2.0, reasons={"battery": "none"}))),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_back_from_its_line_whatever_stands_before_it(message: Message) -> None:
    line = jobs.line(message)
    assert line.endswith("\n") and line.count("\n") == 1
    assert jobs.parse(line) == message == jobs.parse("W linker: unused DT entry " + line)


@pytest.mark.parametrize(
    "text", ["", "begin", MARK, MARK + "{", MARK + "[1]", MARK + '{"say": 3}', MARK + '{"say": "x"}']
)
def test_what_is_no_message_is_passed_over(text: str) -> None:
    assert jobs.parse(text) is None


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        ({"say": "fact", "kind": "block", "key": "k"}, Failed("block", "k")),
        ({"say": "fact", "kind": "block", "key": "k", "value": {"latency_ms": "fast"}}, Failed("block", "k")),
        ({"say": "fact", "kind": "spell", "key": "k", "value": {}}, Failed("spell", "k")),
        ({"say": "fact", "kind": ["block"], "key": "k", "value": {}}, Failed()),
        ({"say": "begin", "kind": "block"}, Failed()),
        ({"say": "failed", "kind": "block", "key": "k", "reason": {}}, Failed()),
    ],
)
def test_a_message_that_cannot_be_used_is_a_failed_job(message: dict[str, Any], failed: Failed) -> None:
    told = jobs.parse(MARK + json.dumps(message))
    assert isinstance(told, Failed) and (told.kind, told.key) == (failed.kind, failed.key)
    assert "cannot be used" in told.reason
