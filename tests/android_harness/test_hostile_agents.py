"""Agents that say odd things: a cell fails with a sentence, the others are measured, and files stay readable."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.jobs import Job, Wait
from android_harness import harness, keys, package
from android_harness.adb import Address
from android_harness.harness import Harness, Outcome
from android_harness.runner import Options, parse_info
from profiling import cells
from profiling.jobs import jobs_of
from tests.fixtures import told
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.told import CONTEXT, HONEST, Agent, Told, fact, honest, line

BAD, GOOD = "bad/cpux1", "good/cpux1"
BUNDLE = told.paper("bad", "good")
NAN, HUGE = float("nan"), 10**400


def deep(levels: int) -> Any:
    return json.loads("[" * levels + "]" * levels)


def start(**changes: Any) -> dict[str, Any]:
    return {**HONEST["start"], **changes}


def energy(**changes: Any) -> dict[str, Any]:
    return {**HONEST["energy"], **changes}


def context(**changes: Any) -> dict[str, Any]:
    return {"context": {**CONTEXT, **changes}}


#: Facts that no measurement can be made of, by kind.
FACTS: list[tuple[str, Any]] = [
    *[("process", value) for value in (
        [], None, "fast", 3, {"load_ms": "fast"}, {"load_ms": -1.0}, {"memory_mb": NAN}, {"memory_mb": float("inf")},
        {"memory_mb": {"a": 1}}, {"memory_mb": HUGE}, {"memory_mb": 1e300}, {"reason": "x" * 1_000_000},
        {"load_ms": True}, {"reason": "\ud800"},
    )],
    *[("start", value) for value in (
        {}, {"warmup_ms": [1.0]}, {"context": None}, {"context": 3}, context(time_s=NAN), start(warmup_ms=[-1.0]),
        start(warmup_ms="fast"), start(agreement=7.0), start(agreement=None), start(difference=-1.0),
        start(delegation={"nodes": "x"}), start(delegation={"nodes": -7, "delegated": 0, "partitions": 0}),
        start(delegation={"nodes": HUGE, "delegated": 0, "partitions": 0}), start(operators=5),
        start(operators=[{"kind": "CONV", "mean_ms": NAN, "delegated": False}]), start(delegation_reason=["x"]),
        start(context={**CONTEXT, "reasons": {"x": deep(300)}}),
    )],
    *[("block", value) for value in (
        None, {}, {"latency_ms": []}, {"latency_ms": [-1.0]}, {"latency_ms": [0.0]}, {"latency_ms": ["1"]},
        {"latency_ms": [NAN]}, {"latency_ms": [1e300]}, {"latency_ms": [1.0] * 100_000}, {"latency_ms": [[1.0]]},
        {"latency_ms": {"0": 1.0}}, {"latency_ms": deep(500)},
    )],
    *[("energy", value) for value in (
        {}, energy(value_mj=None), energy(value_mj="x"), energy(value_mj=-3.0), energy(value_mj=0), energy(how=""),
        energy(how=5), energy(details=[]), energy(details={"busy_s": [NAN]}), energy(details={"a": deep(300)}),
        energy(uncertainty_mj=-1.0), energy(retry_longer="yes"), energy(details={"x" * 100_000: 1}),
    )],
    *[("end", value) for value in ({}, [], context(battery=-3.0), context(temperature_c=1e9), context(runnable=1.5))],
]  # fmt: skip


def message(say: str, **more: Any) -> Callable[[Job], list[str]]:
    return lambda job: [line({"say": "begin", "kind": job.kind, "key": job.key}), line({"say": say, **more})]


#: What is said in the place of a fact of the bad cell's "start", and whether that fails the cell at once, or is passed
#: over, so that the job stays undone.
MESSAGES: dict[str, tuple[Agent, bool]] = {
    "no value": (lambda t: [line({"say": "fact", "kind": t.kind, "key": t.key})], True),
    "a kind that is a list": (message("fact", kind=["start"], key=BAD), True),
    "a key that is null": (message("fact", kind="start", key=None), True),
    "a reason that is an object": (message("failed", kind="start", key=BAD, reason={"a": 1}), True),
    "no reason": (message("failed", kind="start", key=BAD), True),
    "a reason of 1 MB": (message("failed", kind="start", key=BAD, reason="x" * 1_000_000), True),
    "a reason that moves the cursor": (message("failed", kind="start", key=BAD, reason="\x1b[2Ja\nb"), True),
    "an unknown say": (message("sing", kind="start", key=BAD), False),
    "no JSON": (lambda t: ["@adascale {broken", "@adascale ", "@adascale NaN", "@adascale [1]"], False),
    "deep JSON": (lambda t: ["@adascale " + "[" * 100_000], False),
    "a say that is a number": (lambda t: [line({"say": 5, "kind": t.kind, "key": t.key, "value": {}})], False),
    "a fact of an unknown job": (message("fact", kind="start", key="other/cpux1", value=HONEST["start"]), False),
    "a fact of an unknown kind": (message("fact", kind="sorcery", key=BAD, value={}), False),
    "nothing": (lambda t: [], False),
    "it begins and begins": (lambda t: fact(t, None)[:1] * 50, False),
}  # fmt: skip


def odd(kind: str, agent: Agent) -> Agent:
    """An agent that is honest but for one kind of job of the bad cell."""
    return lambda job: agent(job) if job.cell == BAD and job.kind == kind else honest(job)


def checked(monkeypatch: pytest.MonkeyPatch, out: Path, agent: Agent) -> tuple[Outcome, str]:
    """Profile with an odd agent; the bad cell fails with a sentence that is fit to be read, the good one is measured,
    and the same command succeeds with an honest agent."""
    outcome = told.profile(monkeypatch, BUNDLE, Told(agent), out, energy=True)
    assert set(outcome.failed) == {BAD} and [m.branch for m in outcome.measurements] == ["good"]
    assert records.read([out]) == outcome.measurements
    reason = outcome.failed[BAD]
    assert reason.isprintable() and 5 < len(reason) < 600
    well = Told(honest)
    again = told.profile(monkeypatch, BUNDLE, well, out, energy=True)
    assert not again.failed and [m.branch for m in again.measurements] == ["bad", "good"]
    assert len(records.runs([out])) == 2 and [p.name for p in out.parent.iterdir()] == [out.name]
    assert all(key.startswith(BAD) for _, key in well.begun)
    return outcome, reason


@pytest.mark.parametrize("number", range(len(FACTS)))
def test_facts_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int) -> None:
    kind, value = FACTS[number]
    _, reason = checked(monkeypatch, tmp_path / "m.jsonl", odd(kind, lambda job: fact(job, value)))
    assert reason.startswith("the runner's fact cannot be used: ")


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_messages_that_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    agent, fails = MESSAGES[name]
    _, reason = checked(monkeypatch, tmp_path / "m.jsonl", odd("start", agent))
    assert fails != ("ended without it" in reason)


def test_facts_that_are_told_twice_count_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the second is another."""
    out = tmp_path / "m.jsonl"

    def twice(job: Job) -> list[str]:
        return [*honest(job), *honest(job)[1:], *fact(job, {"latency_ms": [9.0], "context": CONTEXT})[1:]]

    outcome = told.profile(monkeypatch, BUNDLE, Told(twice), out)
    assert not outcome.failed and records.read([out]) == outcome.measurements
    assert all(m.latency_ms == (1.25, 1.5) * 2 for m in outcome.measurements)


@pytest.mark.parametrize("last", [(), (line({"say": "done"}),)])
def test_an_agent_that_does_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last: Any) -> None:
    silent = Told(lambda job: [], last)
    if last:
        outcome = told.profile(monkeypatch, BUNDLE, silent, tmp_path / "m.jsonl")
        assert set(outcome.failed) == {BAD, GOOD} and not outcome.measurements
    else:
        with pytest.raises(AdaScaleError, match="the runner on the phone died"):
            told.profile(monkeypatch, BUNDLE, silent, tmp_path / "m.jsonl")
    assert not records.read([path for path in tmp_path.iterdir() if path.suffix == ".jsonl"])


def test_an_agent_that_talks_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Endless(Told):
        def run(self, adb: Any, jobs: Any) -> Iterator[Any]:
            while True:
                yield Wait("it is hot")

    monkeypatch.setattr(harness, "TALK", 0.01)
    with pytest.raises(AdaScaleError, match="responds, but has finished no job for"):
        told.profile(monkeypatch, BUNDLE, Endless(honest), tmp_path / "m.jsonl", batch_s=0.1, idle_s=0.1)


def test_a_wait_is_shown_in_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes: list[str] = []

    def waits(job: Job) -> list[str]:
        return [line({"say": "wait", "why": "\x1b[31mhot " * 10_000}), *honest(job)]

    told.profile(
        monkeypatch, BUNDLE, Told(waits), tmp_path / "m.jsonl", lambda what, done, total, note="": notes.append(note)
    )
    said = [note for note in notes if note.startswith("waits: ")]
    assert said and all(note.isprintable() and len(note) < 150 for note in said)


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", '{"python"', '{"python": "3.11", "engine": 5}', '{"python": 1, "delegates": []}', "[" * 10**5],
)
def test_an_agent_that_does_not_say_what_it_is(text: str) -> None:
    with pytest.raises(AdaScaleError, match=r"^The agent on X does not report its capabilities \(.*\); try again\.$"):
        parse_info(text, "The agent on X")


AGENT = """#!/usr/bin/env python3
import sys
if sys.argv[-1] == "info":
    print('{"python": "3.11", "engine": "libLiteRt.so", "delegates": ["cpu"]}')
else:
    sys.stdout.write(open("lines").read())
"""


@pytest.mark.parametrize("place", ["block", pytest.param("process", marks=pytest.mark.slow)])
def test_an_odd_agent_on_a_phone(built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The whole way: its lines come over the real protocol, the harness starts it anew, and takes it for what it is."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("__main__.py", AGENT)
    monkeypatch.setattr(package, "agent", lambda: b"#!/usr/bin/env python3\n" + data.getvalue())
    signer = keys.load(tmp_path / "adbkey")[0]
    options = Options(runs=4, rounds=2, patience_s=5)
    names = ["full", "int8"]
    chosen = cells.choose(built, ["cpu"], [1], 4, names)
    lines: list[str] = []
    for job in jobs_of(chosen, options.schedule):
        bad = job.cell == chosen[0].key and job.kind == place
        lines += fact(job, {"latency_ms": [NAN], "load_ms": "x"} if bad else HONEST[job.kind])
    with emulated(tmp_path / "phone") as (phone, adbd):
        there = phone.local("/data/local/tmp/adascale")
        there.mkdir()
        (there / "lines").write_text("\n".join([*lines, line({"say": "done"}), ""]))
        out = tmp_path / "m.jsonl"
        found = Harness(built, Address(*adbd.address), options, out, signer=signer).profile(["cpu"], [1], names)
    assert set(found.failed) == {chosen[0].key} and "cannot be used" in found.failed[chosen[0].key]
    assert [m.branch for m in records.read([out])] == ["int8"]
