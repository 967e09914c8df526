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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from adascale_runtime import text
from adascale_runtime.errors import BadBundle, BadInput
from adascale_runtime.files import archives, codec, disk, tflite_file
from adascale_runtime.seams import manifests

FORMAT = "adascale-bundle/1"
MANIFEST = "manifest.json"
#: In a folder that was unpacked from a .zip: the sha256 of that .zip.
_SOURCE = ".zip-sha256"
#: Points of accuracy that a branch's file may lose against its Keras network without being marked.
MAX_LOSS = 5.0


@dataclass(frozen=True)
class TensorSpec:
    """A tensor at the border of a branch. ``real = (stored - zero_point) * scale`` where ``dtype`` is an integer."""

    name: str
    shape: Tuple[int, ...]
    dtype: str
    scale: Optional[float] = None
    zero_point: Optional[int] = None


@dataclass(frozen=True)
class Accuracy:
    """``value`` in [0, 1], over ``samples`` examples of ``split``, measured with the .tflite itself."""

    metric: str
    value: float
    samples: int
    split: str


@dataclass(frozen=True)
class Verification:
    """How a .tflite compares with its Keras network on ``samples`` real inputs.

    ``agreement``: share of equal top-1 classes, in [0, 1]. ``max_abs_difference``: largest difference of any output
    value, in the outputs' unit. ``output_range``: largest minus smallest output of the Keras network, to judge it by.
    """

    samples: int
    agreement: float
    max_abs_difference: float
    output_range: float


@dataclass(frozen=True)
class Cost:
    """What a branch costs on any device, counted from its flatbuffer.

    ``macs``: multiply-accumulates of one inference. ``params``: stored weights. ``weight_bytes``: constants read by
    one inference. ``activation_bytes``: bytes of activations written and read by one inference. ``peak_bytes``:
    largest sum of activations alive at once. ``ops``: operators. ``kernels``: by class of kernels that run them, such
    as ``conv-integer``, sums over its operators that their time is linear in (see ``converters/kernel_classes.py``);
    empty in manifests that were written before it. ``arithmetic``: how its multiplications are computed, one of
    :data:`adascale_runtime.seams.precisions.ARITHMETICS`; empty where the branch's precision says it.
    """

    macs: int
    params: int
    weight_bytes: int
    activation_bytes: int
    peak_bytes: int
    ops: int
    kernels: Dict[str, Dict[str, float]] = field(default_factory=dict)
    arithmetic: str = ""


@dataclass(frozen=True)
class Branch:
    """One branch: what it is, which signature of which file runs it, what it costs and how well it answers.

    ``size_bytes`` is the size of the branch as a file of its own; ``exit`` counts from 1, the last is the full depth.
    """

    id: str
    recipe: str
    exit: int
    precision: str
    file: str
    signature: str
    size_bytes: int
    input: TensorSpec
    output: TensorSpec
    cost: Cost
    accuracy: Accuracy
    verification: Verification
    expected: str
    training: Dict[str, Any] = field(default_factory=dict)

    @property
    def float_accuracy(self) -> Optional[float]:
        """The accuracy of the Keras network that the branch was converted from, in [0, 1]; None if it is not known."""
        value = self.training.get("keras_accuracy")
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    @property
    def loss(self) -> float:
        """Points of accuracy (1 point is 0.01) that the file has lost against its Keras network; 0 if not known."""
        before = self.float_accuracy
        return 0.0 if before is None else 100.0 * (before - self.accuracy.value)


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle, with what proves that it is whole."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Samples:
    """A few real inputs: ``count`` tensors of the input's shape in ``file`` (float32, before quantization)."""

    file: str
    count: int
    labels: Tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle. ``preprocessing`` says how raw data becomes the input, see :mod:`adascale_tf.data`.

    ``given``: the accuracy of the model that the bundle was built from, before its training; None if there was none.
    ``max_loss``: points that a branch's file may lose against its Keras network without being marked. ``left_out``:
    why, by recipe, for branches that were built but lost too much.
    """

    format: str
    name: str
    task: str
    backbone: str
    labels: Tuple[str, ...]
    preprocessing: Dict[str, Any]
    branches: Tuple[Branch, ...]
    files: Tuple[FileEntry, ...]
    samples: Samples
    created: str
    versions: Dict[str, str]
    given: Optional[Accuracy] = None
    max_loss: float = MAX_LOSS
    left_out: Dict[str, str] = field(default_factory=dict)

    def lossy(self, branch: Branch) -> bool:
        """Whether a branch's file lost more than the bundle's mark."""
        return branch.loss > self.max_loss + 1e-9  # what is exactly at the mark should not fall to rounding

    def branch(self, branch_id: str) -> Branch:
        """The branch of that id; :class:`BadInput` lists the known ones."""
        for branch in self.branches:
            if branch.id == branch_id:
                return branch
        known = ", ".join(b.id for b in self.branches)
        raise BadInput("The bundle has no branch '{}'; it has {}.".format(branch_id, known))


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
