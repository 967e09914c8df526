"""Fetches what a portable Python is made of with this machine's own clients: apt-get and pip.

The package sources are those that the machine is configured with. apt's state is a folder of its own, so the machine
is not changed and nobody needs to be root.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.text import excerpt
from android_harness.portable import deb
from android_harness.portable.deb import Package
from android_harness.portable.targets import Target

LITERT = "ai-edge-litert"
#: Libraries that the parts name among what they depend on, under names with versions in them.
_LIBRARIES = re.compile(r"libffi\d+|libexpat\d+|zlib1g|gcc-\d+-base")
#: Depended on by all; the licences that Debian's copyright files refer to are in base-files.
_ALWAYS = ("libc6", "libgcc-s1", "libstdc++6", "base-files")
#: Lists of packages that are of no use here.
_NO_LISTS = ("DEP-11", "DEP-11-icons-small", "DEP-11-icons", "DEP-11-icons-hidpi", "CNF", "Contents-deb")


def packages(target: Target, folder: Path) -> list[Package]:
    """Download the Debian packages of a target's Python into a folder, from the machine's own package sources.

    Raises:
        BadInput: The machine has no apt, or its sources have nothing for the target.
        AdaScaleError: The sources do not answer.
    """
    apt = _updated(target, folder)
    python = _first(r"python3\.\d+(?=-minimal$)", _depends(apt, folder, "python3-minimal"), target)
    parts = [f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib"]
    named = [name for part in (*parts, "libgcc-s1") for name in _depends(apt, folder, part)]
    libraries = sorted({name for name in named if _LIBRARIES.fullmatch(name)})
    return _downloaded(apt, folder, [*parts, *_ALWAYS, *libraries])


def download(target: Target, folder: Path, names: Sequence[str], sources: str | None = None) -> list[Package]:
    """Download Debian packages for a target by their names, as :func:`packages` does.

    Args:
        target: What they are for.
        folder: Where they are put.
        names: Their names, where wanted with a suite: ``adbd/bookworm-backports``.
        sources: Lines of package sources (sources.list(5)) in the place of the machine's own.
    """
    return _downloaded(_updated(target, folder, sources), folder, names)


def litert(target: Target, folder: Path, python: str = "3.11") -> Path:
    """Download LiteRT's wheel for a target into a folder, of the version that is installed here; gives its path.

    ``python``: the version of Python whose wheels are looked through; the library in them is the same for all.
    """
    wanted = f"{LITERT}=={importlib.metadata.version(LITERT)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), "--python-version", python]
    command += [word for platform in target.platforms for word in ("--platform", platform)]
    _run([*command, wanted], folder)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1 or not zipfile.is_zipfile(wheels[0]):
        raise AdaScaleError(f"pip left no wheel of {wanted} for {target.machine}; run the command again.")
    return wheels[0]


def depends_of(text: str) -> list[str]:
    """The names after ``Depends:`` and ``Pre-Depends:`` in what ``apt-cache depends`` prints."""
    return [name for name in re.findall(r"^[ |]*(?:Pre)?Depends: (\S+)$", text, re.MULTILINE) if name[0] != "<"]


def _updated(target: Target, folder: Path, sources: str | None = None) -> list[str]:
    """The options of an apt that knows the packages of a target."""
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(program) is None:
            raise BadInput(f"A portable Python is made of Debian's packages, with {program}; use a Debian machine.")
    apt = _private(target, folder, sources)
    _run(["apt-get", *apt, "update", "--quiet"], folder)
    return apt


def _downloaded(apt: Sequence[str], folder: Path, names: Sequence[str]) -> list[Package]:
    place = folder / "packages"
    place.mkdir()
    _run(["apt-get", *apt, "download", "--quiet", *names], place)
    return sorted((deb.look(path) for path in place.glob("*.deb")), key=lambda package: package.name)


def _private(target: Target, folder: Path, sources: str | None) -> list[str]:
    """Options that give apt a state and an architecture of its own, and leave it the machine's package sources."""
    state, cache = folder / "apt-state", folder / "apt-cache"
    for place in (state / "lists/partial", cache / "archives/partial"):
        place.mkdir(parents=True)
    (state / "status").touch()
    chosen = {
        "APT::Architecture": target.debian, "APT::Architectures": target.debian, "Dir::State": state,
        "Dir::State::status": state / "status", "Dir::Cache": cache, "APT::Sandbox::User": "",
        "Acquire::Languages": "none", "Acquire::Retries": 2,
        **{f"Acquire::IndexTargets::deb::{name}::DefaultEnabled": "false" for name in _NO_LISTS},
    }  # fmt: skip
    if sources is not None:
        (folder / "sources.list").write_text(sources)
        chosen |= {"Dir::Etc::SourceList": folder / "sources.list", "Dir::Etc::SourceParts": "-"}
    return [word for name, value in chosen.items() for word in ("-o", f"{name}={value}")]


def _depends(apt: Sequence[str], folder: Path, package: str) -> list[str]:
    return depends_of(_run(["apt-cache", *apt, "depends", package], folder, bad=False))


def _first(pattern: str, names: Sequence[str], target: Target) -> str:
    for name in names:
        if match := re.match(pattern, name):
            return match[0]
    raise BadInput(f"This machine's package sources have no python3-minimal for {target.debian}; use a Debian machine.")


def _run(command: Sequence[str], folder: Path, *, bad: bool = True) -> str:
    """What a command prints. ``bad``: whether it is an error that it fails."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="replace", timeout=900,
    )  # fmt: skip
    if done.returncode and bad:
        said = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()
        name = "pip" if command[0] == sys.executable else command[0]
        raise AdaScaleError(f"{name} fetches nothing: {excerpt(said[-1], 300)}")
    return done.stdout
