"""Policies, cascades, threads and memory on the command line, and the view of a loop while it runs."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from adascale_runtime.policies.policy import POLICIES
from adascale_runtime.seams import events as traces
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import Event
from adascale_runtime.seams.records import Context
from adascale_tf.cli import live, main

BUDGET = ("--data", "digits", "--budget", "latency_ms=50")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence on standard error of a call that is refused with exit code 2."""
    code, out, err = run(capsys, *arguments)
    lines = [line for line in err.splitlines() if line.startswith("adascale: ")]
    assert code == 2 and out == "" and len(lines) == 1 and "Traceback" not in err
    return lines[0]


def loop(capsys: pytest.CaptureFixture[str], opened: Bundle, *arguments: object) -> dict:
    """The facts of a short loop."""
    code, out, err = run(capsys, "run", opened.root, *BUDGET, "--seconds", 0.5, "--json", "-q", *arguments)
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def trace(built: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded run of the adaptive policy."""
    path = tmp_path_factory.mktemp("trace") / "events.jsonl"
    with pytest.raises(SystemExit) as stop:
        main(["run", str(built.root), *BUDGET, "--seconds", "0.7", "--trace-out", str(path), "-q"])
    assert not stop.value.code
    return path


# --- run


def test_static_policies_run_one_branch(capsys: pytest.CaptureFixture[str], built: Bundle) -> None:
    for name in ("static-full", "static-smallest"):
        facts = loop(capsys, built, "--policy", name)
        assert len(facts["branches"]) == 1 and facts["switches"] == 0 and facts["count"] > 10
        assert 0 <= facts["accuracy"] <= 1


@pytest.mark.parametrize("name", ["threshold", "epsilon-greedy"])
def test_other_policies_run_and_their_trace_comes_back(
    capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "deep" / "t.jsonl"
    facts = loop(capsys, built, "--policy", name, "--trace-out", path)
    arguments = ("--trace", path, "--budget", "latency_ms=50", "--policy", name, "--json")
    code, out, _ = run(capsys, "replay", built.root, *arguments)
    assert code == 0 and json.loads(out) == facts


def test_policies_that_cannot_run_are_refused(
    capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path
) -> None:
    arguments = ("run", built.root, *BUDGET, "--seconds", 0.5, "--trace-out", tmp_path / "t.jsonl", "--policy")
    assert "no policy 'magic'" in refused(capsys, *arguments, "magic")
    assert "in replays only" in refused(capsys, *arguments, "oracle")
    assert list(tmp_path.iterdir()) == []


def test_several_numbers_of_threads(capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    facts = loop(capsys, built, "--threads", "2,1", "--policy", "epsilon-greedy", "--trace-out", path)
    header, recorded = traces.read(path)
    assert header.threads == 2 and len(header.table) == 2 * len(built.manifest.branches)
    assert {option["threads"] for option in header.table.values()} == {1, 2}
    assert all(("@cpux1" in name) == (option["threads"] == 1) for name, option in header.table.items())
    assert len(recorded) == facts["count"]
    arguments = ("--trace", path, "--budget", "latency_ms=50", "--policies", "adaptive,oracle", "--json")
    code, out, _ = run(capsys, "compare-policies", built.root, *arguments)
    assert code == 0 and set(json.loads(out)) == {"adaptive", "oracle"}
    for wrong in ("0", "two", "1,65", ","):
        assert "list of thread counts" in refused(capsys, "run", built.root, *BUDGET, "--threads", wrong)


def test_little_memory_serves_and_its_trace_comes_back(
    capsys: pytest.CaptureFixture[str], built: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    facts = loop(capsys, built, "--policy", "epsilon-greedy", "--warm-mb", 0.1, "--trace-out", path)
    _, recorded = traces.read(path)
    assert any(event.absent for event in recorded) and facts["count"] == len(recorded)
    arguments = ("--trace", path, "--budget", "latency_ms=50", "--policy", "epsilon-greedy", "--json")
    code, out, _ = run(capsys, "replay", built.root, *arguments)
    assert code == 0 and json.loads(out) == facts
    code, _, err = run(capsys, "run", built.root, *BUDGET, "--warm-mb", 0)
    assert code == 2 and "--warm-mb" in err


def test_a_cascade_shows_what_it_buys(capsys: pytest.CaptureFixture[str], built: Bundle) -> None:
    arguments = ("run", built.root, *BUDGET, "--seconds", 0.5, "--cascade")
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and "asked again" in out and "Cascade, temperature" in out and "alone" in out
    code, out, _ = run(capsys, *arguments, "--quiet")
    assert code == 0 and out == ""
    facts = loop(capsys, built, "--cascade", "--warm-mb", 0.1)
    assert facts["kept"] > 0.9 and facts["count"] > 10
    assert facts["accuracy"] > min(branch.accuracy.value for branch in built.manifest.branches) - 0.1


def test_a_cascade_needs_time_to_share(capsys: pytest.CaptureFixture[str], built: Bundle) -> None:
    arguments = ("run", built.root, "--data", "digits", "--seconds", 0.5, "--cascade", "--budget")
    assert "latency_ms" in refused(capsys, *arguments, "min_accuracy=0.1")
    assert "temperature_c" in refused(capsys, *arguments, "latency_ms=50,temperature_c=60")
    assert "No branch" in refused(capsys, *arguments, "latency_ms=0.00001")


# --- compare-policies


def test_all_policies_side_by_side(capsys: pytest.CaptureFixture[str], built: Bundle, trace: Path) -> None:
    arguments = ("compare-policies", built.root, "--trace", trace, "--budget", "latency_ms=50")
    code, out, _ = run(capsys, *arguments, "--json")
    facts = json.loads(out)
    assert code == 0 and set(facts) == set(POLICIES)
    _, recorded = traces.read(trace)
    for found in facts.values():
        assert found["count"] == len(recorded)
        assert 0 <= found["kept"] <= facts["oracle"]["kept"] <= 1
        assert found["expected_accuracy"] <= facts["oracle"]["expected_accuracy"] + 1e-9 or found["kept"] < 1
        assert sum(found["branches"].values()) == pytest.approx(1)
    smallest = min(built.manifest.branches, key=lambda branch: branch.accuracy.value).accuracy.value
    assert facts["static-smallest"]["expected_accuracy"] >= smallest
    assert facts["static-full"]["switches"] == 0
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and "recorded inferences" in out and "expected accuracy" in out
    assert all(name in out for name in POLICIES)
    code, out, _ = run(capsys, *arguments, "--quiet")
    assert code == 0 and out == ""


def test_the_policy_of_the_recording_comes_back_in_the_comparison(
    capsys: pytest.CaptureFixture[str], built: Bundle, trace: Path
) -> None:
    arguments = ("--trace", trace, "--budget", "latency_ms=50")
    code, out, _ = run(capsys, "compare-policies", built.root, *arguments, "--policies", "adaptive", "--json")
    assert code == 0
    compared = json.loads(out)["adaptive"]
    code, out, _ = run(capsys, "replay", built.root, *arguments, "--json")
    replayed = json.loads(out)
    assert code == 0 and {name: compared[name] for name in replayed} == replayed
    _, recorded = traces.read(trace)
    assert replayed["mean_ms"] == sum(event.latency_ms for event in recorded) / len(recorded)


def test_comparisons_that_cannot_be_made_are_refused(
    capsys: pytest.CaptureFixture[str], built: Bundle, trace: Path, tmp_path: Path
) -> None:
    arguments = ("compare-policies", built.root, "--budget", "latency_ms=50", "--trace")
    assert "no policy 'magic'" in refused(capsys, *arguments, trace, "--policies", "adaptive,magic")
    first, *rest = trace.read_text().splitlines(keepends=True)
    header = json.loads(first)
    foreign, empty = tmp_path / "foreign.jsonl", tmp_path / "empty.jsonl"
    foreign.write_text("".join([json.dumps({**header, "bundle": "0" * 12}) + "\n", *rest]))
    assert "another bundle" in refused(capsys, *arguments, foreign)
    empty.write_text("".join([json.dumps({**header, "table": {}}) + "\n", *rest]))
    assert "names no branches" in refused(capsys, *arguments, empty)
    empty.write_text("")
    assert "not a trace" in refused(capsys, *arguments, empty)
    assert "cannot be read" in refused(capsys, *arguments, tmp_path / "none")
    loose = ("compare-policies", built.root, "--trace", trace, "--budget")
    assert "No branch keeps the budget" in refused(capsys, *loose, "latency_ms=0.00001")


def test_a_trace_of_nothing_is_compared(
    capsys: pytest.CaptureFixture[str], built: Bundle, trace: Path, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(trace.read_text().splitlines(keepends=True)[0])
    arguments = ("compare-policies", built.root, "--budget", "latency_ms=50", "--trace", path)
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0 and {found["count"] for found in json.loads(out).values()} == {0}
    assert run(capsys, *arguments)[0] == 0


# --- the live view


def event(latency_ms: float, context: Context | None = None, branch: str = "int8", kept: bool = True) -> Event:
    return Event(0.0, 0.0, branch, "best that fits", False, 0.01, 0.01, latency_ms, 1.0, 1.0, kept, context=context)


def test_what_is_drawn_depends_on_what_was_seen_alone() -> None:
    recent = [event(0.5, Context(0.0, cpu_load=0.25)), event(1.0), event(4.0, kept=False)]
    counts = {"all": 2000, "kept": 1900, "switches": 7}
    drawn = live.draw(recent, counts, 2.0)
    assert drawn == live.draw(list(recent), dict(counts), 2.0)
    first, second, bars = drawn.splitlines()
    assert "25%" in first and "branch int8 (" in first and "best that fits" in first
    assert "4.000 ms of 2 ms" in second and "95.00% of 2,000" in second and "switches 7" in second
    assert bars == "▁▂█"  # a full block is twice the budget, or more


def test_it_draws_without_a_budget_and_without_a_load() -> None:
    first, second, bars = live.draw([event(1.0), event(2.0)], {"all": 2, "kept": 2, "switches": 0}, None).splitlines()
    assert "load     -" in first and " of 2   " in second and "ms of" not in second
    assert bars == "▂▄"


def test_ids_with_brackets_are_shown_as_they_are() -> None:
    drawn = live.draw([event(1.0, branch="mine[red]")], {"all": 1, "kept": 1, "switches": 0}, 2.0)
    assert "mine[red] (best that fits)" in drawn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_it_and_a_log_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        with live.view(2.0) as watch:
            for number in range(3 * live.SHOWN):
                watch(event(1.0 + number % 2, Context(0.0, cpu_load=0.5)))
        assert ("latency" in stream.getvalue()) == shown
        assert ("int8" in stream.getvalue()) == shown
