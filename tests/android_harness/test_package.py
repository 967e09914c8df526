from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from adascale_runtime.seams.pace import KINDS
from android_harness import package

OWN = ("adascale_runtime", "android_harness")
#: Standard modules that Python 3.8 lacks.
YOUNGER = {"graphlib", "tomllib", "zoneinfo"}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "agent.pyz"
    package.write(path)
    return path


def files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


FILES = files(package.agent())
SOURCES = {name: data.decode() for name, data in FILES.items() if name.endswith(".py")}


def modules() -> set[str]:
    names = {name[: -len(".py")].replace("/", ".") for name in SOURCES if name != "__main__.py"}
    return {name[: -len(".__init__")] if name.endswith(".__init__") else name for name in names}


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    program = "import sys; from android_harness import package; sys.stdout.buffer.write(package.agent())"
    built = {package.agent()}
    for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(package.ROOT)}
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        built.add(done.stdout)
    assert len(built) == 1
    with zipfile.ZipFile(io.BytesIO(built.pop())) as archive:
        assert archive.testzip() is None and {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_it_holds_sources_and_anchors_only() -> None:
    others = set(FILES) - set(SOURCES)
    assert others == {f"adascale_runtime/measuring/anchor-{kind}.tflite" for kind in KINDS}
    for name, data in FILES.items():
        if name != "__main__.py":
            assert data == (package.ROOT / name).read_bytes()
    assert {"android_harness.agent.main", "adascale_runtime.session", "adascale_runtime.seams.bundle"} <= modules()
    assert not [name for name in modules() if name.startswith(("adascale_tf.cli", "adascale_tf.operators"))]


def executed(body: list[ast.stmt]) -> list[ast.stmt]:
    """The import statements that run when the module is imported."""
    statements: list[ast.stmt] = []
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            statements.append(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            statements += executed(node.orelse)
        else:
            for field in ("body", "orelse", "finalbody"):
                statements += executed(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                statements += executed(handler.body)
    return statements


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_python_3_8_and_the_standard_library_are_enough(name: str) -> None:
    tree = ast.parse(SOURCES[name], name, feature_version=(3, 8))
    for node in executed(tree.body):
        wanted = [alias.name for alias in node.names]  # type: ignore[attr-defined]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None
            wanted = [node.module]
        for module in wanted:
            top = module.split(".")[0]
            if top in OWN:
                assert module in modules(), f"{name} imports {module}, which the agent lacks"
            else:
                assert top in sys.stdlib_module_names and top not in YOUNGER, f"{name} imports {module}"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_what_functions_import_is_packed_too(name: str) -> None:
    for node in ast.walk(ast.parse(SOURCES[name], name)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OWN:
            assert node.module in modules(), f"{name} imports {node.module}, which the agent lacks"


def pythons() -> list[str]:
    """This Python, and a Python 3.8 where one is installed."""
    places = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted((Path.home() / ".pyenv" / "versions").glob("3.8*/bin"))
    for python in (folder / "python3.8" for folder in places):
        if os.access(python, os.X_OK) and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            return [sys.executable, str(python)]
    return [sys.executable]


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_every_module_runs_alone_in_an_empty_place(agent: Path, tmp_path: Path, python: str) -> None:
    """All parts are imported without site-packages, environment or files; what is loaded is theirs or Python's."""
    program = (
        "import sys, importlib, os\n"
        "standard = os.path.dirname(os.__file__)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    importlib.import_module(name)\n"
        "files = [getattr(m, '__file__', None) or '' for m in list(sys.modules.values())]\n"
        "print([f for f in files if f and not f.startswith((sys.argv[1], standard))])\n"
    )
    command = [python, "-I", "-S", "-c", program, str(agent), *sorted(modules())]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    done = subprocess.run([python, "-I", "-S", str(agent), "--help"], cwd=tmp_path, env={}, capture_output=True)
    assert done.returncode == 0 and b"bench" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_imports_no_session(agent: Path) -> None:
    """A phone compiles what is imported at every start, so each mode imports what it needs and no more."""
    command = [sys.executable, "-I", "-S", "-X", "importtime", str(agent)]
    for arguments, wanted in ((["--help"], 6), (["bench", "/nowhere"], 60)):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        loaded = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time" in line]
        own = [name for name in loaded if name.split(".")[0] in OWN]
        assert own and len(own) <= wanted and "adascale_runtime.session" not in own, own


def test_it_can_be_started_by_its_name(agent: Path) -> None:
    assert os.access(agent, os.X_OK) and agent.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run([agent, "replay", "--help"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "--trace" in done.stdout


def test_writing_again_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "agent.pyz"
    path.parent.mkdir()
    path.write_text("old")
    package.write(path)
    assert path.read_bytes() == package.agent() and [p.name for p in path.parent.iterdir()] == ["agent.pyz"]
