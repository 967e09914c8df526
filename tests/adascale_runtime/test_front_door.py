"""What ``import adascale_runtime`` offers: every public name, loaded when it is first used."""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import adascale_runtime

ROOT = Path(adascale_runtime.__file__).parent


def run(python: str, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_loads_nothing_else() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nimport adascale_runtime\n"
        "print([n for n in sys.modules if n.startswith('adascale_runtime.')])\n"
        "adascale_runtime.Session\n"
        "print([n for n in ('numpy', 'tensorflow', 'psutil', 'ai_edge_litert') if n in sys.modules])"
    )
    assert run(sys.executable, code) == "[]\n[]"


@pytest.mark.parametrize("name", adascale_runtime.__all__)
def test_every_public_name_is_there_listed_and_explained(name: str) -> None:
    value = getattr(adascale_runtime, name)
    assert name in dir(adascale_runtime)
    if name not in ("__version__", "POLICIES"):
        assert value.__doc__ and not value.__doc__.startswith(name + "(")  # not the one that a dataclass makes


def test_what_a_type_checker_sees_is_what_is_there() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text())
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(adascale_runtime.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        adascale_runtime.nothing  # noqa: B018
    with pytest.raises(ImportError):
        from adascale_runtime import nothing  # noqa: F401


def python_3_8() -> str | None:
    """A Python 3.8 of this machine: one on PATH, or pyenv's."""
    places = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted((Path.home() / ".pyenv" / "versions").glob("3.8*/bin"))
    for python in (folder / "python3.8" for folder in places):
        if os.access(python, os.X_OK) and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            return str(python)
    return None


def test_python_3_8_imports_every_module() -> None:
    python = python_3_8()
    if python is None:
        pytest.skip("no Python 3.8 is installed; test_session.py checks the syntax")
    names = [m.name for m in pkgutil.walk_packages([str(ROOT)], "adascale_runtime.")]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)\nprint(len({names!r}))"
    assert int(run(python, code)) == len(names) > 40
    run(python, "import adascale_runtime as a\nfor name in a.__all__: getattr(a, name)")
