"""The code keeps to the table of docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SEAMS = (
    *("errors", "text", "disk", "archives", "codec", "progress", "recipe", "bundle", "losses"),
    *("manifests", "ranges", "records", "predictors"),
    *("model_bytes", "model_graph", "model_file"),
)
SEAM_MODULES = tuple(f"adascale_tf.{name}" for name in SEAMS)

#: What the modules below a path may import of this project, by prefix.
ALLOWED = {
    **{f"adascale_tf/{name}.py": SEAM_MODULES for name in SEAMS},
    "adascale_tf/runtime": (*SEAM_MODULES, "adascale_tf.runtime"),
    "adascale_tf/data": (*SEAM_MODULES, "adascale_tf.data"),
    "adascale_tf/graph.py": SEAM_MODULES,
    "adascale_tf/channels.py": (*SEAM_MODULES, "adascale_tf.graph"),
    "adascale_tf/weights.py": SEAM_MODULES,
    "adascale_tf/shapes.py": (*SEAM_MODULES, "adascale_tf.graph", "adascale_tf.channels"),
    "adascale_tf/importance.py": (*SEAM_MODULES, "adascale_tf.graph", "adascale_tf.channels", "adascale_tf.weights"),
    "adascale_tf/operators": (
        *SEAM_MODULES,
        *(f"adascale_tf.{name}" for name in ("graph", "channels", "shapes", "weights", "operators")),
    ),
    "adascale_tf/heads.py": (*SEAM_MODULES, "adascale_tf.graph", "adascale_tf.shapes"),
    "adascale_tf/search.py": (*SEAM_MODULES, "adascale_tf.operators"),
    "adascale_tf/defaults.py": (*SEAM_MODULES, "adascale_tf.operators"),
    "converters": (*SEAM_MODULES, "adascale_tf.quiet", "adascale_tf.runtime.delegates", "converters"),
    "profiling": (
        *SEAM_MODULES,
        "adascale_tf.runtime",
        "adascale_tf.__version__",
        "converters.flatbuffer",
        "profiling",
    ),
    "android_harness/agent": (*SEAM_MODULES, "adascale_tf.runtime", "android_harness.agent"),
    "android_harness": (*SEAM_MODULES, "adascale_tf.runtime", "profiling", "android_harness"),
}
PURE = ("graph.py", "channels.py", "shapes.py", "weights.py", "importance.py", "heads.py", "search.py", "defaults.py")
PACKAGES = ("adascale_tf", "converters", "profiling", "android_harness")
HEAVY = {"tensorflow", "tf_keras", "keras", "sklearn", "matplotlib", "tensorflow_model_optimization"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("place", sorted(ALLOWED))
def test_imports_run_one_way(place: str) -> None:
    path = ROOT / place
    files = [path] if path.suffix else sorted(path.rglob("*.py"))
    assert files
    for file in files:
        own = {m for m in imports(file) if m.split(".")[0] in PACKAGES}
        wrong = {m for m in own if not m.startswith(ALLOWED[place])}
        # `from adascale_tf import codec` names the module as adascale_tf.codec, which is what the table lists.
        assert not wrong, f"{file.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("name", ["port.py", "network.py", "training", "quantization.py", "checkpoint.py", "api.py"])
def test_the_training_knows_nothing_of_what_comes_after(name: str) -> None:
    after = ("adascale_tf.runtime", "adascale_tf.cli", "converters", "profiling", "android_harness")
    path = ROOT / "adascale_tf" / name
    files = [path] if path.suffix else list(path.rglob("*.py"))
    assert files and not [m for file in files for m in imports(file) if m.startswith(after)]


def test_the_pure_parts_import_nothing_heavy() -> None:
    for place in (*PURE, "operators", "data"):
        path = ROOT / "adascale_tf" / place
        for file in [path] if path.suffix else path.rglob("*.py"):
            top = [n for n in ast.parse(file.read_text()).body if isinstance(n, (ast.Import, ast.ImportFrom))]
            names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
            names |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
            assert not HEAVY & {name.split(".")[0] for name in names}, file


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from adascale_tf.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        f"print(sorted({HEAVY | {'numpy'}!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_modules_stay_readable() -> None:
    for package in ("adascale_tf", "converters", "profiling", "android_harness"):
        for file in (ROOT / package).rglob("*.py"):
            assert len(file.read_text().splitlines()) <= 350, file
