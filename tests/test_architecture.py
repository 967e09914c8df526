"""The code keeps to the tables of docs/architecture.md: imports run one way, and in no circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: From the ground up: a package imports those to its left only.
PACKAGES = ("adascale_runtime", "converters", "profiling", "android_harness", "adascale_tf")
#: The rooms of adascale_tf, from the ground up: none imports one to its right.
ROOMS = ("data", "graph", "operators", "bridge", "network", "training", "verbs", "cli")
#: Rooms that know nothing of converters, profiling and phones, except for the precisions that recipes name.
APART = ("data", "graph", "operators", "bridge", "network", "training")
#: Modules that need no TensorFlow at import.
LIGHT = ("data", "graph", "operators")
HEAVY = {"tensorflow", "tf_keras", "keras", "sklearn", "matplotlib", "tensorflow_model_optimization"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(name: str) -> set[str]:
    """The modules of this project that a module imports, at its top, in a function, or for a type checker."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            wholes = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {whole if whole in MODULES else node.module for whole in wholes}
    return (named & set(MODULES)) - {name}


IMPORTS = {name: imports(name) for name in MODULES}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_one_that_stands_on_it(package: str) -> None:
    above = PACKAGES[PACKAGES.index(package) + 1 :]
    wrong = [(m, i) for m in MODULES if m.split(".")[0] == package for i in IMPORTS[m] if i.split(".")[0] in above]
    assert not wrong


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_one_above_it(room: str) -> None:
    above = tuple(f"adascale_tf.{other}" for other in ROOMS[ROOMS.index(room) + 1 :])
    outside = ("converters", "profiling", "android_harness") if room in APART else ()
    inside = [m for m in MODULES if m == f"adascale_tf.{room}" or m.startswith(f"adascale_tf.{room}.")]
    assert inside
    imported = [(m, i) for m in inside for i in IMPORTS[m] if i != "converters.precisions"]
    assert not [(m, i) for m, i in imported if i.startswith((*above, *outside))]


def test_no_imports_run_in_a_circle() -> None:
    left = {name: set(imported) for name, imported in IMPORTS.items()}
    while free := [name for name, imported in left.items() if not imported & set(left)]:
        for name in free:
            del left[name]
    assert not left, f"a circle is among {sorted(left)}"


def test_the_runtime_imports_the_standard_library_alone() -> None:
    for name, path in MODULES.items():
        if name.startswith("adascale_runtime"):
            tops = {
                node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
                for node in ast.parse(path.read_text()).body
                if isinstance(node, (ast.Import, ast.ImportFrom))
            }
            foreign = {top.split(".")[0] for top in tops} - set(sys.stdlib_module_names) - {"adascale_runtime"}
            assert not foreign, f"{path} imports {foreign}"


@pytest.mark.parametrize("room", LIGHT)
def test_the_pure_rooms_import_nothing_heavy(room: str) -> None:
    for name, path in MODULES.items():
        if name.startswith(f"adascale_tf.{room}"):
            top = [n for n in ast.parse(path.read_text()).body if isinstance(n, (ast.Import, ast.ImportFrom))]
            names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
            names |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
            assert not HEAVY & {n.split(".")[0] for n in names}, path


def test_nobody_but_the_command_line_imports_the_command_line() -> None:
    inside = ("adascale_tf.cli", "adascale_tf.__main__")
    assert not [m for m in MODULES if not m.startswith(inside) and any(i.startswith(inside) for i in IMPORTS[m])]
    users = [path for folder in ("benchmarks", "examples", "docs") for path in (ROOT / folder).rglob("*.py")]
    for path in (*users, ROOT / "tests" / "conftest.py", *(ROOT / "tests" / "fixtures").rglob("*.py")):
        assert not re.search(r"(from|import) adascale_tf\.cli|from adascale_tf import cli", path.read_text()), path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from adascale_tf.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        f"print(sorted({HEAVY | {'numpy'}!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_public_function_takes_more_than_six_positional_parameters() -> None:
    for path in MODULES.values():
        for scope in ast.walk(ast.parse(path.read_text())):
            for function in getattr(scope, "body", []) if isinstance(scope, (ast.Module, ast.ClassDef)) else []:
                if isinstance(function, ast.FunctionDef) and not re.match("_(?!_init__)", function.name):
                    own = isinstance(scope, ast.ClassDef)  # self
                    count = len(function.args.posonlyargs) + len(function.args.args) - own
                    assert count <= 6, f"{path}:{function.lineno} {function.name}"


def test_modules_stay_readable() -> None:
    for path in MODULES.values():
        assert len(path.read_text().splitlines()) <= 350, path
