"""The runtime as a distribution of its own: what its wheel holds, and that it runs a bundle where nothing else is."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import adascale_runtime
import adascale_tf
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.pace import KINDS

ROOT = Path(__file__).parent.parent
LIMIT_BYTES = 300_000


def config(path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / path)
    return parser


def run(*command: object, **environment: str) -> str:
    """What a command prints; run outside of any clone, with nothing of this process' Python but its PATH."""
    kept = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd="/",
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def ten_lines() -> str:
    """The first Python block of the distribution's README."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / "runtime" / "README.md").read_text(), re.DOTALL)[0]
    return str(code)


def test_there_is_one_version() -> None:
    version = adascale_runtime.__version__
    assert adascale_tf.__version__ == version
    assert f"adascale-runtime=={version}" in config("setup.cfg")["options"]["install_requires"]
    for path in ("setup.cfg", "runtime/setup.cfg"):
        assert config(path)["metadata"]["version"] == "attr: adascale_runtime.__version__"


def test_both_distributions_want_the_same_litert() -> None:
    wanted = config("runtime/setup.cfg")["options.extras_require"]["litert"].split()
    assert set(wanted) <= set(config("setup.cfg")["options"]["install_requires"].split())


def test_its_example_is_ten_lines_that_need_this_package_alone() -> None:
    code = ten_lines()
    imported = [node for node in ast.walk(ast.parse(code)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in imported] == ["import adascale_runtime as ada"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is built from, without what builds in this tree left behind."""
    clone = tmp_path_factory.mktemp("clone")
    litter = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for folder in ("adascale_runtime", "runtime"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=litter, symlinks=True)
    shutil.copy(ROOT / "LICENSE", clone)
    return clone


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    # Offline, with the setuptools that are installed: what a wheel holds is no question of their version.
    run(*pip, "--no-build-isolation", "--wheel-dir", folder, clone / "runtime")
    (wheel,) = folder.iterdir()
    return wheel


def test_the_wheel_holds_every_module_and_the_licence_and_is_small(wheel: Path, clone: Path) -> None:
    assert wheel.name == f"adascale_runtime-{adascale_runtime.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < LIMIT_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        inside = {name for name in names if name.startswith("adascale_runtime/")}
        (licence,) = [name for name in names if name.endswith("/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "adascale_runtime").rglob("*.py")}
    anchors = {f"adascale_runtime/measuring/anchor-{kind}.tflite" for kind in KINDS}
    assert inside == sources | anchors | {"adascale_runtime/py.typed"}
    assert "Requires-Python: >=3.8" in metadata and "# adascale-runtime" in metadata
    assert "Requires-Dist" not in re.sub(r"Requires-Dist: .*; extra == .*", "", metadata)
    assert {path.name for path in (clone / "runtime").iterdir()} == {path.name for path in (ROOT / "runtime").iterdir()}


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with this wheel and LiteRT's, and what that needs."""
    folder = tmp_path_factory.mktemp("alone")
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", wheel)
    done = subprocess.run([*map(str, pip), "install", f"{wheel}[litert]"], capture_output=True, text=True, timeout=600)
    if done.returncode and re.search(r"No matching distribution|ConnectionError|Could not fetch", done.stderr):
        pytest.skip(f"no package index can be reached here ({done.stderr.strip().splitlines()[-1]})")
    assert done.returncode == 0, done.stderr[-3000:]
    return python


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readmes_lines_run_with_litert_alone_with_numpy_and_without(
    alone: Path, built: Bundle, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = ten_lines().replace('"bundle"', repr(str(built.root)))
    installed = run(alone, "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check", **home)
    assert not re.search(r"(?im)^(tensorflow|keras|scikit-learn|psutil|adascale-tf)\b", installed)
    answers = []
    for hidden in ("", "import sys; sys.modules['numpy'] = None\n"):
        said = run(alone, "-c", hidden + code + "\nimport sys; print('numpy:', bool(sys.modules.get('numpy')))", **home)
        lines = said.splitlines()
        assert lines[-2:] == ["budget kept: True", f"numpy: {not hidden}"]
        assert len(lines) == len(built.manifest.samples.labels) + 2
        answers.append([line.partition(" ")[0] for line in lines[:-2]])
        assert all(re.search(r" by \S+ in [\d.]+ ms: ", line) for line in lines[:-2])
    assert answers[0] == answers[1] and set(answers[0]) <= set(built.manifest.labels)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_keeps_a_budget_by_this_devices_own_files(alone: Path, built: Bundle, tmp_path: Path) -> None:
    """Without psutil the monitor reads Linux' files; a trace is written and replayed."""
    code = f"""
import pathlib, adascale_runtime as ada
path, budget = pathlib.Path({str(tmp_path / "t.jsonl")!r}), ada.Budget(latency_ms=50)
with ada.Session({str(built.root)!r}, budget) as session, ada.loop.writer(path) as write:
    session.monitor.latest()
    events = ada.loop.run(session, list(ada.samples(session.bundle)) * 50, 5.0, write, pace_s=0.005)
header, recorded = ada.read_trace(path)
assert recorded == events == ada.replay(session.bundle, header, recorded, budget, "adaptive")
contexts = [event.context for event in events if event.context is not None]
print(contexts[-1].cpu_load is not None, contexts[-1].memory_free_mb > 1, ada.summary(events)["count"] > 20)
"""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert run(alone, "-c", code, **home).split() == ["True"] * 3
