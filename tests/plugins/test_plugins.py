"""A plug-in as a stranger ships it: a wheel with one of each kind, in a fresh environment, on the real command line."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from adascale_runtime import plugins
from adascale_runtime.seams import bundle, records
from android_harness import keys
from tests.fixtures.emulated_phone import emulated

ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "example"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(EXAMPLE, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(command, check=True, timeout=120)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def adascale(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command line in a fresh environment that has the wheel; what this one has installed it sees, too."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=120)
    python = folder / "env" / "bin" / "python"
    purelib = next((folder / "env" / "lib").glob("python*/site-packages"))
    (purelib / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, timeout=120)
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("PYTHONPATH", None)

    def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [python, "-m", "adascale_tf", *map(str, words)], env=environment, cwd=folder, capture_output=True,
            text=True, timeout=280,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done

    return run


def entry_points() -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read(EXAMPLE / "pyproject.toml")
    section = parser[f'project.entry-points."{plugins.GROUP}"']
    return {kind: target.strip('"') for kind, target in section.items()}


def test_the_example_has_one_of_each_kind_in_a_file_and_a_line_each() -> None:
    lines = entry_points()
    assert tuple(sorted(lines)) == tuple(sorted(plugins.KINDS))
    files = {path.stem for path in (EXAMPLE / "adascale_example").glob("*.py")} - {"__init__"}
    assert sorted(lines.values()) == sorted(f"adascale_example.{name}" for name in files)


def test_the_guide_counts_what_the_example_needed() -> None:
    """CONTRIBUTING.md tells, for each kind, how many files and lines it takes; the example is the witness."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (\w+) \| `@(\w+)\(.*\| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    lines = entry_points()
    assert sorted(kind for kind, *_ in rows) == sorted(plugins.KINDS)
    for kind, decorator, files, entries in rows:
        (path,) = [EXAMPLE / f"{target.replace('.', '/')}.py" for name, target in lines.items() if name == kind]
        assert (int(files), int(entries)) == (1, 1) and re.search(rf"^@{decorator}\(", path.read_text(), re.MULTILINE)


@pytest.mark.slow
def test_what_a_plug_in_brings_is_named(adascale: Run) -> None:
    listed = {row["name"]: row for row in json.loads(adascale("operators", "--json").stdout)}
    assert listed["slim"]["kind"] == "structure" and listed["int8f"]["kind"] == "precision"
    told = adascale("profile", "--help").stdout
    assert "single" in told and "noted" in told
    assert "tiny" in adascale("build", "--help").stdout
    assert "thrifty" in adascale("run", "--help").stdout
    assert "slim" in adascale("build", "--data", "digits", "--recipes", "slym", "--out", "no", code=2).stderr


@pytest.mark.slow
def test_a_branch_of_plug_ins_from_build_to_report(adascale: Run, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    built = ("--data", "digits", "--backbone", "tiny", "--recipes", "full,int8,slim,slim+int8f", "--epochs", 2)
    adascale("build", *built, "--out", folder, "--quiet")
    opened = bundle.load(folder)  # by a process that knows no plug-in
    branch = opened.manifest.branch("slim-int8f")
    assert opened.manifest.backbone == "tiny" and branch.precision == "int8f"
    assert branch.cost.arithmetic == "integer" and branch.input.dtype == "float32"
    assert branch.cost.macs < opened.manifest.branch("full").cost.macs

    measured, predictors = tmp_path / "m.jsonl", tmp_path / "p.json"
    adascale("profile", folder, "--delegates", "cpu,single", "--runs", 10, "--out", measured, "--quiet")
    on_host = records.read([measured])
    assert {(m.branch, m.delegate) for m in on_host} == {
        (b, d) for b in ("full", "int8", "slim", "slim-int8f") for d in ("cpu", "single")
    }
    # A machine with a counter of its own uses that one.
    assert {m.energy.how for m in on_host} <= {"measured:cputime", "measured:rapl"}

    keys.load(tmp_path / "adbkey")
    with emulated(tmp_path / "phone", update_s=0.15) as (_, adbd):
        where = ("--device", f"127.0.0.1:{adbd.address[1]}", "--key", tmp_path / "adbkey", "--runner", "noted")
        where += ("--branches", "full,slim-int8f")
        adascale("profile", folder, *where, "--runs", 4, "--out", tmp_path / "phone.jsonl", "--quiet")
    on_phone = records.read([tmp_path / "phone.jsonl"])
    assert len(on_phone) == 2 and {m.versions["adascale-example"] for m in on_phone} == {"1.0"}
    assert {m.settings["runner"] for m in on_phone} == {"noted"}

    adascale("fit", measured, "--out", predictors, "--quiet")
    trace = tmp_path / "events.jsonl"
    adascale(
        "run", folder, "--data", "digits", "--budget", "latency_ms=50", "--delegates", "single", "--policy", "thrifty",
        "--seconds", 1, "--trace-out", trace, "--quiet",
    )  # fmt: skip
    compared = adascale("compare-policies", folder, "--trace", trace, "--budget", "latency_ms=50", "--json").stdout
    assert "thrifty" in compared
    page = tmp_path / "report.html"
    adascale("report", folder, measured, tmp_path / "phone.jsonl", trace, predictors, "--out", page, "--quiet")
    text = page.read_text()
    for word in ("slim-int8f", "single", "tiny"):
        assert word in text, word
