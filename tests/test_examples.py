"""The walks in examples/ run as they are written: their commands and their Python, in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle, load
from tests.fixtures.adbd import Access
from tests.fixtures.emulated_phone import emulated

ROOT = Path(__file__).parent.parent
WALKS = ("app_team", "researcher", "tester")
ADDRESS = "192.168.1.20:5555"


def fences(walk: str) -> list[tuple[str, str]]:
    """A walk's fenced blocks, in order: (language, content)."""
    text = (ROOT / "examples" / walk / "README.md").read_text()
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def command(line: str, folder: Path) -> str:
    """What a command of a walk prints."""
    name, *words = shlex.split(line)
    assert name == "adascale", line
    return python(["-m", "adascale_tf", *words], folder)


def python(arguments: list[str], folder: Path) -> str:
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, **home}, capture_output=True, text=True,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, f"{arguments}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_is_short_and_its_links_lead_somewhere(walk: str) -> None:
    page = ROOT / "examples" / walk / "README.md"
    assert len(page.read_text().splitlines()) <= 70
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.slow
def test_app_team(tmp_path: Path) -> None:
    *steps, last = [content for _, content in fences("app_team")]
    told = python(["-c", "\n".join(steps)], tmp_path)
    assets = load(tmp_path / "app/src/main/assets/bundle")
    assert all(branch.id in told for branch in assets.manifest.branches)
    alone = last + "\nimport sys\nassert not {'tensorflow', 'tf_keras', 'adascale_tf'} & set(sys.modules)\n"
    answers = python(["-c", alone], tmp_path).splitlines()
    assert len(answers) == assets.manifest.samples.count


@pytest.mark.slow
def test_tester(built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(built.root)
    with emulated(tmp_path / "phone", access=Access(keys=set(), dialog="allow")) as (_, adbd):
        told = ""
        for language, content in fences("tester"):
            content = content.replace(ADDRESS, f"127.0.0.1:{adbd.address[1]}")
            if language == "python":
                told = python(["-c", content], tmp_path)
            else:
                for line in content.splitlines():
                    command(line, tmp_path)
    assert (tmp_path / "report.html").stat().st_size > 50_000
    kept = records.runs([tmp_path / "phone.jsonl"])
    assert {m.delegate for m in kept} == {"cpu", "builtin"} and len(kept) == 2 * len(built.manifest.branches)
    assert len([line for line in told.splitlines() if line.endswith(" ms")]) == len(built.manifest.branches)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_researcher(tmp_path: Path) -> None:
    code, said = [], ""
    for language, content in fences("researcher"):
        if language == "python":
            code.append(content)
        else:
            for line in content.splitlines():
                said += command(line, tmp_path)
    assert "oracle" in said and (tmp_path / "evolved.html").stat().st_size > 30_000
    told = python(["-c", "\n".join(code)], tmp_path)
    assert {line.split()[0] for line in told.splitlines()} == {"slim0.5-int8"}
