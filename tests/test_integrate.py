"""What the guide for apps shows works: its commands and Python blocks run in order, its Kotlin reads real manifests."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.files import codec
from adascale_runtime.seams.bundle import Bundle

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "integrate.md"


def blocks() -> list[tuple[str, str]]:
    """The guide's fenced blocks, in order: (language, content)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(built: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle, after the guide's commands that need no trace."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "bundle").symlink_to(built.root)
    for line in commands():
        if "--trace" not in line:
            run([sys.executable, "-m", "adascale_tf", *shlex.split(line)[1:]], folder)
    return folder


def commands() -> list[str]:
    lines = [line for language, content in blocks() if not language for line in content.splitlines()]
    assert all(line.startswith("adascale ") for line in lines)
    return lines


def test_its_python_runs(built: Bundle, folder: Path) -> None:
    code = [content for language, content in blocks() if language == "python"]
    assert len(code) >= 6
    said = run([sys.executable, "-c", "\n".join(code)], folder)
    assert all(branch.id in said for branch in built.manifest.branches)
    assert "The input is not base64." in said
    assert re.search(r"sure enough at|asked again at", said)
    (compare,) = [line for line in commands() if "--trace" in line]  # of what the Python recorded
    assert "oracle" in run([sys.executable, "-m", "adascale_tf", *shlex.split(compare)[1:]], folder)


def test_every_field_it_names_is_in_a_manifest(built: Bundle) -> None:
    manifest = codec.to_json(built.manifest)
    table = GUIDE.read_text().split("| where | what |")[1].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        where = row.split("|")[1]
        prefix = "branches[]" if "branches[]" in where else ""
        for name in re.findall(r"`([\w.\[\]]+)`", where):
            inside = prefix and (name.startswith((".", "branches[]")))
            holder = manifest["branches"][0] if inside else manifest
            assert name.replace("branches[]", "").lstrip(".") in holder, name
    kotlin = "".join(content for language, content in blocks() if language == "kotlin")
    branch = manifest["branches"][0]
    for name in set(re.findall(r'get(?:String|JSONObject|JSONArray|Double|Int)\("(\w+)"\)', kotlin)):
        assert name in branch or name in branch["input"], name


def test_its_arithmetic_at_the_border_is_the_runtimes(built: Bundle) -> None:
    """The rule that the guide gives for integers, written out, against a session's own."""
    x = np.fromfile(built.path(built.manifest.samples.file), "<f4").reshape(-1, *built.manifest.branches[0].input.shape)
    branches = [branch for branch in built.manifest.branches if branch.input.scale is not None]
    assert branches
    for branch in branches:
        runner, spec, target = open_branch(built, branch), branch.input, branch.output
        low, high = np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max
        real = [float(np.float32(value) / np.float32(spec.scale)) for value in x[0].ravel()]
        stored = [int(min(high, max(low, round(value) + spec.zero_point))) for value in real]
        assert stored == runner.quantize(x[0]).ravel().tolist()
        answer = runner.invoke(runner.quantize(x[0]))
        by_hand = [(int(value) - target.zero_point) * target.scale for value in answer.ravel()]
        np.testing.assert_allclose(runner.dequantize(answer).ravel(), by_hand, rtol=1e-6)
