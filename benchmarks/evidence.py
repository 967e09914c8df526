"""What stands beside every figure: the commit, the date, the machine, the versions, and a digest of the measured code.

A benchmark names in its ``MEASURES`` the files and packages whose speed or quality it measures. The digest is that of
their syntax trees without docstrings, and of the benchmark's own, so that wording makes no figure stale, and code does.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from adascale_runtime.files import codec
from profiling import device

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
#: Versions that stand beside figures, where they are installed.
PACKAGES = ("tensorflow", "tf-keras", "keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy",
            "scikit-learn", "adb-shell", "distributed")  # fmt: skip


def add_options(parser: argparse.ArgumentParser, results: Path) -> None:
    """Add ``--smoke`` and ``--out``; ``results``: where the figures of the repository are."""
    parser.add_argument(
        "--smoke", action="store_true", help="every part in seconds: does it work? The figures are void"
    )
    parser.add_argument(
        "--out", type=Path, default=None, help=f"default: {results.relative_to(ROOT)}; none of a smoke run"
    )
    parser.set_defaults(results=results)


def write(options: argparse.Namespace, benchmark: str, facts: dict[str, Any]) -> Path | None:
    """Write a result with its evidence to where the options say, and give the place; nowhere for a bare smoke run."""
    place: Path | None = options.out or (None if options.smoke else options.results)
    if place is not None:
        codec.write_text(place, codec.dump({"evidence": beside(benchmark), "smoke": options.smoke, **facts}))
    return place


def beside(benchmark: str) -> dict[str, Any]:
    """The facts to write into a result under ``evidence``; ``benchmark``: the ``__file__`` of who asks."""
    path = Path(benchmark)
    found = device.facts()
    return {
        "benchmark": path.stem,
        "commit": commit(),
        "changed": bool(_git("status", "--porcelain", "--", str(path.resolve()), *measures(path))),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M"),
        "machine": {
            "cpu": found["cpu"], "arch": found["arch"], "cores": found["cores"], "memory_bytes": found["memory_bytes"],
            "kernel": platform.release(), "python": platform.python_version(),
            "load_average": list(os.getloadavg()),
        },
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "measures": list(measures(path)),
        "digest": digest(path),
    }  # fmt: skip


def commit() -> str | None:
    """The commit of this working tree, or None outside of a repository."""
    return _git("rev-parse", "--short=7", "HEAD") or None


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def measures(benchmark: Path) -> tuple[str, ...]:
    """The ``MEASURES`` of a benchmark, read without importing it: files and folders from the repository's root."""
    for node in ast.parse(benchmark.read_text()).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["MEASURES"]:
            return tuple(ast.literal_eval(node.value))
    raise ValueError(f"{benchmark} does not say what it measures; give it MEASURES")


def digest(benchmark: Path, root: Path = ROOT) -> str:
    """A digest of the code that a benchmark measures, and of its own."""
    found, root = hashlib.sha256(), root.resolve()
    for file in sorted({benchmark.resolve(), *_files(measures(benchmark), root)}):
        found.update(f"{file.relative_to(root)}\0{normal(file.read_text())}\0".encode())
    return found.hexdigest()[:16]


def _files(places: tuple[str, ...], root: Path) -> Iterator[Path]:
    for place in places:
        path = (root / place).resolve()
        if not path.exists():
            raise ValueError(f"{place}, which a benchmark measures, does not exist")
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def normal(source: str) -> str:
    """Code as its syntax tree: equal for all layouts, comments and docstrings, and under Python 3.10 to 3.12."""
    return repr(_flat(ast.parse(source)))


_SILENT = ("type_comment", "type_ignores", "kind")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _flat(node: Any) -> Any:
    if isinstance(node, list):
        return [_flat(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, _DOCUMENTED) and _is_docstring(value):
            value = value[1:]
        # Later versions of Python add fields, which are empty for code that runs under the earlier ones.
        if name not in _SILENT and value is not None and value != []:
            fields.append((name, _flat(value)))
    return type(node).__name__, fields


def _is_docstring(body: list[ast.stmt]) -> bool:
    first = body[0] if body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def stale(result: dict[str, Any], root: Path = ROOT) -> bool:
    """Whether the code that a result measured is another by now; a result without a digest is stale."""
    known = result["evidence"]
    benchmark = root / "benchmarks" / f"{known['benchmark']}.py"
    return known["digest"] is None or known["digest"] != digest(benchmark, root)
