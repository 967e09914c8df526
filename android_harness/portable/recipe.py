"""How a portable Python is put together from what was fetched. Pure: files in, files out, the same for the same."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adascale_runtime import __version__
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from android_harness.portable import elf, imports
from android_harness.portable.deb import Package, Tree
from android_harness.portable.installed import FORMAT, LICENCES, LITERT, MANIFEST, PAYLOAD, START, Manifest, Part
from android_harness.portable.targets import Target

#: What starts Python with its own loader and libraries. Android has no /tmp, perhaps no home, and its shell may set
#: variables for a Python of its own; Python starts itself again by this script's name.
_SCRIPT = """\
#!/system/bin/sh
here=$(cd "${{0%/*}}" && pwd) || exit 126
unset PYTHONPATH PYTHONSTARTUP LD_LIBRARY_PATH LD_PRELOAD
export PYTHONHOME="$here" PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1 TMPDIR="${{here%/*}}" HOME="${{HOME:-${{here%/*}}}}"
exec "$here/libs/{loader}" --argv0 "$here/{start}" --library-path "$here/libs" "$here/python" -s -S "$@"
"""
_NOTICE = """\
This package holds unmodified programs and libraries for phones; licences/ has their copyright notices and licences.
Python and the libraries of the GNU system are Debian's packages, LiteRT is Google's wheel. The sources of Debian's
packages are published with them, under the names and versions of source packages in portable.json.
"""


@dataclass(frozen=True)
class LiteRt:
    """LiteRT for a target, from its wheel: the shared library and the licence that is beside it."""

    version: str
    library: bytes
    licence: bytes


def litert_of(wheel: zipfile.ZipFile) -> LiteRt:
    """What is taken of LiteRT's wheel; :class:`BadInput` if it is laid out otherwise."""
    names = wheel.namelist()
    licence = next((name for name in names if re.search(r"\.dist-info/(.*/)?LICENSE[^/]*$", name)), None)
    version = next((m[1] for name in names if (m := re.match(r"ai_edge_litert-([^-/]+)\.dist-info/", name))), None)
    library = f"ai_edge_litert/{LITERT}"
    if licence is None or version is None or library not in names:
        raise BadInput(f"LiteRT's wheel holds no {LITERT}, or no licence; choose another version of ai-edge-litert.")
    return LiteRt(version, wheel.read(library), wheel.read(licence))


def assemble(
    target: Target, packages: Sequence[Package], tree: Tree, litert: LiteRt, programs: Sequence[str]
) -> dict[str, bytes]:
    """All files of the wheel's package, by their paths in it.

    Args:
        target: The phone's kind.
        packages: What ``tree`` was unpacked from.
        tree: The files of the packages.
        litert: LiteRT for the target.
        programs: The sources of the agent, for which the standard library is cut.

    Raises:
        BadInput: The packages lack something, or are for another processor.
    """
    home, version = _python(tree)
    short = version.replace(".", "")
    modules = _modules(tree, home)
    chosen = imports.reachable(programs, {name: _source(tree, path) for name, path in modules.items()})
    files = {"python": _found(tree, f"usr/bin/python{version}"), LITERT: litert.library}
    sources = {}
    for name in chosen:
        path = modules[name]
        if path.endswith(".py"):
            sources[path.removeprefix(f"{home}/")] = _found(tree, path)
        else:
            files[f"lib/python{version}/lib-dynload/{path.rpartition('/')[2]}"] = _found(tree, path)
    files[f"lib/python{short}.zip"] = packed(sources)
    files |= {f"libs/{name}": data for name, data in _libraries(target, tree, files).items()}
    alignment = _checked(target, files)
    files[START] = _SCRIPT.format(loader=target.loader, start=START).encode()
    full = next(p.version for p in packages if p.name == f"python{version}-minimal")
    parts = [Part(p.name, p.version, p.source) for p in packages]
    manifest = Manifest(
        FORMAT, __version__, target.abi, re.split("[-+~]", full)[0], litert.version, alignment,
        {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        (*parts, Part("ai-edge-litert", litert.version, "")),
    )  # fmt: skip
    licences = _licences(tree, packages) | {"ai-edge-litert": litert.licence, "NOTICE": _NOTICE.encode()}
    return {
        "__init__.py": f'"""Python and LiteRT for {target.abi} phones that have neither, as data."""\n'.encode(),
        MANIFEST: codec.dump(manifest).encode(),
        **{f"{PAYLOAD}/{name}": data for name, data in files.items()},
        **{f"{LICENCES}/{name}": data for name, data in licences.items()},
    }


def packed(files: Mapping[str, bytes]) -> bytes:
    """A zip file with a fixed date, in the order of names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def _python(tree: Tree) -> tuple[str, str]:
    """The folder of the standard library, and its version as 3.11."""
    for name in tree.names():
        if match := re.fullmatch(r"(usr/lib/python(3\.\d+))/os\.py", name):
            return match[1], match[2]
    raise BadInput("The fetched packages hold no Python; run the command again.")


def _modules(tree: Tree, home: str) -> dict[str, str]:
    """Paths of the standard library's modules, sources and compiled ones, by dotted names."""
    modules = {}
    for path in tree.names():
        inside = path.removeprefix(f"{home}/")
        if inside == path:
            continue
        if match := re.fullmatch(r"lib-dynload/(\w+)\.cpython-[\w-]+\.so", inside):
            modules[match[1]] = path
        elif re.fullmatch(r"(\w+/)*\w+\.py", inside):
            modules[inside[: -len(".py")].replace("/", ".").removesuffix(".__init__")] = path
    return modules


def _source(tree: Tree, path: str) -> str | None:
    return _found(tree, path).decode("utf-8", "replace") if path.endswith(".py") else None


def _found(tree: Tree, path: str) -> bytes:
    data = tree.find(path)
    if data is None:
        raise BadInput(f"The fetched packages hold no {path}; the layout of Debian's packages has changed.")
    return data


def _libraries(target: Target, tree: Tree, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The loader and all libraries that programs and libraries need, by their names."""
    folders = [f"{top}lib/{target.triple}" for top in ("usr/", "")] + ["lib", "lib64", "usr/lib", "usr/lib64"]
    found: dict[str, bytes] = {}
    wanted = [target.loader]
    wanted += [name for path, data in files.items() if elf.is_elf(data) for name in elf.read(data, path).needed]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        data = next((data for folder in folders if (data := tree.find(f"{folder}/{name}")) is not None), None)
        if data is None:
            raise BadInput(f"The portable Python needs {name}, which none of the fetched packages holds.")
        found[name] = data
        wanted += elf.read(data, name).needed
    return found


def _checked(target: Target, files: Mapping[str, bytes]) -> int:
    """The largest page with which all files but LiteRT's can be loaded; refuses what is for another processor."""
    alignments = []
    for name, data in files.items():
        if elf.is_elf(data):
            read = elf.read(data, name)
            if read.machine != target.machine:
                raise BadInput(f"{name} is for {read.machine}, not for {target.machine}.")
            alignments += [read.alignment] if name != LITERT else []
    return min(alignments)


def _licences(tree: Tree, packages: Sequence[Package]) -> dict[str, bytes]:
    """Each package's copyright file, and the licences that they refer to."""
    texts = {package.name: _found(tree, f"usr/share/doc/{package.name}/copyright") for package in packages}
    named = {word.rstrip(b".") for text in texts.values() for word in re.findall(rb"common-licenses/([\w.-]+)", text)}
    common = {name: tree.find(f"usr/share/common-licenses/{name}") for name in sorted(map(bytes.decode, named))}
    return {name: text for name, text in {**texts, **common}.items() if text is not None}
