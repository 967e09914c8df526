from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines import delegates, survivors, trial
from adascale_runtime.engines.warm import Room
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.policies.limits import Settings
from adascale_runtime.seams import bundle
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session
from tests.fixtures import small_model

ROOT = Path(__file__).parents[3]
GOOD = small_model.pack(small_model.tree())
CRASH, HANG = small_model.spoiled(small_model.crash), small_model.spoiled(small_model.hang)
ROOMY = Budget(latency_ms=1000.0)
X = np.ones((1, 4), np.float32)


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine that has run nothing yet; gives its cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget(monkeypatch)
    yield tmp_path / "cache" / "adascale" / "trials.json"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would begin."""
    monkeypatch.setattr(survivors, "_KNOWN", None)
    monkeypatch.setattr(trial, "_FAILED", {})
    monkeypatch.setattr(trial, "_UNTRIED", set())


def opened(place: Path, **files: bytes) -> Bundle:
    return bundle.load(small_model.write(place / "bundle", files))


def another(name: str) -> bytes:
    """As good a file, which was not tried with the others."""
    tree = small_model.tree()
    tree.description = name
    return small_model.pack(tree)


def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_a_branch_that_crashes_is_left_out_by_its_name(tmp_path: Path) -> None:
    with Session(opened(tmp_path, evil=CRASH, good=GOOD), ROOMY) as session:
        session.predict(X[0])
        assert session.last is not None and session.last.branch == "good"
    assert session.broken == {
        "evil": "Branch 'evil' crashes on delegate cpu (SIGSEGV); build the bundle again, or leave the branch out."
    }


def test_a_bundle_of_nothing_else_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AdaScaleError, match=r"No branch can be opened: Branch 'evil' crashes on delegate cpu"):
        Session(opened(tmp_path, evil=CRASH), ROOMY)
    with pytest.raises(trial.Crashed, match="SIGSEGV"):
        found = bundle.load(tmp_path / "bundle")
        delegates.open_branch(found, found.manifest.branches[0])


def test_a_branch_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LIMIT_S", 1.0)
    begun = time.monotonic()
    found = opened(tmp_path, endless=HANG, good=GOOD)
    crashed = delegates.examine(found, found.manifest.branches)
    assert crashed == {
        "endless": "Branch 'endless' does not end on delegate cpu within 1 s; build the bundle again, "
        "or leave the branch out."
    }
    assert time.monotonic() - begun < 20


def test_branches_after_a_crash_are_tried_too(tmp_path: Path) -> None:
    found = opened(tmp_path, one=GOOD, evil=CRASH, worse=small_model.spoiled(worse), two=small_model.spoiled(larger))
    assert set(delegates.examine(found, found.manifest.branches)) == {"evil", "worse"}
    assert len(survivors.known()) == 2


def worse(model: object) -> None:
    small_model.crash(model)
    larger(model)


def larger(model: object) -> None:
    model.description = "another file of the same network"  # type: ignore[attr-defined]


def test_what_survived_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: Path) -> None:
    found = opened(tmp_path, good=GOOD)
    assert delegates.examine(found, found.manifest.branches) == {}
    no_child(monkeypatch)
    assert delegates.examine(found, found.manifest.branches) == {}
    forget(monkeypatch)
    assert delegates.examine(found, found.manifest.branches) == {}
    assert len(json.loads(forgotten.read_text())["known"]) == 1
    with pytest.raises(AssertionError, match="a child was started"):  # another delegate is unknown
        delegates.examine(found, found.manifest.branches, "reference")


def test_what_this_process_ran_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(tmp_path, good=GOOD)
    trial.remember(found)
    forget(monkeypatch)
    no_child(monkeypatch)
    assert delegates.open_branch(found, found.manifest.branches[0])(X).shape == (1, 4)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff", b'{"format": "adascale-trials/1", "known": 3}', b"[" * 9999]
)
def test_a_damaged_cache_is_ignored(forgotten: Path, content: bytes) -> None:
    forgotten.parent.mkdir(parents=True)
    forgotten.write_bytes(content)
    assert survivors.known() == {}
    survivors.add(["0" * 32])
    assert json.loads(forgotten.read_text())["known"] == ["0" * 32]


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path, forgotten: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    found = opened(tmp_path, good=GOOD, evil=CRASH)
    assert set(delegates.examine(found, found.manifest.branches)) == {"evil"}


def test_the_cache_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: Path) -> None:
    monkeypatch.setattr(survivors, "MOST", 10)
    survivors.add([f"{n:032x}" for n in range(25)])
    assert json.loads(forgotten.read_text())["known"] == [f"{n:032x}" for n in range(15, 25)]


def test_without_a_second_process_files_run_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = opened(tmp_path, good=GOOD)
    assert delegates.open_branch(found, found.manifest.branches[0])(X).shape == (1, 4)
    assert not forgotten.exists()
    no_child(monkeypatch)  # and none is tried for each branch anew
    assert delegates.open_branch(found, found.manifest.branches[0])(X).shape == (1, 4)


def test_a_working_directory_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("import os; os._exit(9)")
    monkeypatch.chdir(tmp_path)
    found = opened(tmp_path, good=GOOD)
    assert delegates.examine(found, found.manifest.branches) == {}


def adascale(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adascale_tf", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", env=environment, check=False)


def test_a_profile_measures_what_does_not_crash(tmp_path: Path) -> None:
    opened(tmp_path, evil=CRASH, good=GOOD)
    out = tmp_path / "m.jsonl"
    done = adascale("profile", tmp_path / "bundle", "--runs", 4, "--out", out)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "1 not measured" in done.stderr and "'evil' crashes on delegate cpu (SIGSEGV)" in done.stderr
    assert [json.loads(line)["branch"] for line in out.read_text().splitlines()] == ["good"]


def test_the_child_imports_no_tensorflow() -> None:
    code = (
        "import sys\nfrom adascale_runtime.engines import delegates, trial, trial_child\n"
        "import ai_edge_litert.interpreter\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """Data of four numbers in four classes."""
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 4)).astype(np.float32), np.arange(40) % 4
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    return tmp_path / "data.npz"


def test_run_goes_on_without_a_branch_that_crashes(tmp_path: Path, numbers: Path) -> None:
    opened(tmp_path, evil=CRASH, good=GOOD)
    run = ["run", tmp_path / "bundle", "--data", numbers, "--seconds", 0.3, "--json", "--budget"]
    done = adascale(*run, "latency_ms=1000")
    assert done.returncode == 0 and json.loads(done.stdout)["branches"] == {"good": 1.0}, done.stderr
    assert "evil is left out: Branch 'evil' crashes on delegate cpu (SIGSEGV)" in done.stderr
    done = adascale(*run, "latency_ms=1000,lifetime_h=8", "--predictors", tmp_path / "absent.json")
    assert done.returncode == 2 and "absent.json" in done.stderr and "Traceback" not in done.stderr


def test_evaluate_names_a_branch_that_crashes(tmp_path: Path, numbers: Path) -> None:
    opened(tmp_path, good=GOOD, evil=CRASH)
    done = adascale("evaluate", tmp_path / "bundle", "--data", numbers)
    assert done.returncode == 1 and "Branch 'evil' crashes on delegate cpu (SIGSEGV)" in done.stderr
    assert adascale("evaluate", tmp_path / "bundle", "--data", numbers, "--branch", "good").returncode == 0


def test_a_branch_without_memory_for_its_first_run_is_left_out_until_there_is_some(tmp_path: Path) -> None:
    found = opened(tmp_path, good=GOOD, other=another("other"))
    (said,) = set(delegates.examine(found, found.manifest.branches[:1], room=Room(lambda: 40.0, 32.0)).values())
    assert said.startswith(
        "Branch 'good' was not tried on delegate cpu: its first run needs about 24 MB, but only 40 MB"
    )
    assert said.endswith("32 MB are kept in reserve; free some memory, or leave the branch out.")
    assert survivors.known() == {} and not trial._FAILED and not trial._UNTRIED
    assert delegates.examine(found, found.manifest.branches, room=Room(lambda: 60.0, 32.0)) == {}
    assert delegates.examine(found, found.manifest.branches, room=Room(lambda: 0.0, 32.0)) == {}  # survived before


def test_memory_is_looked_at_before_each_first_run(tmp_path: Path) -> None:
    found = opened(tmp_path, good=GOOD, heavy=another("heavy"), last=another("last"))
    good, heavy, last = found.manifest.branches
    left = iter([60.0, 32.0, 32.0, 60.0])  # what a sentence tells is read once more
    branches = (good, replace(heavy, cost=replace(heavy.cost, weight_bytes=10_000_000)), last)
    said = delegates.examine(found, branches, room=Room(lambda: next(left), 32.0))
    assert said.keys() == {"heavy"}


def test_a_session_opens_what_there_was_memory_to_try(tmp_path: Path) -> None:
    class Sampler:
        def sample(self, time_s: float) -> Context:
            return Context(time_s, cores=2, runnable=0, memory_free_mb=50.0)

    found = opened(tmp_path, good=GOOD, evil=CRASH)
    settings = Settings(reserve_mb=40.0)
    with pytest.raises(AdaScaleError, match=r"No branch can be opened: Branch '.*' was not tried on delegate cpu"):
        Session(found, ROOMY, monitor=Monitor(sampler=Sampler()), settings=settings)
    trial.remember(replace(found, manifest=replace(found.manifest, branches=found.manifest.branches[:1])))
    with Session(found, ROOMY, monitor=Monitor(sampler=Sampler()), settings=settings) as session:
        assert len(session.table) == 1 and len(session.broken) == 1
        assert all("was not tried" in why for why in session.broken.values())
        session.predict(X[0])
