from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from adascale_runtime.errors import BadInput
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_tf.cli import cli
from profiling import contexts, fit, measure


def test_names_are_checked_before_anything_is_measured() -> None:
    assert contexts.parse("idle, load50,load100,load50") == ["idle", "load50", "load100"]
    assert contexts.parse("memory50") == ["memory50"]
    for text in ("busy", "load", "load0", "load500", "memory95", "memory100", "load50%"):
        with pytest.raises(BadInput, match="There is no context"):
            contexts.parse(text)
    with pytest.raises(BadInput, match="No context is named"):
        contexts.parse(" , ")


def test_load_is_real_and_ends() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with contexts.beside("load100"):
        during = {child.pid for child in psutil.Process().children()} - before
        assert len(during) == psutil.cpu_count()
    with contexts.beside("memory1") as holder:
        resident = psutil.Process(holder.child.pid).memory_info().rss
        assert resident > 0.8 * 0.01 * psutil.virtual_memory().available
    beside = contexts.Surroundings(lambda: contexts.beside("load100"))
    with beside, beside:  # shared by two runners, there is one load
        assert len({child.pid for child in psutil.Process().children()} - before) == psutil.cpu_count()
    with contexts.beside("idle"):
        assert not {child.pid for child in psutil.Process().children()} - before
    assert not {child.pid for child in psutil.Process().children()} - before


def test_a_context_has_a_file_of_its_own_and_gives_a_slowdown(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    ids = [b.id for b in built.manifest.branches][:4]
    idle = measure.profile(built, ["cpu"], [1], runs=4, out=out, branches=ids)
    found = contexts.sweep(built, ["cpu"], [1], ["idle", "load100"], out=out, branches=ids[:2])
    other = tmp_path / "m.load100.jsonl"
    assert records.read([other]) == found and records.read([out]) == idle
    assert [m.settings["context"] for m in found] == ["load100"] * 2
    assert all(m.context_before.cpu_load is not None and m.energy.how.startswith("estimated") for m in found)
    assert contexts.sweep(built, ["cpu"], [1], ["load100"], out=out, branches=ids[:2]) == found
    latency = fit.fit(idle + found).find("latency_ms", "cpu", 1)
    assert latency is not None and latency.samples == 4 and len(latency.strained) == 2
    (plain,) = contexts.sweep(built, ["cpu"], [1], ["load100"], out=out, branches=ids[:1], anchors=False)
    assert found[0].paces and plain.paces == () and plain.settings["anchors"] is False
    branch = built.manifest.branch(ids[0])
    busy = latency.predict(branch.cost, branch.precision, found[0].context_before)
    assert busy >= latency.predict(branch.cost, branch.precision)


def test_the_command_refuses_what_makes_no_sense(built: Bundle, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["profile", str(built.root), "--out", str(tmp_path / "m.jsonl"), *words])
        return str(done.exception)

    assert "There is no context 'party'" in run("--contexts", "idle,party")
    assert "leave --branches out" in run("--calibrate", "--branches", "full")
    assert list(tmp_path.iterdir()) == []
