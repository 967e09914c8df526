"""Traces with numbers that nobody recorded: replayed or refused with a sentence, by every policy."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime import loop
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.policies import policy
from adascale_runtime.policies import replay as replaying
from adascale_runtime.policies.limits import Option, Settings
from adascale_runtime.seams import events
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.records import Context
from tests.fixtures.plain_bundle import write_bundle
from tests.mutations import damage

BUDGETS = (
    Budget(latency_ms=2.0),
    Budget(latency_ms=1e-3),
    Budget(latency_ms=5.0, energy_mj=10.0, memory_mb=100.0, power_mw=500.0, lifetime_h=5.0, temperature_c=40.0),
)


def trace(opened: Bundle) -> list[Any]:
    """A trace as JSON: two branches, forty inferences."""
    options = [Option("full", 0.98, 1.0, 2.0, 20.0), Option("small", 0.9, 0.25, 0.5, 10.0)]
    header = Header(
        events.FORMAT, opened.digest, {"latency_ms": 2.0}, "cpu", 1, "2026-01-01T00:00:00Z",
        {o.id: codec.to_json(o) for o in options}, codec.to_json(Settings()),
    )  # fmt: skip
    found: list[Any] = [codec.to_json(header)]
    for number in range(40):
        option = options[number % 7 == 0]
        context = Context(0.1 * number, 0.5, 3, 8, 1800.0, 900.0, 0.7, False, 35.0) if number % 10 == 0 else None
        event = Event(
            0.1 * number, 0.1 * number + 0.002, option.id, "fits", number % 7 < 2, 0.02, 0.05,
            option.latency_ms * 1.1, option.latency_ms, 1.05, True, True, (), "idle", context,
        )  # fmt: skip
        found.append(codec.to_json(event))
    return found


def replayed(opened: Bundle, path: Path, number: int) -> None:
    header, recorded = events.read(path)
    for name in sorted(policy.POLICIES):
        found = replaying.replay(opened, header, recorded, BUDGETS[number % len(BUDGETS)], name)
        assert json.dumps(codec.to_json(loop.summary(found)))


def test_damaged_numbers_are_replayed_or_refused(tmp_path: Path) -> None:
    opened = write_bundle(tmp_path / "b")
    good, path = trace(opened), tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in good))
    replayed(opened, path, 0)
    worked = refused = 0
    for number in range(400):
        rng = random.Random(number)
        lines = json.loads(json.dumps(good))
        place = 0 if rng.random() < 0.4 else rng.randrange(len(lines))
        for _ in range(rng.choice((1, 3))):
            spoil(lines[place], rng)
        path.write_bytes(b"".join(damage.written(line) + b"\n" for line in lines))
        try:
            replayed(opened, path, number)
            worked += 1
        except BadInput as error:
            assert len(str(error)) < 500
            refused += 1
    assert worked > 20 and refused > 100


def spoil(line: dict[str, Any], rng: random.Random) -> None:
    """Another number in a random place of a line."""
    at: Any = line
    while True:
        key = rng.choice(list(at))
        if not isinstance(at[key], dict) or not at[key]:
            break
        at = at[key]
    extremes = (0, -1, 1e-12, 1e-300, 1e12, 1e15, 1e300, -1e300, 10**18, 0.5, 2, 1000, [], ["full"], ["full", "small"])
    at[key] = rng.choice(extremes)


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (1, {"base_ms": 0}, "base_ms"),
        (1, {"slowdown": 0}, "slowdown"),
        (1, {"latency_ms": -1}, "latency_ms"),
        (1, {"context": {"time_s": 0, "cpu_load": 1e300}}, "cpu_load"),
        (1, {"failed": ["full", "small"]}, "no branch left"),
        (0, {"table": {}}, "no branches"),
        (0, {"table": {"x": {"id": "y", "accuracy": 1, "latency_ms": 1}}}, "is the branch 'y'"),
        (0, {"table": {"x": {"id": "x", "accuracy": 1, "latency_ms": 0}}}, "latency_ms"),
        (0, {"settings": {"patience_s": 0}}, "patience_s"),
        (0, {"settings": {"learning": {"window_s": 0}}}, "window_s"),
    ],
)
def test_what_cannot_be_is_named(place: int, change: dict[str, Any], words: str, tmp_path: Path) -> None:
    opened = write_bundle(tmp_path / "b")
    lines, path = trace(opened), tmp_path / "t.jsonl"
    lines[place].update(change)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(BadInput, match=words):
        replayed(opened, path, 0)
