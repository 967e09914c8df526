"""The figures of the documentation are those of the results, and a figure older than its code is marked."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import evidence
import figures
import goals
from sections import WRITERS

ROOT = Path(__file__).parent.parent
BENCHMARKS = {
    "adapt",
    "again",
    "adascale_sgd",
    "fleet",
    "harness",
    "headline",
    "operators",
    "predict",
    "startup",
    "switching",
    "targets",
}


def test_the_pages_are_what_make_figures_writes() -> None:
    for name, text in figures.pages().items():
        assert (ROOT / name).read_text() == text, f"{name} differs from its results; run 'make figures'"


def test_stale_figures_are_named_and_marked() -> None:
    stale = figures.stale()
    if stale:
        warnings.warn(f"These results are older than the code they measure: {', '.join(stale)}.", stacklevel=1)
    page, readme = ((ROOT / name).read_text() for name in (figures.PAGE, "README.md"))
    for name in stale:
        result = figures.read(name)
        section = WRITERS[name](result)
        text = page.partition(f"## {section.title}\n")[2].partition("\n## ")[0]
        told = figures.mark(result).removeprefix("measured at ")
        assert told.endswith("; the code it measures has changed since") and told in text, name
        for one in section.figures:
            if one.brief:
                (line,) = (line for line in readme.splitlines() if line.startswith(f"| {one.brief} |"))
                assert f"{told.removeprefix('commit ')} |" in line


def test_every_result_says_where_it_is_from() -> None:
    assert {path.stem for path in evidence.RESULTS.glob("*.json")} == {*figures.measured(), "elsewhere"}
    for name in figures.measured():
        known = figures.read(name)["evidence"]
        assert known["benchmark"] in BENCHMARKS and known["commit"] and known["date"] and known["machine"]["cores"]


def test_every_benchmark_says_what_it_measures() -> None:
    for name in BENCHMARKS:
        assert evidence.digest(ROOT / "benchmarks" / f"{name}.py")


def test_a_figure_elsewhere_belongs_to_a_figure_here() -> None:
    for name, found in figures.seen_elsewhere()["figures"].items():
        assert set(found) <= {one.quantity for one in WRITERS[name](figures.read(name)).figures}, name


@pytest.fixture()
def tree(tmp_path: Path) -> Path:
    """A repository with a benchmark of one package."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "speed.py").write_text('MEASURES = ("code",)\n')
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("def f(x):\n    return x + 1\n")
    return tmp_path


def digest(tree: Path) -> str:
    return evidence.digest(tree / "benchmarks" / "speed.py", tree)


def test_wording_and_layout_change_no_digest(tree: Path) -> None:
    before = digest(tree)
    (tree / "code" / "a.py").write_text(
        '"""A module."""\n\n\ndef f(x):  # adds\n    """One more."""\n    return (x\n + 1)\n'
    )
    assert digest(tree) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "code" / "a.py").write_text("def f(x):\n    return x + 2\n"),
        lambda tree: (tree / "code" / "b.py").write_text("y = 1\n"),
        lambda tree: (tree / "code" / "a.py").rename(tree / "code" / "c.py"),
        lambda tree: (tree / "benchmarks" / "speed.py").write_text('MEASURES = ("code",)\nROUNDS = 3\n'),
    ],
    ids=["other code", "another file", "another name", "another benchmark"],
)
def test_code_changes_the_digest(tree: Path, change: object) -> None:
    before = digest(tree)
    change(tree)  # type: ignore[operator]
    assert digest(tree) != before


def test_a_result_is_stale_when_its_code_changes(tree: Path) -> None:
    result = {"evidence": {"benchmark": "speed", "digest": digest(tree)}}
    assert not evidence.stale(result, tree)
    (tree / "code" / "a.py").write_text("def f(x):\n    return x - 1\n")
    assert evidence.stale(result, tree)
    assert evidence.stale({"evidence": {"benchmark": "speed", "digest": None}}, tree)


def test_what_is_measured_must_exist(tree: Path) -> None:
    (tree / "benchmarks" / "speed.py").write_text('MEASURES = ("nothing",)\n')
    with pytest.raises(ValueError, match="does not exist"):
        digest(tree)


def test_a_smoke_run_makes_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adapt.json").write_text(json.dumps({"smoke": True}))
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match="smoke"):
        figures.read("adapt")


@pytest.mark.parametrize(
    ("goal", "values", "worst", "met"),
    [
        ("<= 5 %", (1.0, 7.0, 2.0), 7.0, False), (">= 0.8", (0.9, 0.8, 1.0), 0.8, True),
        ("< 1", (1.0,), 1.0, False), (">= -1", (-2.0, 3.0, 0.0), -2.0, False),
    ],
)  # fmt: skip
def test_the_worst_repeat_decides(goal: str, values: tuple[float, ...], worst: float, met: bool) -> None:
    row = goals.repeated("quantity", goal, values)
    assert (row.worst, row.met, row.values) == (worst, met, values)
    assert row.reached == sorted(values)[len(values) // 2]
