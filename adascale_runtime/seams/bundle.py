"""The bundle: a folder with ``manifest.json`` and the branches' .tflite files, all that a phone needs.

Format ``adascale-bundle/1``. Standard library only and Python 3.8 compatible: a phone reads bundles with this file.
Paths in a manifest are relative to the bundle, with forward slashes. Sample inputs and expected outputs are raw
little-endian float32, so that they can be read without numpy.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

from adascale_runtime import text
from adascale_runtime.errors import BadBundle, BadInput
from adascale_runtime.files import archives, codec, disk, tflite_file
from adascale_runtime.seams import manifests
from adascale_runtime.seams.manifest import MAX_LOSS as MAX_LOSS
from adascale_runtime.seams.manifest import Accuracy as Accuracy
from adascale_runtime.seams.manifest import Branch as Branch
from adascale_runtime.seams.manifest import Compiled as Compiled
from adascale_runtime.seams.manifest import Cost as Cost
from adascale_runtime.seams.manifest import FileEntry as FileEntry
from adascale_runtime.seams.manifest import Manifest as Manifest
from adascale_runtime.seams.manifest import Samples as Samples
from adascale_runtime.seams.manifest import TensorSpec as TensorSpec
from adascale_runtime.seams.manifest import Verification as Verification

FORMAT = "adascale-bundle/1"
MANIFEST = "manifest.json"
#: In a folder that was unpacked from a .zip: the sha256 of that .zip.
_SOURCE = ".zip-sha256"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest and the folder that its paths are relative to."""

    root: Path
    manifest: Manifest

    def path(self, relative: str) -> Path:
        return self.root / relative

    @property
    def digest(self) -> str:
        """A short name of this bundle's exact content, for measurements: the first 12 hex digits of its files' sums."""
        sums = "".join(entry.sha256 for entry in self.manifest.files)
        return hashlib.sha256(sums.encode("utf-8")).hexdigest()[:12]


def load(path: "str | os.PathLike[str]") -> Bundle:
    """Open a bundle folder or .zip and check every file's size and sha256, and that each .tflite holds together and is
    what the manifest says (:mod:`adascale_runtime.files.tflite_file`); :class:`BadBundle` says what is wrong.

    A .zip is unpacked beside itself, into ``NAME.unpacked``, where interpreters find real files. That folder is used
    again as long as it is whole and the .zip has the same sha256.
    """
    root = Path(path)
    if not root.is_file():
        return _open(root)
    if not zipfile.is_zipfile(root):
        raise BadBundle("{} is not a bundle: give the folder or .zip that 'adascale build' wrote.".format(path))
    archive, root = root, root.with_name(root.name + ".unpacked")
    digest = sha256(archive)
    if _unpacked(root) == digest:
        with suppress(BadBundle):
            return _open(root)
    _unpack(archive, root, digest)
    return _open(root)


def _open(root: Path) -> Bundle:
    if not root.is_dir():
        raise BadBundle("{} is not a bundle: give the folder or .zip that 'adascale build' wrote.".format(root))
    if not (root / MANIFEST).is_file():
        raise BadBundle("{} is not a bundle: it has no {}.".format(root, MANIFEST))
    manifest = read_manifest(root / MANIFEST)
    for entry in manifest.files:
        _check_file(root, entry)
    tflite_file.check(root, manifest.branches, {entry.path: entry.sha256 for entry in manifest.files})
    return Bundle(root, manifest)


def read_manifest(path: Path) -> Manifest:
    """A manifest that holds together; the files that it speaks of are not looked at."""
    try:
        data = codec.read_json(path)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            other = data.get("format") if isinstance(data, dict) else None
            raise BadBundle(
                "{} has format '{}', but this program reads '{}'.".format(path, text.excerpt(other), FORMAT)
            )
        manifest = codec.from_json(Manifest, data, MANIFEST)
        manifests.check(manifest, str(path))
        return manifest
    except BadBundle:
        raise
    except BadInput as error:
        raise BadBundle(str(error)) from None


def _check_file(root: Path, entry: FileEntry) -> None:
    path = root / entry.path
    try:
        if not path.is_file():
            raise BadBundle("{} is missing from the bundle; copy or build it again.".format(path))
        size = path.stat().st_size
    except OSError as error:
        raise BadBundle(
            "{} names '{}', which cannot be read ({}); build the bundle again.".format(
                root / MANIFEST, text.excerpt(entry.path), error.strerror
            )
        ) from None
    if size != entry.size_bytes:
        raise BadBundle(
            "{} has {} bytes instead of {}; it was cut off or changed, so copy or build the bundle again.".format(
                path, size, entry.size_bytes
            )
        )
    if sha256(path) != entry.sha256:
        raise BadBundle("{} has a wrong checksum; it was changed, so copy or build the bundle again.".format(path))


def _unpacked(folder: Path) -> str:
    """The sha256 of the .zip that a folder was unpacked from; empty if it was from none."""
    try:
        return (folder / _SOURCE).read_bytes()[:64].decode("ascii", "replace")
    except OSError:
        return ""


def _unpack(archive: Path, target: Path, digest: str) -> None:
    """Put the files of a .zip, and its sha256 ``digest``, in the place of ``target``."""
    with archives.opened(archive) as file:
        if MANIFEST not in file.namelist():
            raise BadBundle("{} is not a bundle: it has no {}.".format(archive, MANIFEST))
        with disk.locked(target, "unpacked"), disk.writing(target), whole_folder(target) as folder:
            file.extractall(str(folder))
            (folder / _SOURCE).write_text(digest, encoding="ascii")


def sha256(path: Path) -> str:
    """The sha256 of a file as 64 hex digits; :class:`BadBundle` if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise BadBundle("{} cannot be read ({}).".format(path, error.strerror or error)) from None
    return digest.hexdigest()


def entries(root: Path) -> Tuple[FileEntry, ...]:
    """The checksummed entries of all files below ``root`` except the manifest, sorted by path."""
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p.name != MANIFEST)
    return tuple(FileEntry(p.relative_to(root).as_posix(), sha256(p), p.stat().st_size) for p in paths)


def whole_folder(target: Path) -> "AbstractContextManager[Path]":
    """A temporary folder that becomes the bundle ``target`` when the block ends well, see :func:`disk.whole_folder`."""
    return disk.whole_folder(target, MANIFEST)


def check_target(target: Path) -> None:
    """Refuse, before long work, a place where a bundle cannot be written."""
    disk.check_target(target, MANIFEST)
