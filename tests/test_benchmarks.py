"""The benchmarks run and write what they promise; their figures are for the README, not for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from adascale_tf.bundle import Bundle

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, BENCHMARKS / name, *map(str, arguments)], check=True, capture_output=True)


def test_switching_is_compared_with_opening_anew(built: Bundle, tmp_path: Path) -> None:
    run("switching.py", built.root, "--rounds", 5, "--out", tmp_path / "s.json")
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert len(rows) == 3 and all(len(row["samples_ms"]) == 5 and row["p50_ms"] > 0 for row in rows)


def test_startup_is_compared_with_python_itself(tmp_path: Path) -> None:
    run("startup.py", "--rounds", 1, "--out", tmp_path / "s.json")
    assert len(json.loads((tmp_path / "s.json").read_text())["seconds"]) == 3
