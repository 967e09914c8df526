"""The versions of installed packages, whole and damaged ones."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from adascale_runtime.engines.releases import release


def test_of_packages_that_are_installed_and_that_are_not() -> None:
    assert release("numpy") == metadata.version("numpy")
    assert release("no-such-package") == ""


@pytest.mark.parametrize("text", [None, "", "Metadata-Version: 2.1\nName: broken\n"])
def test_of_a_damaged_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    if text is not None:
        (folder / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert release("broken") == ""


def test_where_python_has_no_metadata() -> None:
    code = (
        "import sys; sys.modules['importlib.metadata'] = None\n"
        "from adascale_runtime.engines.releases import release; print([release('numpy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['']"
