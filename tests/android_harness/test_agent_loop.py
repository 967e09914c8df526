from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime import loop
from adascale_runtime.files import codec
from adascale_runtime.policies.replay import replay
from adascale_runtime.seams import events
from adascale_runtime.seams.budget import Budget, parse
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.session import Session
from tests.fixtures.agents import Agent

BUDGET = "latency_ms=1000"


@pytest.fixture(scope="module")
def recorded(built: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of the loop on this host, with a budget that makes it choose."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    x = np.fromfile(built.path(built.manifest.samples.file), "<f4")
    images = x.reshape(-1, *built.manifest.branches[0].input.shape)
    labelled = [(image, label) for image, label in zip(images, built.manifest.samples.labels, strict=True)] * 1000
    with Session(built, parse("latency_ms=3")) as session, loop.writer(path) as write:
        loop.run(session, labelled, 1.0, write, phase=lambda t: "early" if t < 0.5 else "late")
    return path


def replayed(bundle: Bundle, trace: Path, budget: Budget, policy: str = "adaptive") -> list[str]:
    header, recorded = events.read(trace)
    return [codec.dump_line(event).rstrip("\n") for event in replay(bundle, header, recorded, budget, policy)]


@pytest.mark.parametrize(
    ("budget", "policy"),
    [
        ("latency_ms=3", "adaptive"), ("latency_ms=1", "adaptive"), ("latency_ms=50", "threshold"),
        ("latency_ms=3,min_accuracy=0.05", "adaptive"),
    ],
)  # fmt: skip
def test_a_trace_is_replayed_as_on_the_host(
    agent: Agent, built: Bundle, recorded: Path, budget: str, policy: str
) -> None:
    done = agent.start(
        "replay", built.root, "--trace", recorded, "--budget", budget, "--policy", policy, litert=""
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = replayed(built, recorded, parse(budget), policy)
    assert len(wanted) > 20 and done.stdout.splitlines() == wanted


def test_the_agents_own_trace_replays_to_what_happened(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "trace.jsonl"
    done = agent.start("loop", built.root, "--budget", BUDGET, "--seconds", "0.6", "--fps", "50", "--out", out)
    assert done.returncode == 0, done.stderr
    summary, (header, happened) = json.loads(done.stdout), events.read(out)
    assert header.bundle == built.digest and set(header.table) == {b.id for b in built.manifest.branches}
    assert summary["count"] == len(happened) > 5 and sum(summary["branches"].values()) == pytest.approx(1)
    assert {event.branch for event in happened} == set(summary["branches"])
    lines = [codec.dump_line(event).rstrip("\n") for event in happened]
    assert replayed(built, out, parse(BUDGET)) == lines
    done = agent.start("replay", built.root, "--trace", out, "--budget", BUDGET, litert="")
    assert done.stdout.splitlines() == lines


def test_the_loop_answers_as_the_host_does(agent: Agent, built: Bundle) -> None:
    best = max(built.manifest.branches, key=lambda branch: branch.accuracy.value)
    budget = f"{BUDGET},min_accuracy={best.accuracy.value}"
    done = agent.start("loop", built.root, "--budget", budget, "--seconds", "0.3")
    summary = json.loads(done.stdout)
    expected = np.fromfile(built.path(best.expected), "<f4").reshape(built.manifest.samples.count, -1)
    right = expected.argmax(1) == np.array(built.manifest.samples.labels)
    # The samples come round and round, so the share is that of the samples but for the last, cut round.
    assert abs(summary["accuracy"] - right.mean()) <= len(right) / summary["count"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("loop", "{bundle}", "--budget", "speed=5"), 2, "is not a budget"),
        (("loop", "{bundle}", "--budget", "latency_ms=1e-9"), 2, "latency_ms"),
        (("loop", "/nowhere", "--budget", BUDGET), 2, "/nowhere is not a bundle"),
        (("loop", "{bundle}", "--budget", BUDGET, "--delegate", "tpu"), 2, "There is no delegate 'tpu'"),
        (("loop", "{bundle}", "--budget", BUDGET, "--delegate", "gpu"), 1, "gpu runs no operator of"),
        (("serve", "{bundle}", "--budget", BUDGET, "--listen", "65536"), 2, "is not a port"),
        (("replay", "{bundle}", "--budget", BUDGET, "--trace", "/nowhere"), 2, "cannot be read"),
        (("replay", "{bundle}", "--budget", BUDGET, "--trace", "{trace}", "--policy", "x"), 2, "is no policy 'x'"),
        (("bench", "/nowhere"), 2, "cannot be read"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    agent: Agent, built: Bundle, recorded: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    done = agent.start(*(a.format(bundle=built.root, trace=recorded) for a in arguments))
    assert done.returncode == code and done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("agent: ")]
    assert why in line


def test_a_trace_of_another_bundle_is_refused(agent: Agent, built: Bundle, recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(recorded.read_text().replace(built.digest, "0" * 12, 1))
    done = agent.start("replay", built.root, "--trace", other, "--budget", BUDGET)
    assert done.returncode == 2 and "was recorded with another bundle" in done.stderr


def test_the_agents_session_knows_what_anchors_usually_take(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    """From inside its zip file, without numpy: openings are kept, and the header tells the speed of the moment."""
    out, cache = tmp_path / "trace.jsonl", tmp_path / "cache"
    for _ in range(3):
        done = agent.start(
            "loop", built.root, "--budget", BUDGET, "--seconds", "0.1", "--out", out, XDG_CACHE_HOME=str(cache)
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    (known,) = json.loads((cache / "adascale" / "habits.json").read_text())["anchors"].values()
    assert {kind: len(times) for kind, times in known.items()} == {"float": 3, "integer": 3}
    header, _ = events.read(out)
    slowdown, time_s = header.told["cpu x 1"]
    assert 0.1 <= slowdown <= 10.0 and time_s <= 0.0
