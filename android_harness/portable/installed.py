"""The portable Python of an installed wheel: found by its module's name, checked, and told to the doctor."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adascale_runtime import __version__
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams.bundle import sha256
from android_harness.portable.targets import TARGETS, Target
from profiling.doctor import Check

FORMAT = "adascale-portable/1"
#: Beside the folders of a wheel's package: what it holds, as JSON.
MANIFEST, PAYLOAD, LICENCES = "portable.json", "payload", "licences"
#: The script of a payload that starts Python, and LiteRT's library.
START, LITERT = "python3", "libLiteRt.so"
MAKE = "'make portable' (or 'python -m android_harness.portable --install')"


@dataclass(frozen=True)
class Part:
    """What a payload was made of: a package, its version, and the source package that it was built from."""

    name: str
    version: str
    source: str


@dataclass(frozen=True)
class Manifest:
    """What a wheel holds: ``files`` of the payload with their sha256."""

    format: str
    #: The version of adascale-tf whose agent it was cut for.
    adascale: str
    abi: str
    python: str
    litert: str
    #: The largest page of memory, in bytes, with which all of Python's files can be loaded.
    alignment: int
    files: dict[str, str]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Portable:
    """An installed portable Python. ``files`` by their places beside each other, ``library``: LiteRT's."""

    target: Target
    manifest: Manifest
    files: dict[str, Path]
    library: Path


def find(abi: object) -> Portable | None:
    """The portable Python that is installed for an ABI; None where there is none.

    Raises:
        BadInput: It is damaged, or was built for another version of adascale-tf.
    """
    target = TARGETS.get(str(abi))
    spec = None if target is None else importlib.util.find_spec(target.module)
    if target is None or spec is None or spec.origin is None:
        return None
    return load(Path(spec.origin).parent, target)


def load(folder: Path, target: Target) -> Portable:
    """The portable Python in a wheel's package; :class:`BadInput` says what is wrong with it."""
    again = f"install {target.distribution} again: {MAKE}."
    manifest = codec.from_json(Manifest, codec.read_json(folder / MANIFEST), str(folder / MANIFEST))
    if manifest.format != FORMAT or manifest.adascale != __version__ or manifest.abi != target.abi:
        raise BadInput(f"{folder} was made by adascale-tf {manifest.adascale} for {manifest.abi}; {again}")
    files = {}
    for name, digest in sorted(manifest.files.items()):
        path = folder / PAYLOAD / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BadInput(f"{folder / MANIFEST} names a file outside of its folder ({name}); {again}")
        if not path.is_file() or sha256(path) != digest:
            raise BadInput(f"{path} is not what was installed; {again}")
        files[name] = path
    if START not in files or LITERT not in files:
        raise BadInput(f"{folder} lacks {START} or {LITERT}; {again}")
    return Portable(target, manifest, files, files.pop(LITERT))


def checks() -> list[Check]:
    """What the doctor says of portable Pythons: one for each that is installed, or that there is none."""
    found = []
    for target in TARGETS.values():
        try:
            portable = find(target.abi)
        except BadInput as error:
            found.append(Check(f"portable {target.abi}", "limited", str(error), "make portable"))
            continue
        if portable is not None:
            size = sum(path.stat().st_size for path in (*portable.files.values(), portable.library))
            held = f"Python {portable.manifest.python} and LiteRT {portable.manifest.litert}, {size / 1e6:.1f} MB"
            found.append(Check(f"portable {target.abi}", "ok", held))
    absent = Check("portable python", "missing", "wanted for phones without Python", "make portable")
    return found or [absent]
