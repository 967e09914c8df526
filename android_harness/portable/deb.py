"""Debian's packages as files in memory, read with ``dpkg-deb``."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.text import excerpt


@dataclass(frozen=True)
class Package:
    """A binary package: what it says of itself, and where its file is."""

    name: str
    version: str
    source: str
    path: Path


class Tree:
    """The files of several packages as they would be laid out together; links are followed inside."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._links: dict[str, str] = {}

    def add(self, archive: bytes) -> None:
        """Add what a tar archive holds."""
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                name = member.name.removeprefix(".").strip("/")
                if member.issym():
                    target = member.linkname
                    self._links[name] = target.strip("/") if target.startswith("/") else f"{_parent(name)}{target}"
                elif member.islnk():
                    self._links[name] = member.linkname.removeprefix(".").strip("/")
                elif member.isfile():
                    content = tar.extractfile(member)
                    assert content is not None
                    self._files[name] = content.read()

    def names(self) -> list[str]:
        """The paths of plain files, without a leading slash, sorted."""
        return sorted(self._files)

    def find(self, path: str) -> bytes | None:
        """The content behind a path, through links of files and folders; None where there is none."""
        for _ in range(40):
            path = _normal(path)
            if path in self._files:
                return self._files[path]
            parts = path.split("/")
            heads = ("/".join(parts[: end + 1]) for end in range(len(parts)))
            link = next((head for head in heads if head in self._links), None)
            if link is None:
                return None
            path = self._links[link] + path[len(link) :]
        return None


def _parent(name: str) -> str:
    folder = name.rpartition("/")[0]
    return f"{folder}/" if folder else ""


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def look(path: Path) -> Package:
    """What a package says of itself."""
    told = _dpkg("--show", "--showformat=${Package}\\n${Version}\\n${source:Package} ${source:Version}\\n", path)
    name, version, source = told.decode(errors="replace").splitlines()[:3]
    return Package(name, version, source, path)


def unpacked(packages: Iterable[Package]) -> Tree:
    """The files of packages."""
    tree = Tree()
    for package in packages:
        tree.add(_dpkg("--fsys-tarfile", package.path))
    return tree


def _dpkg(*words: str | Path) -> bytes:
    done = subprocess.run(["dpkg-deb", *map(str, words)], capture_output=True, timeout=300)
    if done.returncode:
        said = excerpt(done.stderr.decode(errors="replace"), 200)
        raise AdaScaleError(f"{words[-1]} is not a Debian package that dpkg-deb can read ({said}).")
    return done.stdout
