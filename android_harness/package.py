"""Packing the agent into one file: a zipapp of the agent and adascale_runtime."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from adascale_runtime.files import codec

ROOT = Path(__file__).parent.parent
#: What the agent imports, relative to the project's root.
MODULES = (
    "adascale_runtime/**/*.py", "adascale_runtime/measuring/*.tflite", "android_harness/__init__.py",
    "android_harness/agent/*.py",
)  # fmt: skip
_MAIN = "import sys\nfrom android_harness.agent.main import main\nsys.exit(main())\n"


def agent() -> bytes:
    """The zipapp; the same bytes for the same sources, so that a phone that has it needs no copy."""
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        files = _files()
        for name in sorted(files):
            archive.writestr(_entry(name), files[name].read_bytes())
        archive.writestr(_entry("__main__.py"), _MAIN)
    return buffer.getvalue()


def sources() -> list[str]:
    """The sources of the agent's modules, in the order of their names."""
    files = _files()
    return [files[name].read_text() for name in sorted(files) if name.endswith(".py")]


def _files() -> dict[str, Path]:
    return {path.relative_to(ROOT).as_posix(): path for pattern in MODULES for path in ROOT.glob(pattern)}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # dated 1980: a build's time is no difference
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def write(path: Path) -> None:
    """Write the zipapp, executable."""
    codec.write_bytes(path, agent())
    path.chmod(0o755)
